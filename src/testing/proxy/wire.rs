//! As much of HTTP/1.1 as passes a message on without changing it.

use std::io;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::Kind;

/// Longest header line.
const MAX_LINE: u64 = 64 * 1024;

/// A request, as it came.
pub(super) struct Request {
    bytes: Vec<u8>,
    path: String,
}

impl Request {
    /// The path, without the query: a filter may hold anything.
    pub(super) fn path(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }
}

/// A reply, as it came or as we made it up.
pub(super) struct Reply(pub(super) Vec<u8>);

/// One end of a connection.
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// Whether the other end has not closed it, as far as can be told.
    pub(super) fn is_open(&self) -> bool {
        let read = self.stream.get_ref().try_read(&mut [0]);
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The next request; nothing when the client is done.
    pub(super) async fn request(&mut self) -> io::Result<Option<Request>> {
        let Some((bytes, first)) = self.message().await? else { return Ok(None) };
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        Ok(Some(Request { bytes, path }))
    }

    pub(super) async fn exchange(&mut self, request: &Request) -> io::Result<Reply> {
        self.send(&request.bytes).await?;
        match self.message().await? {
            Some((bytes, _)) => Ok(Reply(bytes)),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes).await
    }

    /// A whole message and its first line.
    async fn message(&mut self) -> io::Result<Option<(Vec<u8>, String)>> {
        let mut bytes = Vec::new();
        let first = self.line(&mut bytes).await?;
        if first.is_empty() {
            return Ok(None);
        }
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line(&mut bytes).await?.to_ascii_lowercase();
            match line.trim_end().split_once(':') {
                Some(("content-length", value)) => {
                    length = value.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
                }
                Some(("transfer-encoding", value)) => chunked = value.contains("chunked"),
                Some(_) => {}
                None if line == "\r\n" => break,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        if !chunked {
            self.take(length, &mut bytes).await?;
        }
        while chunked {
            let size = self.line(&mut bytes).await?;
            let size = u64::from_str_radix(size.trim(), 16).map_err(|_| io::ErrorKind::InvalidData)?;
            self.take(size + 2, &mut bytes).await?;
            chunked = size > 0;
        }
        Ok(Some((bytes, first)))
    }

    async fn line(&mut self, bytes: &mut Vec<u8>) -> io::Result<String> {
        let start = bytes.len();
        (&mut self.stream).take(MAX_LINE).read_until(b'\n', bytes).await?;
        Ok(String::from_utf8_lossy(&bytes[start..]).into_owned())
    }

    async fn take(&mut self, length: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
        match (&mut self.stream).take(length).read_to_end(bytes).await? {
            read if read as u64 == length => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Reply {
    /// What the service would say: code and text as recorded, without the `x-ms-error-code` header that
    /// only the emulator sends.
    pub(super) fn made_up(status: u16, kind: Kind, retry_after: Option<u64>) -> Self {
        let (reason, code) = match status {
            404 => ("Not Found", "ResourceNotFound"),
            409 => ("Conflict", "EntityAlreadyExists"),
            412 => ("Precondition Failed", "UpdateConditionNotSatisfied"),
            429 => ("Too Many Requests", "TooManyRequests"),
            503 => ("Service Unavailable", "ServerBusy"),
            _ => ("Internal Server Error", "InternalError"),
        };
        let inside = kind == Kind::Batch && matches!(status, 404 | 409 | 412);
        let number = if inside { "0:" } else { "" };
        let message = format!(r#"{{"lang":"en-US","value":"{number}Made up by the proxy."}}"#);
        let body = format!(r#"{{"odata.error":{{"code":"{code}","message":{message}}}}}"#);
        let json = "application/json;odata=minimalmetadata;charset=utf-8";
        if inside {
            let part = format!("HTTP/1.1 {status} {reason}\r\nContent-Type: {json}\r\n\r\n{body}");
            let head = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary";
            let body = format!(
                "--batchresponse_0\r\nContent-Type: multipart/mixed; boundary=changesetresponse_0\r\n\r\n\
                 --changesetresponse_0\r\n{head}\r\n\r\n{part}\r\n--changesetresponse_0--\r\n--batchresponse_0--\r\n"
            );
            return Self::of("202 Accepted", "multipart/mixed; boundary=batchresponse_0", "", &body);
        }
        let wait = retry_after.filter(|_| status == 429 || status >= 500);
        let wait = wait.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
        Self::of(&format!("{status} {reason}"), json, &wait, &body)
    }

    fn of(status: &str, kind: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{headers}\r\n");
        Self([head.as_bytes(), body.as_bytes()].concat())
    }
}

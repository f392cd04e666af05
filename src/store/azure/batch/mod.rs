//! The body of an entity group transaction, in both directions.
//!
//! The SDK writes bare line feeds, leaves out the end of the outer boundary and asks for every row
//! back; it makes a request with a URL and a map of headers for every row; and it takes a failed
//! transaction for a success. So [`write`] writes what the service documents, and [`OwnBody`] puts it
//! in the place of the SDK's when the request goes out; [`read`] reads the reply when it comes in.

use std::{
    fmt::{self, Write as _},
    io::{self, Write as _},
    sync::Arc,
};

use async_trait::async_trait;
use azure_core::{Context, Policy, PolicyResult, Request, headers::CONTENT_TYPE};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{entity, fault::Fault, keys::quoted, next_policy};
use crate::store::table::{Batch, ETag, Op, Row, TableName};

/// What a key keeps in a URL: everything else is escaped, whatever it might mean there.
const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Room for a row of usual size with its headers.
const USUAL: usize = 1_280;

/// A transaction as it goes out.
#[derive(Debug)]
pub(super) struct Body {
    content_type: String,
    bytes: Bytes,
}

/// Writes a transaction on a table at `endpoint` (a URL without a slash at its end).
///
/// # Errors
/// Never for rows whose values JSON can hold: all of them.
pub(super) fn write(endpoint: &str, table: &TableName, batch: &Batch) -> io::Result<Body> {
    let (outer, inner) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    let mut body = Vec::with_capacity(USUAL * (batch.ops().len() + 1));
    write!(body, "--batch_{outer}\r\nContent-Type: multipart/mixed; boundary=changeset_{inner}\r\n\r\n")?;
    for op in batch.ops() {
        write!(body, "--changeset_{inner}\r\nContent-Type: application/http\r\n")?;
        body.write_all(b"Content-Transfer-Encoding: binary\r\n\r\n")?;
        let at = |key| Address { endpoint, table, partition: batch.partition(), key };
        match op {
            Op::Insert(row) => {
                write!(body, "POST {endpoint}/{table} HTTP/1.1\r\nPrefer: return-no-content\r\n")?;
                content(&mut body, batch.partition(), row)?;
            }
            Op::Replace(row, ETag(version)) => {
                write!(body, "PUT {} HTTP/1.1\r\nIf-Match: {version}\r\n", at(&row.key))?;
                content(&mut body, batch.partition(), row)?;
            }
            Op::Upsert(row) => {
                write!(body, "PUT {} HTTP/1.1\r\n", at(&row.key))?;
                content(&mut body, batch.partition(), row)?;
            }
            Op::Delete(key) => {
                write!(body, "DELETE {} HTTP/1.1\r\nIf-Match: *\r\n{ACCEPT}\r\n", at(key))?;
            }
        }
        // The line end before a boundary belongs to the boundary.
        body.write_all(b"\r\n")?;
    }
    write!(body, "--changeset_{inner}--\r\n--batch_{outer}--\r\n")?;
    Ok(Body { content_type: format!("multipart/mixed; boundary=batch_{outer}"), bytes: body.into() })
}

/// Errors come back as JSON.
const ACCEPT: &str = "Accept: application/json;odata=minimalmetadata\r\n";

fn content(body: &mut Vec<u8>, partition: &str, row: &Row) -> io::Result<()> {
    write!(body, "{ACCEPT}Content-Type: application/json\r\n\r\n")?;
    entity::write(body, partition, row)
}

/// The URL of a row.
struct Address<'a> {
    endpoint: &'a str,
    table: &'a TableName,
    partition: &'a str,
    key: &'a str,
}

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, table, partition, key } = self;
        let (partition, key) = (quoted(partition), quoted(key));
        let [partition, key] = [&partition, &key].map(|text| utf8_percent_encode(text, &PLAIN));
        write!(f, "{endpoint}/{table}(PartitionKey='{partition}',RowKey='{key}')")
    }
}

/// Sends the [`Body`] in the request's context in the place of the SDK's. In the pipeline before the
/// signature, which covers the content type.
#[derive(Debug)]
pub(super) struct OwnBody;

#[async_trait]
impl Policy for OwnBody {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        if let Some(Body { content_type, bytes }) = ctx.get::<Body>() {
            request.insert_header(CONTENT_TYPE, content_type.clone());
            request.set_body(bytes.clone());
        }
        next_policy(ctx, request, next).await
    }
}

/// What one operation answered.
#[derive(Debug, Default)]
struct Part<'a> {
    status: u16,
    etag: Option<&'a str>,
    code: Option<&'a str>,
    body: String,
}

/// Reads a transaction's reply. A success comes back as the plainest text that the SDK reads.
///
/// # Errors
/// [`Fault::Answer`] with status, code and index of the operation that failed: nothing was
/// committed. [`Fault::Senseless`] when there is no telling.
pub(crate) fn read(body: &[u8]) -> Result<String, Fault> {
    let text = std::str::from_utf8(body).map_err(|_| Fault::Senseless)?;
    let parts = parts(text)?;
    if parts.is_empty() {
        return Err(Fault::Senseless);
    }
    if let Some(failed) = parts.iter().find(|part| !(200..300).contains(&part.status)) {
        let said = ODataError::read(failed.body.as_bytes());
        let index = said.as_ref().and_then(ODataError::index);
        let code = failed.code.map(str::to_owned).or(said.map(|error| error.code)).unwrap_or_default();
        return Err(Fault::Answer { status: failed.status, code, index, retry_after: None });
    }
    let mut plain = String::new();
    for (index, part) in parts.into_iter().enumerate() {
        // Writing to a String never fails.
        let _ = write!(plain, "\n--changesetresponse_0\nHTTP/1.1 {}\n", part.status);
        // That of the head: nobody asks for the others.
        if let Some(etag) = part.etag.filter(|_| index == 0) {
            let _ = writeln!(plain, "ETag: {etag}");
        }
    }
    Ok(plain)
}

fn parts(text: &str) -> Result<Vec<Part<'_>>, Fault> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(status) = line.strip_prefix("HTTP/1.1 ") else { continue };
        let status = status.split(' ').next().and_then(|number| number.parse().ok());
        let mut part = Part { status: status.ok_or(Fault::Senseless)?, ..Part::default() };
        for line in lines.by_ref().take_while(|line| !line.is_empty()) {
            // The others are a dozen for every row.
            let Some((name, value)) =
                line.starts_with(['E', 'e', 'X', 'x']).then(|| line.split_once(':')).flatten()
            else {
                continue;
            };
            if name.eq_ignore_ascii_case("etag") {
                part.etag = Some(value.trim());
            } else if name.eq_ignore_ascii_case("x-ms-error-code") {
                part.code = Some(value.trim());
            }
        }
        for line in lines.by_ref().take_while(|line| !line.starts_with("--")) {
            part.body.push_str(line);
        }
        parts.push(part);
    }
    Ok(parts)
}

/// The service's error in JSON.
#[derive(Debug, Deserialize)]
pub(crate) struct ODataError {
    pub(crate) code: String,
    #[serde(default)]
    message: Message,
}

#[derive(Debug, Default, Deserialize)]
struct Message {
    #[serde(default)]
    value: String,
}

impl ODataError {
    /// Finds it in a body, if it is one.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Body {
            #[serde(rename = "odata.error")]
            error: ODataError,
        }
        serde_json::from_slice::<Body>(body).ok().map(|body| body.error)
    }

    /// A transaction's message begins with the number of the operation that failed: `2:The …`.
    fn index(&self) -> Option<usize> {
        self.message.value.split_once(':').and_then(|(number, _)| number.parse().ok())
    }
}

#[cfg(test)]
mod tests;

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
use memchr::memmem;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{entity, fault::Fault, keys::quoted, next_policy};
use crate::store::table::{Batch, ETag, Op, TableName};

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
    // What the parts have in common is written once, and copied a hundred times.
    let part = format!("--changeset_{inner}\r\nContent-Type: application/http\r\n{BINARY}");
    let insert = format!("POST {endpoint}/{table} HTTP/1.1\r\nPrefer: return-no-content\r\n{CONTENT}");
    let partition = batch.partition();
    let mut body = Vec::with_capacity(USUAL * (batch.ops().len() + 1));
    write!(body, "--batch_{outer}\r\nContent-Type: multipart/mixed; boundary=changeset_{inner}\r\n\r\n")?;
    for op in batch.ops() {
        body.extend_from_slice(part.as_bytes());
        let at = |key| Address { endpoint, table, partition, key };
        match op {
            Op::Insert(_) => body.extend_from_slice(insert.as_bytes()),
            Op::Replace(row, ETag(version)) => {
                write!(body, "PUT {} HTTP/1.1\r\nIf-Match: {version}\r\n{CONTENT}", at(&row.key))?;
            }
            Op::Overwrite(row) => {
                write!(body, "PUT {} HTTP/1.1\r\nIf-Match: *\r\n{CONTENT}", at(&row.key))?;
            }
            Op::Upsert(row) => write!(body, "PUT {} HTTP/1.1\r\n{CONTENT}", at(&row.key))?,
            Op::Delete(key) => write!(body, "DELETE {} HTTP/1.1\r\nIf-Match: *\r\n{ACCEPT}\r\n", at(key))?,
        }
        if let Some(row) = op.row() {
            entity::write(&mut body, partition, row)?;
        }
        // The line end before a boundary belongs to the boundary.
        body.extend_from_slice(b"\r\n");
    }
    write!(body, "--changeset_{inner}--\r\n--batch_{outer}--\r\n")?;
    Ok(Body { content_type: format!("multipart/mixed; boundary=batch_{outer}"), bytes: body.into() })
}

const BINARY: &str = "Content-Transfer-Encoding: binary\r\n\r\n";
/// Errors come back as JSON.
macro_rules! accept {
    () => {
        "Accept: application/json;odata=minimalmetadata\r\n"
    };
}
const ACCEPT: &str = accept!();
/// In front of a row.
const CONTENT: &str = concat!(accept!(), "Content-Type: application/json\r\n\r\n");

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

/// What one operation answered: its status, and the text behind it.
#[derive(Debug)]
struct Answer<'a> {
    status: u16,
    rest: &'a str,
}

impl<'a> Answer<'a> {
    fn header(&self, name: &str) -> Option<&'a str> {
        let headers = self.rest.lines().skip(1).take_while(|line| !line.is_empty());
        let mut pairs = headers.filter_map(|line| line.split_once(':'));
        pairs.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    fn body(&self) -> String {
        let body = self.rest.lines().skip_while(|line| !line.is_empty());
        body.take_while(|line| !line.starts_with("--")).collect()
    }
}

/// Reads a transaction's reply. A success comes back as the plainest text that the SDK reads.
///
/// # Errors
/// [`Fault::Answer`] with status, code and index of the operation that failed: nothing was
/// committed. [`Fault::Senseless`] when there is no telling.
pub(crate) fn read(body: &[u8]) -> Result<String, Fault> {
    let text = std::str::from_utf8(body).map_err(|_| Fault::Senseless)?;
    let answers = answers(text)?;
    let first = answers.first().ok_or(Fault::Senseless)?;
    if let Some(failed) = answers.iter().find(|answer| !(200..300).contains(&answer.status)) {
        let said = ODataError::read(failed.body().as_bytes());
        let index = said.as_ref().and_then(ODataError::index);
        let code = failed.header("x-ms-error-code").map(str::to_owned);
        let code = code.or(said.map(|error| error.code)).unwrap_or_default();
        return Err(Fault::Answer { status: failed.status, code, index, retry_after: None });
    }
    // The version of the first row, which is the head: nobody asks for the others.
    let mut version = first.header("etag");
    let mut plain = String::new();
    for Answer { status, .. } in answers {
        // Writing to a String never fails.
        let _ = write!(plain, "\n--changesetresponse_0\nHTTP/1.1 {status}\n");
        if let Some(version) = version.take() {
            let _ = writeln!(plain, "ETag: {version}");
        }
    }
    Ok(plain)
}

fn answers(text: &str) -> Result<Vec<Answer<'_>>, Fault> {
    const MARK: &str = "HTTP/1.1 ";
    let begins_line = |at: &usize| at.checked_sub(1).is_none_or(|before| text.as_bytes()[before] == b'\n');
    let marks = memmem::find_iter(text.as_bytes(), MARK).filter(begins_line);
    let answer = |at: usize| {
        let rest = &text[at + MARK.len()..];
        let status = rest.split([' ', '\r', '\n']).next().and_then(|number| number.parse().ok());
        Ok(Answer { status: status.ok_or(Fault::Senseless)?, rest })
    };
    marks.map(answer).collect()
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

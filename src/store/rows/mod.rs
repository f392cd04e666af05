//! Rows and what they mean: the only place that names a property.
//!
//! Reading never guesses: a row that lacks what its kind must have is [`BadRow`], which names
//! the row and the property (a manual edit, or a bug), never its content.

mod event;
mod index;
mod log;
mod stream;

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

pub use self::{
    event::{Envelope, ErasedMark, Fingerprint, RecordedEvent},
    index::{IdentityRow, debt, link, linked_stream, read_debt, read_link},
    log::{Commit, Head},
    stream::{Stream, StreamStatus},
};
use super::{
    digest::Digest,
    table::{MAX_BINARY, Row, Value},
};
use crate::domain::{ids::StreamName, timestamp::Timestamp};

/// Layout of the rows written by this version.
const SCHEMA: i64 = 1;

/// A stored row is not what its key says it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row `{key}` has no valid property `{property}`")]
pub struct BadRow {
    /// Its row key.
    pub key: String,
    /// The property.
    pub property: &'static str,
}

impl BadRow {
    /// What was read, for rounds over many rows: one that cannot be read is told to an operator and passed
    /// over, so that the work of all others goes on.
    pub(super) fn passed_over<T>(read: Result<T, Self>) -> Option<T> {
        read.inspect_err(|bad| tracing::error!(evt = "row.unreadable", error = %bad, "a row is passed over"))
            .ok()
    }
}

/// Reads properties, and says which one was wrong.
struct Reader<'a>(&'a Row);

impl<'a> Reader<'a> {
    fn bad(&self, property: &'static str) -> BadRow {
        BadRow { key: self.0.key.clone(), property }
    }

    fn str(&self, name: &'static str) -> Result<&'a str, BadRow> {
        self.0.str(name).ok_or_else(|| self.bad(name))
    }

    fn number(&self, name: &'static str) -> Result<u64, BadRow> {
        self.0.int(name).and_then(|n| u64::try_from(n).ok()).ok_or_else(|| self.bad(name))
    }

    fn time(&self, name: &'static str) -> Result<Timestamp, BadRow> {
        Timestamp::parse(name, self.str(name)?).map_err(|_| self.bad(name))
    }

    fn digest(&self, name: &'static str) -> Result<Digest, BadRow> {
        self.0.bin(name).and_then(|b| Digest::from_slice(b)).ok_or_else(|| self.bad(name))
    }

    fn parsed<T>(&self, name: &'static str, text: Result<T, impl Sized>) -> Result<T, BadRow> {
        text.map_err(|_| self.bad(name))
    }

    fn stream(&self) -> Result<StreamName, BadRow> {
        let category = self.parsed("Category", self.str("Category")?.to_owned().try_into())?;
        let id = self.parsed("Stream", self.str("Stream")?.to_owned().try_into())?;
        Ok(StreamName::new(category, id))
    }
}

fn number(value: u64) -> Value {
    // Sequences and versions stay far below 2^63: a partition would need 146 million years at
    // 2,000 events a second.
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

fn text(value: impl Into<String>) -> Value {
    Value::Str(value.into())
}

fn time(moment: Timestamp) -> Value {
    text(moment.to_string())
}

fn binary(value: impl Into<Vec<u8>>) -> Value {
    Value::Bin(Bytes::from(value.into()))
}

/// Splits bytes over `name0`, `name1`, … of at most 64 KiB each.
fn with_chunks(mut row: Row, name: &str, bytes: &[u8]) -> Row {
    for (index, chunk) in bytes.chunks(MAX_BINARY).enumerate() {
        row = row.with(Cow::Owned(format!("{name}{index}")), binary(chunk));
    }
    row
}

fn chunks(row: &Row, name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for index in 0.. {
        match row.bin(&format!("{name}{index}")) {
            Some(chunk) => out.extend_from_slice(chunk),
            None => break,
        }
    }
    out
}

fn on_stream(row: Row, stream: &StreamName) -> Row {
    row.with("Category", text(stream.category.as_str())).with("Stream", text(stream.id.as_str()))
}

/// JSON of a value whose maps have string keys only, which therefore always serialises.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    serde_json::to_writer(&mut out, value).expect("maps with string keys serialise");
    out
}

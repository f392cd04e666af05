//! Operations that happen together.

use super::{ETag, Row, Value};

/// Most operations in one [`Batch`].
pub const MAX_BATCH_ROWS: usize = 100;
/// Most bytes of one [`Batch`] as [`Batch::encoded_len`] counts them. The service takes 4 MiB of
/// HTTP body; the rest is a margin for what the count does not know (account and host names).
pub const MAX_BATCH_BYTES: usize = 3_900_000;

/// One operation of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Writes a row that MUST NOT exist yet.
    Insert(Row),
    /// Overwrites a row that MUST still have this version.
    Replace(Row, ETag),
    /// Overwrites a row that MUST exist, in whichever version.
    Overwrite(Row),
    /// Writes a row whether or not it exists.
    Upsert(Row),
    /// Removes a row that MUST exist, in whichever version.
    Delete(String),
}

impl Op {
    /// The row key that the operation touches.
    pub fn key(&self) -> &str {
        match self {
            Self::Insert(row) | Self::Replace(row, _) | Self::Overwrite(row) | Self::Upsert(row) => &row.key,
            Self::Delete(key) => key,
        }
    }

    /// The row that the operation writes, if it writes one.
    pub fn row(&self) -> Option<&Row> {
        match self {
            Self::Insert(row) | Self::Replace(row, _) | Self::Overwrite(row) | Self::Upsert(row) => Some(row),
            Self::Delete(_) => None,
        }
    }

    /// Bytes that the operation takes in a batch body, counted so as never to be too low.
    pub fn encoded_len(&self) -> usize {
        // MIME part headers, URL with keys, etag, JSON punctuation; measured 265-300 B + keys.
        const PART: usize = 420;
        let properties = self.row().map_or(&[][..], |row| &row.properties);
        let values: usize = properties.iter().map(|(name, value)| encoded_property_len(name, value)).sum();
        PART + 4 * self.key().len() + values
    }
}

fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\' || byte >= 0x80
}

fn encoded_property_len(name: &str, value: &Value) -> usize {
    // "name":"value", and for typed properties "name@odata.type":"Edm.Binary",
    let markup = 2 * name.len() + 40;
    markup
        + match value {
            // Worst case: what is not plain becomes \u00XX; multi-byte characters stay below that.
            Value::Str(text) => text.len() + 5 * text.bytes().filter(|byte| is_escaped(*byte)).count(),
            Value::Int(_) => 22,
            Value::Bin(bytes) => bytes.len().div_ceil(3) * 4,
            Value::Bool(_) => 5,
        }
}

/// Operations on one partition that happen together or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    partition: String,
    ops: Vec<Op>,
}

/// Why operations do not make a batch. Each is a mistake of the caller's, never of a sender's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// No operation at all.
    #[error("a batch holds at least one operation")]
    Empty,
    /// More than [`MAX_BATCH_ROWS`] operations.
    #[error("a batch holds at most {MAX_BATCH_ROWS} operations, got {0}")]
    TooManyRows(usize),
    /// More than [`MAX_BATCH_BYTES`].
    #[error("a batch holds at most {MAX_BATCH_BYTES} bytes, got {0}")]
    TooManyBytes(usize),
    /// A row appears twice.
    #[error("a batch names each row at most once")]
    DuplicateRow,
}

impl Batch {
    /// Puts operations on `partition` together.
    ///
    /// # Errors
    /// [`BatchError`] when the service would refuse them as a whole.
    pub fn new(partition: impl Into<String>, ops: Vec<Op>) -> Result<Self, BatchError> {
        if ops.is_empty() {
            return Err(BatchError::Empty);
        }
        if ops.len() > MAX_BATCH_ROWS {
            return Err(BatchError::TooManyRows(ops.len()));
        }
        let mut keys: Vec<&str> = ops.iter().map(Op::key).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(BatchError::DuplicateRow);
        }
        let batch = Self { partition: partition.into(), ops };
        match batch.encoded_len() {
            len if len > MAX_BATCH_BYTES => Err(BatchError::TooManyBytes(len)),
            _ => Ok(batch),
        }
    }

    /// The partition that every operation is on.
    pub fn partition(&self) -> &str {
        &self.partition
    }

    /// The operations, in order.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Bytes of the whole body, counted so as never to be too low.
    pub fn encoded_len(&self) -> usize {
        self.ops.iter().map(Op::encoded_len).sum()
    }
}

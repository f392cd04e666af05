//! The Table port: the little that Annals needs of Azure Table Storage, and no more.
//!
//! A table holds rows under `(partition key, row key)`, ordered by row key within a partition.
//! A driver MUST commit a [`Batch`] whole or not at all, MUST check every condition in it
//! against the same state, and MUST answer [`CommitError::Unknown`] whenever it cannot prove
//! which of the two happened. Everything clever is built above this port, once.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

/// Name of a table: a letter, then letters and digits, 3 to 63 characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName(Arc<str>);

impl TableName {
    /// Takes a name that the service accepts, and nothing else.
    pub fn new(name: &str) -> Option<Self> {
        let mut bytes = name.bytes();
        let fits = (3..=63).contains(&name.len())
            && bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
            && bytes.all(|b| b.is_ascii_alphanumeric());
        fits.then(|| Self(name.into()))
    }

    /// The name as the service knows it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The version of a row, opaque; it changes with every write of that row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ETag(pub Arc<str>);

/// A property's value. A string is at most 32 Ki UTF-16 units, a binary at most 64 KiB
/// ([`MAX_BINARY`]); longer content is split over several properties by the caller.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Str(String),
    /// `Edm.Int64`.
    Int(i64),
    /// `Edm.Binary`.
    Bin(Bytes),
    /// `Edm.Boolean`.
    Bool(bool),
}

/// Longest binary property, in bytes.
pub const MAX_BINARY: usize = 64 * 1024;
/// Longest string property, in UTF-16 units.
pub const MAX_STRING_UTF16: usize = 32 * 1024;
/// Most operations in one [`Batch`].
pub const MAX_BATCH_ROWS: usize = 100;
/// Most bytes of one [`Batch`] as [`Batch::encoded_len`] counts them. The service takes 4 MiB of
/// HTTP body; the rest is a margin for what the count does not know (account and host names).
pub const MAX_BATCH_BYTES: usize = 3_900_000;

/// A row's name within its partition, and its properties in a fixed order.
///
/// Property names are ASCII letters and digits. `PartitionKey`, `RowKey` and `Timestamp` are the
/// service's own and never appear among them.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The row key.
    pub key: String,
    /// Name and value of each property.
    pub properties: Vec<(Cow<'static, str>, Value)>,
}

impl Row {
    /// An empty row under `key`.
    pub fn new(key: impl Into<String>) -> Self {
        // Room for all that an event's row has.
        Self { key: key.into(), properties: Vec::with_capacity(12) }
    }

    /// Adds a property.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: Value) -> Self {
        self.properties.push((name.into(), value));
        self
    }

    /// Adds a property, where there is a value for it.
    #[must_use]
    pub fn with_some(self, name: &'static str, value: Option<Value>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The value of a property, if it is there.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.properties.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    /// A text property.
    pub fn str(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Str(text)) => Some(text),
            _ => None,
        }
    }

    /// A number property.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Value::Int(number)) => Some(*number),
            _ => None,
        }
    }

    /// A binary property.
    pub fn bin(&self, name: &str) -> Option<&Bytes> {
        match self.get(name) {
            Some(Value::Bin(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// A truth-value property.
    pub fn bool(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            Some(Value::Bool(truth)) => Some(*truth),
            _ => None,
        }
    }
}

/// A row as it is stored, with the version it has.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRow {
    /// The row.
    pub row: Row,
    /// Its version.
    pub etag: ETag,
}

/// One operation of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Writes a row that MUST NOT exist yet.
    Insert(Row),
    /// Overwrites a row that MUST still have this version.
    Replace(Row, ETag),
    /// Writes a row whether or not it exists.
    Upsert(Row),
    /// Removes a row that MUST exist, in whichever version.
    Delete(String),
}

impl Op {
    /// The row key that the operation touches.
    pub fn key(&self) -> &str {
        match self {
            Self::Insert(row) | Self::Replace(row, _) | Self::Upsert(row) => &row.key,
            Self::Delete(key) => key,
        }
    }

    /// Bytes that the operation takes in a batch body, counted so as never to be too low.
    pub fn encoded_len(&self) -> usize {
        // MIME part headers, URL with keys, etag, JSON punctuation; measured 265-300 B + keys.
        const PART: usize = 420;
        let properties = match self {
            Self::Insert(row) | Self::Replace(row, _) | Self::Upsert(row) => row.properties.as_slice(),
            Self::Delete(_) => &[],
        };
        let values: usize = properties.iter().map(|(name, value)| encoded_property_len(name, value)).sum();
        PART + 4 * self.key().len() + values
    }
}

fn encoded_property_len(name: &str, value: &Value) -> usize {
    // "name":"value", and for typed properties "name@odata.type":"Edm.Binary",
    let markup = 2 * name.len() + 40;
    markup
        + match value {
            // Worst case: every byte becomes \u00XX. What is long is binary, so nobody looks closer.
            Value::Str(text) => 6 * text.len(),
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

/// What became of a batch that was not committed, or may not have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Not committed: a [`Op::Replace`] met another version, or no row.
    #[error("a row has changed since it was read")]
    Changed {
        /// Which operation, where the service said so.
        index: Option<usize>,
    },
    /// Not committed: an [`Op::Insert`] met a row.
    #[error("a row exists already")]
    Exists {
        /// Which operation, where the service said so.
        index: Option<usize>,
    },
    /// Not committed: a [`Op::Delete`] met no row.
    #[error("a row does not exist")]
    Missing {
        /// Which operation, where the service said so.
        index: Option<usize>,
    },
    /// Not committed: there is no such table.
    #[error("the table does not exist")]
    NoTable,
    /// Not committed: the service calls the request itself wrong (400, 413). Sending it again
    /// gives the same answer.
    #[error("the storage service refused the request ({code})")]
    Refused {
        /// The service's error code.
        code: String,
    },
    /// Not committed: the service asks us to slow down (429), or denies us (401, 403).
    #[error("the storage service did not take the request ({code})")]
    Denied {
        /// The service's error code.
        code: String,
        /// How long to wait, where the service said so.
        retry_after: Option<Duration>,
    },
    /// Committed or not: a time-out, a lost connection, a 5xx, a reply that makes no sense.
    #[error("the outcome is unknown ({reason})")]
    Unknown {
        /// What happened, without addresses or secrets.
        reason: String,
        /// How long to wait, where the service said so.
        retry_after: Option<Duration>,
    },
}

/// Why a read or the making of a table failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is no such table.
    #[error("the table does not exist")]
    NoTable,
    /// The page would be larger than the driver takes into memory: ask for fewer rows.
    #[error("the page is too large")]
    TooLarge,
    /// Storage cannot be read now; it may pass.
    #[error("storage cannot be read ({reason})")]
    Unavailable {
        /// What happened, without addresses or secrets.
        reason: String,
        /// How long to wait, where the service said so.
        retry_after: Option<Duration>,
    },
}

/// A range of row keys: `from` is included, `to` is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// First row key of the range.
    pub from: String,
    /// First row key behind the range.
    pub to: String,
}

/// Part of a range, in ascending order of row keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// The rows. A page may be short, even empty, while there is more.
    pub rows: Vec<StoredRow>,
    /// Where to go on (as the next [`Range::from`]), or `None` when the range is exhausted.
    pub next: Option<String>,
}

/// The port. See the module's text for what a driver promises.
///
/// A driver does **not** retry on its own: one call is one request to storage (a `scan` of at
/// most 1,000 rows included), so that the layer above can count, space and give up.
#[async_trait]
pub trait Table: Send + Sync + fmt::Debug {
    /// Makes a table. A table that exists already is a success.
    async fn create_table(&self, table: &TableName) -> Result<(), ReadError>;

    /// Removes a table and everything in it. A table that does not exist is a success.
    async fn delete_table(&self, table: &TableName) -> Result<(), ReadError>;

    /// Commits a batch and gives back the new version of the row of its first operation
    /// (`None` when that was a [`Op::Delete`]).
    async fn commit(&self, table: &TableName, batch: &Batch) -> Result<Option<ETag>, CommitError>;

    /// Reads one row; `Ok(None)` when it does not exist.
    async fn get(
        &self,
        table: &TableName,
        partition: &str,
        key: &str,
    ) -> Result<Option<StoredRow>, ReadError>;

    /// Reads at most `limit` (1 to 1,000) rows of a range, in one request.
    ///
    /// Rows of one page may have been read at different times: a later row may show a commit of
    /// which an earlier row shows nothing.
    async fn scan(
        &self,
        table: &TableName,
        partition: &str,
        range: &Range,
        limit: usize,
    ) -> Result<Page, ReadError>;

    /// How far this process's clock is from the service's, as last seen; zero where both are one.
    fn clock_skew(&self) -> Duration {
        Duration::ZERO
    }
}

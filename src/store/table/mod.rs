//! The Table port: the little that Annals needs of Azure Table Storage, and no more.
//!
//! A table holds rows under `(partition key, row key)`, ordered by row key within a partition.
//! A driver MUST commit a [`Batch`] whole or not at all, MUST check every condition in it
//! against the same state, and MUST answer [`CommitError::Unknown`] whenever it cannot prove
//! which of the two happened. Everything clever is built above this port, once.

mod batch;
mod row;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

pub use self::{
    batch::{Batch, BatchError, MAX_BATCH_BYTES, MAX_BATCH_ROWS, Op},
    row::{MAX_BINARY, MAX_STRING_UTF16, Row, StoredRow, Value},
};

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
    /// Not committed: an [`Op::Overwrite`] or a [`Op::Delete`] met no row.
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

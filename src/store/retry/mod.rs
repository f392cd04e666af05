//! Small reads and writes outside of the committer: tried again while a fault may pass, for a
//! bounded time, with jitter.

pub(crate) mod pages;

use std::{future::Future, sync::Arc, time::Duration};

use rand::Rng;
use tokio::time::{Instant, sleep, timeout};

use super::table::{Batch, CommitError, ETag, ReadError, Table, TableName};

/// How long one read or write goes on trying.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(8);

/// Why a write was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// An inserted row exists: perhaps by this very write, when an answer was lost.
    #[error("the row exists already")]
    Exists,
    /// A replaced row is not what it was: perhaps by this very write, when an answer was lost.
    #[error("the row has changed")]
    Changed,
    /// A row to overwrite or delete does not exist: perhaps by this very write, when an answer was lost.
    #[error("the row does not exist")]
    Missing,
    /// There is no such table.
    #[error("the table does not exist")]
    NoTable,
    /// The service calls the write itself wrong.
    #[error("the storage service refused the write ({code})")]
    Refused {
        /// The service's error code.
        code: String,
    },
    /// It was not done, or may have been; it may pass.
    #[error("storage is not available ({reason})")]
    Unavailable {
        /// What happened, without addresses or secrets.
        reason: String,
    },
}

/// Does a read, again while that may help.
///
/// # Errors
/// The last [`ReadError`].
pub(crate) async fn read<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, ReadError>
where
    F: Future<Output = Result<T, ReadError>>,
{
    let mut pauses = Pauses::new();
    loop {
        let late = || ReadError::Unavailable { reason: "no answer in time".to_owned(), retry_after: None };
        let error = match timeout(ANSWER, attempt()).await.unwrap_or_else(|_| Err(late())) {
            Err(ReadError::Unavailable { reason, retry_after }) => (reason, retry_after),
            settled => return settled,
        };
        if !pauses.next(error.1).await {
            return Err(ReadError::Unavailable { reason: error.0, retry_after: error.1 });
        }
    }
}

/// Does a write, again while that may help. A lost answer makes the next try answer
/// [`WriteError::Exists`], [`WriteError::Changed`] or [`WriteError::Missing`].
///
/// # Errors
/// [`WriteError`].
pub(crate) async fn write(
    table: &Arc<dyn Table>,
    name: &TableName,
    batch: &Batch,
) -> Result<Option<ETag>, WriteError> {
    let mut pauses = Pauses::new();
    loop {
        let late = || CommitError::Unknown { reason: "no answer in time".to_owned(), retry_after: None };
        let outcome = timeout(ANSWER, table.commit(name, batch)).await.unwrap_or_else(|_| Err(late()));
        let (reason, retry_after) = match outcome {
            Ok(etag) => return Ok(etag),
            Err(CommitError::Exists { .. }) => return Err(WriteError::Exists),
            Err(CommitError::Changed { .. }) => return Err(WriteError::Changed),
            Err(CommitError::Missing { .. }) => return Err(WriteError::Missing),
            Err(CommitError::NoTable) => return Err(WriteError::NoTable),
            Err(CommitError::Refused { code }) => return Err(WriteError::Refused { code }),
            Err(CommitError::Denied { code, retry_after }) => (code, retry_after),
            Err(CommitError::Unknown { reason, retry_after }) => (reason, retry_after),
        };
        if !pauses.next(retry_after).await {
            return Err(WriteError::Unavailable { reason });
        }
    }
}

/// Pauses that double, with jitter, within [`PATIENCE`].
struct Pauses {
    until: Instant,
    pause: Duration,
}

impl Pauses {
    fn new() -> Self {
        Self { until: Instant::now() + PATIENCE, pause: Duration::from_millis(50) }
    }

    /// Waits before the next try; false when there shall be none.
    async fn next(&mut self, retry_after: Option<Duration>) -> bool {
        let jitter = rand::rng().random_range(0.5..1.0);
        let wait = retry_after.unwrap_or_else(|| self.pause.mul_f64(jitter));
        self.pause = (self.pause * 2).min(Duration::from_secs(2));
        if Instant::now() + wait >= self.until {
            return false;
        }
        sleep(wait).await;
        true
    }
}

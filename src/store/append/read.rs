//! What storage says of one partition.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{Stored, plan::StreamNow};
use crate::{
    domain::{
        ids::{Identity, StreamName},
        position::PartitionId,
    },
    store::{
        keys,
        retry::pages,
        rows::{BadRow, Commit, Head, IdentityRow, RecordedEvent, Stream},
        table::{BatchError, ETag, Page, Range, ReadError, StoredRow, Table, TableName},
    },
};

/// Longest wait for one answer of storage; what takes longer has an unknown outcome.
pub(super) const STORAGE_TIMEOUT: Duration = Duration::from_secs(8);

/// Why the state of a partition could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    #[error("storage could not be read")]
    Read(#[from] ReadError),
    #[error("a stored row is not what it should be")]
    Bad(#[from] BadRow),
    #[error("row `{0}` is missing")]
    Missing(String),
    #[error("the head and the commits kept changing while they were read")]
    Unsettled,
    #[error("storage gave no answer in time")]
    Late,
    #[error("the plan is no batch")]
    Planning(#[from] BatchError),
    #[error("planning broke down")]
    Panicked,
}

impl StateError {
    /// How long storage asked us to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Read(ReadError::Unavailable { retry_after, .. }) => *retry_after,
            _ => None,
        }
    }

    /// Whether one append may be to blame, and not storage as such.
    pub(super) fn concerns_one(&self) -> bool {
        matches!(self, Self::Bad(_) | Self::Missing(_) | Self::Planning(_) | Self::Panicked)
    }
}

/// The head, with the version under which it may be replaced.
#[derive(Debug, Clone)]
pub(super) struct Tip {
    pub(super) head: Head,
    pub(super) etag: ETag,
}

/// Reads a partition, each row once: who asks decides what a failure means.
#[derive(Debug)]
pub(super) struct Reader {
    table: Arc<dyn Table>,
    name: TableName,
    pub(super) partition: PartitionId,
}

impl Reader {
    pub(super) fn new(table: Arc<dyn Table>, name: TableName, partition: PartitionId) -> Self {
        Self { table, name, partition }
    }

    async fn get(&self, key: &str) -> Result<Option<StoredRow>, StateError> {
        let partition = self.partition.to_string();
        let read = self.table.get(&self.name, &partition, key);
        Ok(timeout(STORAGE_TIMEOUT, read).await.map_err(|_| StateError::Late)??)
    }

    pub(super) async fn scan(&self, range: &Range, limit: usize) -> Result<Page, StateError> {
        let partition = self.partition.to_string();
        let read = pages::scan_once(&self.table, &self.name, &partition, range, limit);
        Ok(timeout(STORAGE_TIMEOUT, read).await.map_err(|_| StateError::Late)??)
    }

    pub(super) async fn head(&self) -> Result<Tip, StateError> {
        let row = self.get(keys::HEAD).await?;
        let stored = row.ok_or_else(|| StateError::Missing(keys::HEAD.to_owned()))?;
        Ok(Tip { head: Head::read(&stored.row)?, etag: stored.etag })
    }

    pub(super) async fn stream(&self, name: StreamName) -> Result<(StreamName, StreamNow), StateError> {
        let row = self.get(&keys::stream(&name)).await?;
        let Some(stored) = row else { return Ok((name, StreamNow::default())) };
        let (name, stream) = Stream::read(&stored.row)?;
        let now = StreamNow::stored(self.partition, &name, stream);
        Ok((name, now))
    }

    pub(super) async fn identity(&self, identity: &Identity) -> Result<Option<Stored>, StateError> {
        let Some(row) = self.get(&keys::identity(identity)).await? else {
            return Ok(None);
        };
        let index = IdentityRow::read(&row.row)?;
        let (event_key, commits) =
            (keys::event(&index.stream, index.version), keys::commits_from(index.sequence));
        let (event, page) = futures::try_join!(self.get(&event_key), self.scan(&commits, 1),)?;
        let event = event.ok_or(StateError::Missing(event_key))?;
        let event = RecordedEvent::read(self.partition, &event.row)?;
        let commit = page.rows.first().ok_or_else(|| StateError::Missing(keys::commit(index.sequence)))?;
        let essentials =
            Commit::read(&commit.row)?.events()?.into_iter().find(|e| e.sequence == index.sequence);
        let essentials = essentials.ok_or_else(|| StateError::Missing(keys::commit(index.sequence)))?;
        let stored = Stored {
            partition: self.partition,
            recorded: event.recorded,
            essentials: Arc::new(essentials),
            fingerprint: event.fingerprint,
        };
        Ok(Some(stored))
    }
}

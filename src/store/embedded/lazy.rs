//! Opening later: the handler answers the host's first ping before the data file is repaired.

use std::{fmt, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::{Embedded, OpenError, unavailable};
use crate::{
    store::table::{Batch, CommitError, ETag, Page, Range, ReadError, StoredRow, Table, TableName},
    telemetry::chain,
};

/// An [`Embedded`] that its first call opens. A call that finds it failed (a full disk, a folder
/// in use) fails too, and the next one tries again: the store comes back by itself.
pub struct LazyEmbedded {
    open: Arc<dyn Fn() -> Result<Embedded, OpenError> + Send + Sync>,
    opened: Mutex<Option<Arc<Embedded>>>,
}

impl fmt::Debug for LazyEmbedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyEmbedded").finish_non_exhaustive()
    }
}

impl LazyEmbedded {
    /// Will open `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Self::opened_by(move || Embedded::open(&folder))
    }

    pub(super) fn opened_by(open: impl Fn() -> Result<Embedded, OpenError> + Send + Sync + 'static) -> Self {
        Self { open: Arc::new(open), opened: Mutex::new(None) }
    }

    async fn store(&self) -> Result<Arc<Embedded>, ReadError> {
        let mut opened = self.opened.lock().await;
        if let Some(store) = opened.as_ref().filter(|store| !store.is_lost()) {
            return Ok(Arc::clone(store));
        }
        let (lost, open) = (opened.take(), Arc::clone(&self.open));
        let again = move || {
            // Lets go of the file first. Calls that still hold it make the opening fail as in use.
            drop(lost);
            open()
        };
        match tokio::task::spawn_blocking(again).await {
            Ok(Ok(store)) => Ok(Arc::clone(opened.insert(Arc::new(store)))),
            Ok(Err(error)) => {
                tracing::error!(error = chain(&error), "the data folder cannot be opened");
                Err(unavailable("the data folder cannot be opened"))
            }
            Err(_) => Err(unavailable("opening was cut off")),
        }
    }
}

#[async_trait]
impl Table for LazyEmbedded {
    async fn create_table(&self, table: &TableName) -> Result<(), ReadError> {
        self.store().await?.create_table(table).await
    }

    async fn delete_table(&self, table: &TableName) -> Result<(), ReadError> {
        self.store().await?.delete_table(table).await
    }

    async fn commit(&self, table: &TableName, batch: &Batch) -> Result<Option<ETag>, CommitError> {
        let opened = self.store().await;
        let store =
            opened.map_err(|error| CommitError::Unknown { reason: error.to_string(), retry_after: None })?;
        store.commit(table, batch).await
    }

    async fn get(
        &self,
        table: &TableName,
        partition: &str,
        key: &str,
    ) -> Result<Option<StoredRow>, ReadError> {
        self.store().await?.get(table, partition, key).await
    }

    async fn scan(
        &self,
        table: &TableName,
        partition: &str,
        range: &Range,
        limit: usize,
    ) -> Result<Page, ReadError> {
        self.store().await?.scan(table, partition, range, limit).await
    }
}

//! Opening later: the handler answers the host's first ping before the data file is repaired.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::{Embedded, unavailable};
use crate::{
    store::table::{Batch, CommitError, ETag, Page, Range, ReadError, StoredRow, Table, TableName},
    telemetry::chain,
};

/// An [`Embedded`] that is opened by its first call, and tried again by the next when that failed.
#[derive(Debug)]
pub struct LazyEmbedded {
    folder: PathBuf,
    opened: OnceCell<Arc<Embedded>>,
}

impl LazyEmbedded {
    /// Will open `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, opened: OnceCell::new() }
    }

    async fn store(&self) -> Result<&Arc<Embedded>, ReadError> {
        let open = || async {
            let folder = self.folder.clone();
            match tokio::task::spawn_blocking(move || Embedded::open(&folder)).await {
                Ok(Ok(store)) => Ok(Arc::new(store)),
                Ok(Err(error)) => {
                    tracing::error!(error = chain(&error), "the data folder cannot be opened");
                    Err(unavailable("the data folder cannot be opened"))
                }
                Err(_) => Err(unavailable("opening was cut off")),
            }
        };
        self.opened.get_or_try_init(open).await
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

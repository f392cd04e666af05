//! A table that counts what is asked of it, and keeps the batches.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use annals::store::{
    table::{Batch, CommitError, ETag, Page, Range, ReadError, StoredRow, Table, TableName},
    testing::Layer,
};
use async_trait::async_trait;

/// Requests since the last look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) commits: u64,
    pub(crate) gets: u64,
    pub(crate) scans: u64,
}

impl Counts {
    pub(crate) fn all(self) -> u64 {
        self.commits + self.gets + self.scans
    }
}

/// The wrapper.
#[derive(Debug)]
pub(crate) struct Counting {
    inner: Arc<dyn Table>,
    commits: AtomicU64,
    gets: AtomicU64,
    scans: AtomicU64,
    batches: Mutex<Vec<Batch>>,
}

impl Counting {
    pub(crate) fn over(inner: Arc<dyn Table>) -> Arc<Self> {
        let zero = AtomicU64::default;
        Arc::new(Self { inner, commits: zero(), gets: zero(), scans: zero(), batches: Mutex::default() })
    }

    /// Requests since the last call.
    pub(crate) fn take(&self) -> Counts {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        Counts { commits: take(&self.commits), gets: take(&self.gets), scans: take(&self.scans) }
    }

    /// Committed batches since the last call, in order.
    pub(crate) fn batches(&self) -> Vec<Batch> {
        std::mem::take(&mut *self.batches.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Layer for Counting {
    fn below(&self) -> &dyn Table {
        self.inner.as_ref()
    }

    async fn commit(&self, table: &TableName, batch: &Batch) -> Result<Option<ETag>, CommitError> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        let outcome = self.inner.commit(table, batch).await;
        if outcome.is_ok() {
            self.batches.lock().unwrap_or_else(PoisonError::into_inner).push(batch.clone());
        }
        outcome
    }

    async fn get(
        &self,
        table: &TableName,
        partition: &str,
        key: &str,
    ) -> Result<Option<StoredRow>, ReadError> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.inner.get(table, partition, key).await
    }

    async fn scan(
        &self,
        table: &TableName,
        partition: &str,
        range: &Range,
        limit: usize,
    ) -> Result<Page, ReadError> {
        self.scans.fetch_add(1, Ordering::Relaxed);
        self.inner.scan(table, partition, range, limit).await
    }
}

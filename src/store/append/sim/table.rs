//! A model of the table service on virtual time, with everything that goes wrong in one.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use rand::Rng;
use tokio::time::sleep;

use super::{
    faults::{Fate, Poison, ReadFate},
    storage::Storage,
};
use crate::store::{
    keys,
    table::{Batch, CommitError, ETag, Page, Range, ReadError, StoredRow, Table, TableName},
};

/// One process's connection to the one table of a world.
#[derive(Clone)]
pub(super) struct SimTable {
    pub(super) process: usize,
    pub(super) storage: Arc<Mutex<Storage>>,
}

impl fmt::Debug for SimTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimTable({})", self.process)
    }
}

impl SimTable {
    fn storage(&self) -> MutexGuard<'_, Storage> {
        self.storage.lock().unwrap()
    }

    fn land(&self, batch: &Batch) -> Result<Option<ETag>, CommitError> {
        self.storage().apply(self.process, batch)
    }

    fn poison_in(&self, batch: &Batch) -> Option<CommitError> {
        let mut storage = self.storage();
        let poison = storage.weather.poison?;
        if !super::workload::holds_poison(batch) {
            return None;
        }
        storage.note(self.process, format_args!("commit poisoned"));
        Some(match poison {
            Poison::Refused => CommitError::Refused { code: "InvalidInput".to_owned() },
            Poison::ServerError => unknown("500", None),
        })
    }

    /// What the service and the way there and back make of a batch. Runs apart from the caller:
    /// what was sent is on its way, whether or not anybody still waits for the answer.
    async fn carry(self, batch: Batch) -> Result<Option<ETag>, CommitError> {
        let (go, back, fate) = {
            let mut storage = self.storage();
            (storage.latency(), storage.latency(), storage.fate())
        };
        sleep(go).await;
        if let Some(error) = self.poison_in(&batch) {
            return Err(error);
        }
        match fate {
            Fate::Fine => {
                let outcome = self.land(&batch);
                sleep(back).await;
                outcome
            }
            Fate::Fails(error) => {
                self.storage().note(self.process, format_args!("commit fails: {error}"));
                Err(error)
            }
            Fate::Lost(reply) => {
                let outcome = self.land(&batch);
                sleep(back).await;
                // A reply that says which row was in the way is only ever made up after a success.
                Err(if outcome.is_ok() { reply } else { unknown("connection lost", None) })
            }
            Fate::Late { lands, replies } => {
                self.storage().note(self.process, format_args!("commit lands in {lands:?}"));
                tokio::spawn(async move {
                    sleep(lands).await;
                    let _ = self.land(&batch);
                });
                sleep(replies).await;
                Err(unknown("time-out", None))
            }
            Fate::Paused(pause) => {
                self.storage().note(self.process, format_args!("commit paused for {pause:?}"));
                sleep(pause).await;
                self.land(&batch)
            }
        }
    }

    async fn before_read(&self, what: &str) -> Result<(), ReadError> {
        let (delay, fate) = {
            let mut storage = self.storage();
            (storage.latency(), storage.read_fate())
        };
        sleep(delay).await;
        match fate {
            ReadFate::Fine => Ok(()),
            ReadFate::Paused(pause) => {
                self.storage().note(self.process, format_args!("{what} paused for {pause:?}"));
                sleep(pause).await;
                Ok(())
            }
            ReadFate::Fails(error) => {
                self.storage().note(self.process, format_args!("{what} fails"));
                Err(error)
            }
        }
    }
}

pub(super) fn unknown(reason: &str, retry_after: Option<Duration>) -> CommitError {
    CommitError::Unknown { reason: reason.to_owned(), retry_after }
}

#[async_trait]
impl Table for SimTable {
    async fn create_table(&self, _: &TableName) -> Result<(), ReadError> {
        Ok(())
    }

    async fn delete_table(&self, _: &TableName) -> Result<(), ReadError> {
        Ok(())
    }

    async fn commit(&self, _: &TableName, batch: &Batch) -> Result<Option<ETag>, CommitError> {
        let carried = tokio::spawn(self.clone().carry(batch.clone()));
        carried.await.unwrap_or_else(|_| Err(unknown("the model ended", None)))
    }

    async fn get(&self, _: &TableName, _: &str, key: &str) -> Result<Option<StoredRow>, ReadError> {
        self.before_read(key).await?;
        let (row, back) = {
            let mut storage = self.storage();
            let row = storage.get(key);
            storage.note(self.process, format_args!("get {key}: {}", row.is_some()));
            (row, storage.latency())
        };
        sleep(back).await;
        Ok(row)
    }

    async fn scan(&self, _: &TableName, _: &str, range: &Range, limit: usize) -> Result<Page, ReadError> {
        self.before_read("scan").await?;
        let (mut rows, torn) = {
            let mut storage = self.storage();
            (storage.range(&range.from, &range.to), storage.torn())
        };
        if let Some(gap) = torn {
            // The end of the range is read later than its beginning.
            sleep(gap).await;
            rows.retain(|stored| stored.row.key != keys::HEAD);
            rows.extend(self.storage().get(keys::HEAD).filter(|_| range.to.as_str() > keys::HEAD));
        }
        let back = {
            let mut storage = self.storage();
            let mut keep = limit.min(rows.len());
            if storage.short() {
                keep = storage.random.random_range(0..=keep);
            }
            let next = rows.get(keep).map(|stored| stored.row.key.clone());
            rows.truncate(keep);
            storage.note(
                self.process,
                format_args!("scan {}: {keep} rows, more {}", range.from, next.is_some()),
            );
            (next, storage.latency())
        };
        sleep(back.1).await;
        Ok(Page { rows, next: back.0 })
    }
}

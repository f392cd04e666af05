//! The embedded driver: one file, one process, nothing to install.
//!
//! Over `redb`: a transaction is durable (fsync) before it is answered, and a killed process
//! leaves the file as its last transaction left it. It refuses what Azure Table Storage refuses.
//! `docs/adr/0004-embedded-store.md` says why this library, and what was measured.

mod codec;
mod lazy;
mod limits;
mod open;
mod prepared;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use redb::{Database, ReadTransaction, ReadableDatabase, TableDefinition};
use tokio::sync::Semaphore;

pub use self::{lazy::LazyEmbedded, open::OpenError};
use self::{
    prepared::Prepared,
    writer::{Outcome, Task, Writer},
};
use super::table::{Batch, CommitError, ETag, Page, Range, ReadError, StoredRow, Table, TableName};
use crate::telemetry::chain;

/// Rows, by table, partition and row key.
const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");
/// Names of the tables that exist.
const TABLES: TableDefinition<'static, &str, ()> = TableDefinition::new("tables");
/// Most rows of a page, as the service has it.
const PAGE_ROWS: usize = 1_000;
/// Pages that are read at one time: each takes memory.
const SCANS: usize = 4;
/// Bytes of rows after which a page ends early.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Rows in one file.
pub struct Embedded {
    // Before the database: its thread holds the file too, and ends when this is dropped.
    writer: Writer,
    database: Arc<Database>,
    health: Arc<Health>,
    scans: Semaphore,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens the store in `folder`, which is made when it is missing. Blocks: after a crash the
    /// file is repaired here.
    ///
    /// # Errors
    /// [`OpenError::InUse`] at once when another process has it open; others when it cannot be used.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let database = open::open(folder)?;
        Self::over(database).map_err(|error| OpenError::Folder(folder.to_owned(), error))
    }

    /// Whether a folder holds a store.
    pub fn is_in(folder: &Path) -> bool {
        open::file(folder).is_file()
    }

    fn over(database: Database) -> std::io::Result<Self> {
        let (database, health) = (Arc::new(database), Arc::new(Health::default()));
        let writer = Writer::start(Arc::clone(&database), Arc::clone(&health))?;
        Ok(Self { writer, database, health, scans: Semaphore::new(SCANS) })
    }

    /// True once the file has failed: `redb` then refuses everything until it is opened again.
    fn is_lost(&self) -> bool {
        self.health.lost.load(Ordering::Relaxed)
    }

    /// Says what a failed read means, and what no table does.
    fn read<T>(&self, outcome: Result<Option<T>, redb::Error>) -> Result<T, ReadError> {
        match outcome {
            Ok(found) => found.ok_or(ReadError::NoTable),
            Err(error) => {
                self.health.failed(&error, "the embedded store could not be read");
                Err(unavailable("the data file could not be read"))
            }
        }
    }
}

/// One state of the file, unless the table is missing in it.
fn state_with(database: &Database, table: &TableName) -> Result<Option<ReadTransaction>, redb::Error> {
    let transaction = database.begin_read()?;
    let exists = transaction.open_table(TABLES)?.get(table.as_str())?.is_some();
    Ok(exists.then_some(transaction))
}

fn get(
    database: &Database,
    table: &TableName,
    partition: &str,
    key: &str,
) -> Result<Option<Option<StoredRow>>, redb::Error> {
    let Some(transaction) = state_with(database, table)? else { return Ok(None) };
    let path = codec::key(table, partition, key);
    let stored = transaction.open_table(ROWS)?.get(path.as_slice())?;
    stored.map(|row| decoded(key, row.value())).transpose().map(Some)
}

fn scan(
    database: &Database,
    table: &TableName,
    partition: &str,
    range: &Range,
    limit: usize,
) -> Result<Option<Page>, redb::Error> {
    let Some(transaction) = state_with(database, table)? else { return Ok(None) };
    let mut page = Page::default();
    if range.from >= range.to {
        return Ok(Some(page));
    }
    let prefix = codec::partition_prefix(table, partition).len();
    let (from, to) = (codec::key(table, partition, &range.from), codec::key(table, partition, &range.to));
    let mut bytes = 0;
    for entry in transaction.open_table(ROWS)?.range(from.as_slice()..to.as_slice())? {
        let (path, row) = entry?;
        let key = path.value().get(prefix..).and_then(|key| std::str::from_utf8(key).ok());
        let key = key.ok_or_else(|| damaged("a key"))?;
        if page.rows.len() >= limit.clamp(1, PAGE_ROWS) || bytes >= PAGE_BYTES {
            page.next = Some(key.to_owned());
            break;
        }
        bytes += row.value().len();
        page.rows.push(decoded(key, row.value())?);
    }
    Ok(Some(page))
}

fn decoded(key: &str, bytes: &[u8]) -> Result<StoredRow, redb::Error> {
    codec::decode(key, bytes).ok_or_else(|| damaged("a row"))
}

fn damaged(what: &str) -> redb::Error {
    redb::Error::Corrupted(format!("{what} of the data file cannot be read"))
}

/// Whether the file can still be used.
#[derive(Debug, Default)]
struct Health {
    lost: AtomicBool,
}

impl Health {
    fn failed(&self, error: &redb::Error, what: &'static str) {
        tracing::error!(error = chain(error), "{what}");
        // Damage to the file stays where it is: opening it again would not help.
        if !matches!(error, redb::Error::Corrupted(_)) {
            self.lost.store(true, Ordering::Relaxed);
        }
    }
}

fn unavailable(reason: &str) -> ReadError {
    ReadError::Unavailable { reason: reason.to_owned(), retry_after: None }
}

fn done(outcome: Outcome) -> Result<(), ReadError> {
    outcome.map(drop).map_err(|error| unavailable(&error.to_string()))
}

#[async_trait]
impl Table for Embedded {
    async fn create_table(&self, table: &TableName) -> Result<(), ReadError> {
        done(self.writer.ask(Task::Create(table.clone())).await)
    }

    async fn delete_table(&self, table: &TableName) -> Result<(), ReadError> {
        done(self.writer.ask(Task::Drop(table.clone())).await)
    }

    async fn commit(&self, table: &TableName, batch: &Batch) -> Result<Option<ETag>, CommitError> {
        let prepared = Prepared::new(table, batch)?;
        self.writer.ask(Task::Commit(prepared)).await
    }

    async fn get(
        &self,
        table: &TableName,
        partition: &str,
        key: &str,
    ) -> Result<Option<StoredRow>, ReadError> {
        // Right here: some 6 us, against 20 to 70 us by way of the blocking pool.
        self.read(get(&self.database, table, partition, key))
    }

    async fn scan(
        &self,
        table: &TableName,
        partition: &str,
        range: &Range,
        limit: usize,
    ) -> Result<Page, ReadError> {
        // A page takes milliseconds, too long for a thread that others wait for.
        let _turn = self.scans.acquire().await.map_err(|_| unavailable("the store is closed"))?;
        let (database, table) = (Arc::clone(&self.database), table.clone());
        let (partition, range) = (partition.to_owned(), range.clone());
        let scan = move || scan(&database, &table, &partition, &range, limit);
        let outcome = tokio::task::spawn_blocking(scan).await;
        self.read(outcome.map_err(|_| unavailable("a read was cut off"))?)
    }
}

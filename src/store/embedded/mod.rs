//! The embedded driver: one file, one process, nothing to install.
//!
//! Over `redb`: a transaction is durable (fsync) before it is answered, and a killed process
//! leaves the file as its last transaction left it. `docs/adr/0002-embedded-store.md` says why
//! this library, and what was measured.

mod codec;
mod lazy;
mod writer;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use redb::{Database, DatabaseError, ReadableDatabase};
use tokio::sync::{mpsc, oneshot};

pub use self::lazy::LazyEmbedded;
use self::writer::{ROWS, TABLES, WAITING, Work, Writer};
use super::table::{Batch, CommitError, ETag, Page, Range, ReadError, StoredRow, Table, TableName};

/// The data file in its folder.
const FILE: &str = "annals.redb";
/// Memory for cached pages of the file.
const CACHE: usize = 16 * 1024 * 1024;
/// Bytes of rows after which a page ends early.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Why the data folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it.
    #[error("the data folder {0} is in use by another process")]
    InUse(PathBuf),
    /// It cannot be made or reached.
    #[error("the data folder {0} cannot be opened")]
    Folder(PathBuf, #[source] io::Error),
    /// The file in it cannot be used.
    #[error("the data file in {0} cannot be opened")]
    File(PathBuf, #[source] Box<redb::Error>),
}

/// Rows in one file.
pub struct Embedded {
    database: Arc<Database>,
    work: mpsc::Sender<Work>,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens the store in `folder`, which is made when it is missing. Blocks: the file is repaired
    /// here after a crash.
    ///
    /// # Errors
    /// [`OpenError::InUse`] at once when another process has it open; others when it cannot be used.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        fs::create_dir_all(folder).map_err(|error| OpenError::Folder(folder.to_owned(), error))?;
        let opened = Database::builder().set_cache_size(CACHE).create(folder.join(FILE));
        let database = match opened {
            Ok(database) => Arc::new(database),
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(OpenError::InUse(folder.to_owned())),
            Err(error) => return Err(OpenError::File(folder.to_owned(), Box::new(error.into()))),
        };
        prepare(&database).map_err(|error| OpenError::File(folder.to_owned(), Box::new(error)))?;
        let (work, arrivals) = mpsc::channel(WAITING);
        let writer = Writer::new(Arc::clone(&database));
        std::thread::Builder::new()
            .name("annals-writer".to_owned())
            .spawn(move || writer.run(arrivals))
            .map_err(|error| OpenError::Folder(folder.to_owned(), error))?;
        Ok(Self { database, work })
    }

    async fn write(
        &self,
        work: impl FnOnce(oneshot::Sender<Result<Option<ETag>, CommitError>>) -> Work,
    ) -> Result<Option<ETag>, CommitError> {
        let (reply, outcome) = oneshot::channel();
        let gone = || CommitError::Unknown { reason: "the writer has ended".to_owned(), retry_after: None };
        self.work.send(work(reply)).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }

    /// Reads on the blocking pool: most reads are served from memory, but any may touch the disk.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Database) -> Result<Option<T>, redb::Error> + Send + 'static,
    ) -> Result<T, ReadError> {
        let database = Arc::clone(&self.database);
        match tokio::task::spawn_blocking(move || read(&database)).await {
            Ok(Ok(Some(found))) => Ok(found),
            Ok(Ok(None)) => Err(ReadError::NoTable),
            Ok(Err(error)) => {
                tracing::error!(%error, "the embedded store could not be read");
                Err(unavailable("the data file could not be read"))
            }
            Err(_) => Err(unavailable("a read was cut off")),
        }
    }
}

/// Makes the tables of the file, so that a reader always finds them.
fn prepare(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(ROWS)?;
    transaction.open_table(TABLES)?;
    Ok(transaction.commit()?)
}

fn unavailable(reason: &str) -> ReadError {
    ReadError::Unavailable { reason: reason.to_owned(), retry_after: None }
}

fn made(outcome: Result<Option<ETag>, CommitError>) -> Result<(), ReadError> {
    outcome.map(drop).map_err(|error| unavailable(&error.to_string()))
}

#[async_trait]
impl Table for Embedded {
    async fn create_table(&self, table: &TableName) -> Result<(), ReadError> {
        let table = table.clone();
        made(self.write(|reply| Work::Create { table, reply }).await)
    }

    async fn delete_table(&self, table: &TableName) -> Result<(), ReadError> {
        let table = table.clone();
        made(self.write(|reply| Work::Drop { table, reply }).await)
    }

    async fn commit(&self, table: &TableName, batch: &Batch) -> Result<Option<ETag>, CommitError> {
        let (table, batch) = (table.clone(), batch.clone());
        self.write(|reply| Work::Commit { table, batch, reply }).await
    }

    async fn get(
        &self,
        table: &TableName,
        partition: &str,
        key: &str,
    ) -> Result<Option<StoredRow>, ReadError> {
        let (table, path, key) = (table.clone(), codec::key(table, partition, key), key.to_owned());
        self.read(move |database| {
            let transaction = database.begin_read()?;
            if transaction.open_table(TABLES)?.get(table.as_str())?.is_none() {
                return Ok(None);
            }
            let stored = transaction.open_table(ROWS)?.get(path.as_slice())?;
            Ok(Some(stored.map(|row| decoded(&key, row.value())).transpose()?))
        })
        .await
    }

    async fn scan(
        &self,
        table: &TableName,
        partition: &str,
        range: &Range,
        limit: usize,
    ) -> Result<Page, ReadError> {
        let (from, to) = (codec::key(table, partition, &range.from), codec::key(table, partition, &range.to));
        let (table, prefix) = (table.clone(), codec::key(table, partition, "").len());
        self.read(move |database| {
            let transaction = database.begin_read()?;
            if transaction.open_table(TABLES)?.get(table.as_str())?.is_none() {
                return Ok(None);
            }
            if from >= to {
                return Ok(Some(Page::default()));
            }
            let (mut page, mut bytes) = (Page::default(), 0);
            for entry in transaction.open_table(ROWS)?.range(from.as_slice()..to.as_slice())? {
                let (path, row) = entry?;
                let key = path.value().get(prefix..).and_then(|key| std::str::from_utf8(key).ok());
                let key = key.ok_or_else(|| damaged("a key"))?;
                if page.rows.len() >= limit || bytes >= PAGE_BYTES {
                    page.next = Some(key.to_owned());
                    break;
                }
                bytes += row.value().len();
                page.rows.push(decoded(key, row.value())?);
            }
            Ok(Some(page))
        })
        .await
    }
}

fn decoded(key: &str, bytes: &[u8]) -> Result<StoredRow, redb::Error> {
    codec::decode(key, bytes).ok_or_else(|| damaged("a row"))
}

fn damaged(what: &str) -> redb::Error {
    redb::Error::Corrupted(format!("{what} of the data file cannot be read"))
}

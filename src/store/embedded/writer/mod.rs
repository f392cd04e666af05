//! The writer: one thread, one transaction for all batches that wait, one fsync for all of them.

use std::{io, sync::Arc, thread};

use redb::{Database, ReadableTable};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{
    Health, ROWS, TABLES, codec,
    prepared::{Change, Condition, Prepared},
};
use crate::store::table::{CommitError, ETag, TableName};

/// Batches that may wait for the writer; more wait at the door.
const WAITING: usize = 256;
/// Bytes of rows that may wait for the writer; more wait at the door. Several times the largest
/// batch, and little beside the memory that a handler may take.
const WAITING_BYTES: usize = 16 * 1024 * 1024;

pub(super) type Outcome = Result<Option<ETag>, CommitError>;
type Rows<'transaction> = redb::Table<'transaction, &'static [u8], &'static [u8]>;

/// Something for the writer to do.
pub(super) enum Task {
    Commit(Prepared),
    Create(TableName),
    Drop(TableName),
}

struct Work {
    task: Task,
    reply: oneshot::Sender<Outcome>,
    /// Held until the work is done.
    _room: OwnedSemaphorePermit,
}

/// The thread and the way to it. When dropped, it finishes what waits and lets go of the file.
pub(super) struct Writer {
    work: Option<mpsc::Sender<Work>>,
    room: Arc<Semaphore>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(database: Arc<Database>, health: Arc<Health>) -> io::Result<Self> {
        let (work, arrivals) = mpsc::channel(WAITING);
        // A random half for each opening of the file, so that no version is ever given twice.
        let worker = Worker { database, health, epoch: rand::random(), count: 0 };
        let thread = thread::Builder::new().name("annals-writer".to_owned());
        let thread = Some(thread.spawn(move || worker.run(arrivals))?);
        Ok(Self { work: Some(work), room: Arc::new(Semaphore::new(WAITING_BYTES)), thread })
    }

    /// Has a task done. When the answer comes, it is on the disk.
    ///
    /// A caller that stops waiting does not stop the task.
    pub(super) async fn ask(&self, task: Task) -> Outcome {
        let weight = match &task {
            Task::Commit(batch) => batch.weight().min(WAITING_BYTES),
            Task::Create(_) | Task::Drop(_) => 1,
        };
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(weight).await.map_err(|_| ended())?;
        let (reply, outcome) = oneshot::channel();
        let work = self.work.as_ref().ok_or_else(ended)?;
        work.send(Work { task, reply, _room: room }).await.map_err(|_| ended())?;
        outcome.await.map_err(|_| ended())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The thread ends when the way to it is gone, after at most the transactions that wait.
        // Waiting for it means that the folder can be opened again as soon as the driver is gone.
        self.work = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the writer of the embedded store had panicked");
        }
    }
}

fn ended() -> CommitError {
    unknown("the writer has ended")
}

fn unknown(reason: &str) -> CommitError {
    CommitError::Unknown { reason: reason.to_owned(), retry_after: None }
}

struct Worker {
    database: Arc<Database>,
    health: Arc<Health>,
    epoch: [u8; 8],
    count: u64,
}

impl Worker {
    fn run(mut self, mut arrivals: mpsc::Receiver<Work>) {
        let mut waiting = Vec::new();
        while arrivals.blocking_recv_many(&mut waiting, WAITING) > 0 {
            let (tasks, replies): (Vec<_>, Vec<_>) =
                waiting.drain(..).map(|work| (work.task, (work.reply, work._room))).unzip();
            match self.transact(tasks) {
                Ok(outcomes) => {
                    for ((reply, _), outcome) in replies.into_iter().zip(outcomes) {
                        // Nobody waits any more for an answer that cannot be sent.
                        let _ = reply.send(outcome);
                    }
                }
                // Refusals too: they may rest on a neighbour that did not go through.
                Err(error) => {
                    self.health.failed(&error, "the embedded store could not commit");
                    for (reply, _) in replies {
                        let _ = reply.send(Err(unknown("the data file could not be written")));
                    }
                }
            }
        }
    }

    /// Does the tasks in order, in one durable transaction; an outcome for each.
    fn transact(&mut self, tasks: Vec<Task>) -> Result<Vec<Outcome>, redb::Error> {
        // Without `redb`'s quick repair: it would double the time of every commit to save some
        // 1.5 us a row when a file is opened after a kill (measured in ADR 0004).
        let transaction = self.database.begin_write()?;
        let mut outcomes = Vec::with_capacity(tasks.len());
        {
            let mut rows = transaction.open_table(ROWS)?;
            let mut tables = transaction.open_table(TABLES)?;
            for task in tasks {
                outcomes.push(match task {
                    Task::Create(table) => {
                        tables.insert(table.as_str(), ())?;
                        Ok(None)
                    }
                    Task::Drop(table) => {
                        tables.remove(table.as_str())?;
                        remove_rows(&mut rows, &table)?;
                        Ok(None)
                    }
                    Task::Commit(batch) if tables.get(batch.table.as_str())?.is_some() => {
                        self.apply(&mut rows, batch)?
                    }
                    Task::Commit(_) => Err(CommitError::NoTable),
                });
            }
        }
        // Where nothing was changed there is nothing to wait for the disk for.
        if outcomes.iter().all(Result::is_err) {
            transaction.abort()?;
        } else {
            transaction.commit()?;
        }
        Ok(outcomes)
    }

    /// Checks every condition before anything is changed, so that a batch which fails leaves nothing.
    fn apply(&mut self, rows: &mut Rows<'_>, batch: Prepared) -> Result<Outcome, redb::Error> {
        for (index, change) in batch.changes.iter().enumerate() {
            if let Err(error) = check(rows, change, Some(index))? {
                return Ok(Err(error));
            }
        }
        let mut first = None;
        for (index, Change { path, row, .. }) in batch.changes.into_iter().enumerate() {
            let Some(mut row) = row else {
                rows.remove(path.as_slice())?;
                continue;
            };
            let version = self.next_version();
            codec::set_version(&mut row, &version);
            rows.insert(path.as_slice(), row.as_slice())?;
            if index == 0 {
                first = Some(codec::to_etag(&version));
            }
        }
        Ok(Ok(first))
    }

    fn next_version(&mut self) -> codec::Version {
        self.count += 1;
        let mut version = [0; 16];
        version[..8].copy_from_slice(&self.epoch);
        version[8..].copy_from_slice(&self.count.to_be_bytes());
        version
    }
}

fn check(
    rows: &Rows<'_>,
    change: &Change,
    index: Option<usize>,
) -> Result<Result<(), CommitError>, redb::Error> {
    if matches!(change.condition, Condition::None) {
        return Ok(Ok(()));
    }
    let stored = rows.get(change.path.as_slice())?;
    let met = match &change.condition {
        Condition::Absent if stored.is_some() => Err(CommitError::Exists { index }),
        Condition::Present if stored.is_none() => Err(CommitError::Missing { index }),
        Condition::Version(wanted) => {
            let version = stored.and_then(|row| codec::etag(row.value()));
            if version.as_ref() == Some(wanted) { Ok(()) } else { Err(CommitError::Changed { index }) }
        }
        Condition::Absent | Condition::Present | Condition::None => Ok(()),
    };
    Ok(met)
}

fn remove_rows(rows: &mut Rows<'_>, table: &TableName) -> Result<(), redb::Error> {
    let from = codec::table_prefix(table);
    let mut to = from.clone();
    // The prefix ends in a zero: with a one instead it is behind every row of the table.
    if let Some(last) = to.last_mut() {
        *last += 1;
    }
    Ok(rows.retain_in(from.as_slice()..to.as_slice(), |_, _| false)?)
}

#[cfg(test)]
mod tests;

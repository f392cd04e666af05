//! The writer: one thread, one transaction for all batches that wait, one fsync for all of them.

use std::sync::Arc;

use redb::{Database, Durability, ReadableTable, TableDefinition};
use tokio::sync::{mpsc, oneshot};

use super::codec;
use crate::store::table::{Batch, CommitError, ETag, Op, TableName};

/// Rows, by table, partition and row key.
pub(super) const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");
/// Names of the tables that exist.
pub(super) const TABLES: TableDefinition<'static, &str, ()> = TableDefinition::new("tables");

/// Batches that may wait for the writer; more wait at the door.
pub(super) const WAITING: usize = 256;

type Outcome = Result<Option<ETag>, CommitError>;

/// Something for the writer to do.
pub(super) enum Work {
    Commit { table: TableName, batch: Batch, reply: oneshot::Sender<Outcome> },
    Create { table: TableName, reply: oneshot::Sender<Outcome> },
    Drop { table: TableName, reply: oneshot::Sender<Outcome> },
}

pub(super) struct Writer {
    database: Arc<Database>,
    /// Random for each opening of the file, so that no version is ever given twice.
    epoch: [u8; 8],
    count: u64,
}

impl Writer {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database, epoch: rand::random(), count: 0 }
    }

    /// Works until the driver is gone.
    pub(super) fn run(mut self, mut arrivals: mpsc::Receiver<Work>) {
        let mut work = Vec::new();
        while arrivals.blocking_recv_many(&mut work, WAITING) > 0 {
            let mut settled = Vec::with_capacity(work.len());
            let result = self.transact(work.drain(..), &mut settled);
            for (reply, outcome) in settled {
                // After a failed transaction nothing is known but refusals.
                let outcome = match (&result, outcome) {
                    (Err(error), Ok(_)) => Err(unknown(error)),
                    (_, outcome) => outcome,
                };
                let _ = reply.send(outcome);
            }
        }
    }

    fn transact(
        &mut self,
        work: impl Iterator<Item = Work>,
        settled: &mut Vec<(oneshot::Sender<Outcome>, Outcome)>,
    ) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        // Opening after a kill is then quick, whatever the size of the file.
        transaction.set_quick_repair(true);
        {
            let mut rows = transaction.open_table(ROWS)?;
            let mut tables = transaction.open_table(TABLES)?;
            for item in work {
                match item {
                    Work::Create { table, reply } => {
                        tables.insert(table.as_str(), ())?;
                        settled.push((reply, Ok(None)));
                    }
                    Work::Drop { table, reply } => {
                        tables.remove(table.as_str())?;
                        let from = codec::key(&table, "", "");
                        let to = [table.as_str().as_bytes(), b"\x01"].concat();
                        rows.retain_in(
                            from.get(..table.as_str().len() + 1).unwrap_or(&from)..to.as_slice(),
                            |_, _| false,
                        )?;
                        settled.push((reply, Ok(None)));
                    }
                    Work::Commit { table, batch, reply } => {
                        let exists = tables.get(table.as_str())?.is_some();
                        let outcome = if exists {
                            self.apply(&mut rows, &table, &batch)?
                        } else {
                            Err(CommitError::NoTable)
                        };
                        settled.push((reply, outcome));
                    }
                }
            }
        }
        Ok(transaction.commit()?)
    }

    /// Checks every condition before anything is changed, so that a batch which fails leaves nothing.
    fn apply(
        &mut self,
        rows: &mut redb::Table<'_, &'static [u8], &'static [u8]>,
        table: &TableName,
        batch: &Batch,
    ) -> Result<Outcome, redb::Error> {
        let key = |op: &Op| codec::key(table, batch.partition(), op.key());
        for (index, op) in batch.ops().iter().enumerate() {
            let stored = rows.get(key(op).as_slice())?;
            let index = Some(index);
            match (op, stored) {
                (Op::Insert(_), Some(_)) => return Ok(Err(CommitError::Exists { index })),
                (Op::Delete(_), None) => return Ok(Err(CommitError::Missing { index })),
                (Op::Replace(_, expected), stored)
                    if stored.as_ref().and_then(|row| codec::etag(row.value())).as_ref()
                        != Some(expected) =>
                {
                    return Ok(Err(CommitError::Changed { index }));
                }
                _ => {}
            }
        }
        let mut first = None;
        for (index, op) in batch.ops().iter().enumerate() {
            let version = self.next_version();
            match op {
                Op::Insert(row) | Op::Replace(row, _) | Op::Upsert(row) => {
                    rows.insert(key(op).as_slice(), codec::encode(row, version).as_slice())?;
                    first = first.or((index == 0).then(|| codec::to_etag(&version)));
                }
                Op::Delete(_) => drop(rows.remove(key(op).as_slice())?),
            }
        }
        Ok(Ok(first))
    }

    fn next_version(&mut self) -> [u8; 16] {
        self.count += 1;
        let mut version = [0; 16];
        version[..8].copy_from_slice(&self.epoch);
        version[8..].copy_from_slice(&self.count.to_be_bytes());
        version
    }
}

/// The transaction did not go through, or may have.
fn unknown(error: &redb::Error) -> CommitError {
    tracing::error!(%error, "the embedded store could not commit");
    CommitError::Unknown { reason: "the data file could not be written".to_owned(), retry_after: None }
}

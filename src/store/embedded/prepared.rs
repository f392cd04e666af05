//! A batch made ready by its caller: checked and encoded, so that the one writer has less to do.

use super::{codec, limits};
use crate::store::table::{Batch, CommitError, ETag, Op, TableName};

/// What must be true of a row before it is changed.
#[derive(Debug)]
pub(super) enum Condition {
    None,
    Absent,
    Present,
    Version(ETag),
}

/// A change of one row.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) path: Vec<u8>,
    pub(super) condition: Condition,
    /// The row to write, its version still to be filled in; `None` removes it.
    pub(super) row: Option<Vec<u8>>,
}

/// Changes that happen together or not at all.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) table: TableName,
    pub(super) changes: Vec<Change>,
}

impl Prepared {
    /// Makes a batch ready.
    ///
    /// # Errors
    /// [`CommitError::Refused`] when Azure Table Storage would not take it.
    pub(super) fn new(table: &TableName, batch: &Batch) -> Result<Self, CommitError> {
        if let Some(code) = limits::refusal(batch) {
            return Err(CommitError::Refused { code: code.to_owned() });
        }
        let change = |op: &Op| {
            let (condition, row) = match op {
                Op::Insert(row) => (Condition::Absent, Some(row)),
                Op::Replace(row, version) => (Condition::Version(version.clone()), Some(row)),
                Op::Overwrite(row) => (Condition::Present, Some(row)),
                Op::Upsert(row) => (Condition::None, Some(row)),
                Op::Delete(_) => (Condition::Present, None),
            };
            let path = codec::key(table, batch.partition(), op.key());
            Change { path, condition, row: row.map(codec::encode) }
        };
        Ok(Self { table: table.clone(), changes: batch.ops().iter().map(change).collect() })
    }

    /// Bytes that it keeps in memory, roughly.
    pub(super) fn weight(&self) -> usize {
        let of = |change: &Change| change.path.len() + change.row.as_ref().map_or(0, Vec::len) + 100;
        self.changes.iter().map(of).sum()
    }
}

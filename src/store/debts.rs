//! Feed debt: commits that still have to be handed to the publish queue.

use std::sync::Arc;

use super::{
    keys,
    registry::Tenant,
    retry::{self, WriteError, pages},
    rows::{self, BadRow, Commit},
    table::{Batch, Op, ReadError, Table},
};
use crate::domain::{position::PartitionId, timestamp::Timestamp};

/// Debts looked at once.
const PAGE: usize = 200;

/// Why feed debt could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DebtError {
    /// Storage cannot be read; it may pass.
    #[error("feed debt cannot be read")]
    Read(#[from] ReadError),
    /// Storage cannot be written; it may pass.
    #[error("feed debt cannot be written")]
    Write(#[from] WriteError),
    /// A row is not what it should be.
    #[error("a stored row cannot be read")]
    Bad(#[from] BadRow),
}

/// The feed debt of one tenant.
#[derive(Debug, Clone)]
pub struct Debts {
    table: Arc<dyn Table>,
    tenant: Arc<Tenant>,
}

impl Debts {
    /// That of `tenant`.
    pub fn of(table: Arc<dyn Table>, tenant: Arc<Tenant>) -> Self {
        Self { table, tenant }
    }

    /// The oldest debts of a partition: the last sequence of each, and when it was recorded. One that cannot
    /// be read is passed over.
    ///
    /// # Errors
    /// [`DebtError`].
    pub async fn oldest(&self, partition: PartitionId) -> Result<Vec<(u64, Timestamp)>, DebtError> {
        let (name, range) = (partition.to_string(), keys::debts());
        let page = pages::scan(&self.table, &self.tenant.table, &name, &range, PAGE).await?;
        let debts = page.rows.iter().map(|stored| rows::read_debt(&stored.row));
        Ok(debts.filter_map(BadRow::passed_over).collect())
    }

    /// Takes a debt away: its message is on the publish queue.
    ///
    /// # Errors
    /// [`DebtError`]; the debt may then be handed over once more, which is harmless.
    pub async fn settle(&self, partition: PartitionId, last: u64) -> Result<(), DebtError> {
        match self.write(partition, Op::Delete(keys::debt(last))).await {
            Err(WriteError::Missing) => Ok(()),
            settled => Ok(settled?),
        }
    }

    /// Writes a debt again: its message could not be published.
    ///
    /// # Errors
    /// [`DebtError`].
    pub async fn owe(&self, partition: PartitionId, last: u64, at: Timestamp) -> Result<(), DebtError> {
        Ok(self.write(partition, Op::Upsert(rows::debt(last, at))).await?)
    }

    /// The commit that a debt is about; `None` when there is none.
    ///
    /// # Errors
    /// [`DebtError`].
    pub async fn commit(&self, partition: PartitionId, last: u64) -> Result<Option<Commit>, DebtError> {
        let (name, key) = (partition.to_string(), keys::commit(last));
        let row = retry::read(|| self.table.get(&self.tenant.table, &name, &key)).await?;
        Ok(row.map(|stored| Commit::read(&stored.row)).transpose()?)
    }

    async fn write(&self, partition: PartitionId, op: Op) -> Result<(), WriteError> {
        let batch = Batch::new(partition.to_string(), vec![op]).expect("one small row is a batch");
        retry::write(&self.table, &self.tenant.table, &batch).await.map(drop)
    }
}

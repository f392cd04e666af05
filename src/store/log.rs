//! Reading a partition's log: its head, and its commits in ranges, by sequence or by time.
//!
//! Public reads only: whatever is found here, anybody finds who may read the table.

use std::sync::Arc;

use super::{
    history::HistoryError,
    keys,
    registry::Tenant,
    retry::{self, pages},
    rows::{BadRow, Commit, Head},
    table::{Page, Range, ReadError, Table},
};
use crate::domain::{position::PartitionId, timestamp::Timestamp};

/// Most rows that one storage query gives.
pub const MAX_ROWS: usize = pages::MAX_ROWS;

/// Some commits of a partition, oldest first.
#[derive(Debug, Default)]
pub struct Window {
    /// The commits.
    pub commits: Vec<Commit>,
    /// True when the query left nothing of its range unread.
    pub whole: bool,
}

/// Reads the log of one tenant. It has no way to name another one's table.
#[derive(Debug, Clone)]
pub struct Log {
    table: Arc<dyn Table>,
    tenant: Arc<Tenant>,
}

impl Log {
    /// Reads `tenant`.
    pub fn of(table: Arc<dyn Table>, tenant: Arc<Tenant>) -> Self {
        Self { table, tenant }
    }

    /// Whose log it is.
    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// The end of a partition's log.
    ///
    /// # Errors
    /// [`HistoryError`], also when there is no head: it is made with the tenant.
    pub async fn head(&self, partition: PartitionId) -> Result<Head, HistoryError> {
        let name = partition.to_string();
        let row = retry::read(|| self.table.get(&self.tenant.table, &name, keys::HEAD)).await?;
        let row = row.ok_or_else(|| BadRow { key: keys::HEAD.to_owned(), property: "RowKey" })?;
        Ok(Head::read(&row.row)?)
    }

    /// Commits whose last sequence lies in `from..=to`, as many as one storage query gives.
    ///
    /// Rows of one query may have been read at different times: a caller checks that each commit
    /// goes on where the one before it ends.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn window(&self, partition: PartitionId, from: u64, to: u64) -> Result<Window, HistoryError> {
        let page = self.scan(partition, &keys::commits_between(from, to), MAX_ROWS).await?;
        let commits = page.rows.iter().map(|stored| Commit::read(&stored.row));
        Ok(Window { commits: commits.collect::<Result<_, _>>()?, whole: page.next.is_none() })
    }

    /// The first commit that ends at `sequence` or later.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn reaching(
        &self,
        partition: PartitionId,
        sequence: u64,
    ) -> Result<Option<Commit>, HistoryError> {
        let page = self.scan(partition, &keys::commits_between(sequence, u64::MAX), 1).await?;
        Ok(page.rows.first().map(|stored| Commit::read(&stored.row)).transpose()?)
    }

    /// The first sequence that was recorded at `time` or later; one behind the end when none was.
    /// Recorded times never go back within a partition, so halving finds it in some 20 reads.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn first_at(&self, partition: PartitionId, time: Timestamp) -> Result<u64, HistoryError> {
        let head = self.head(partition).await?;
        if head.last == 0 || head.recorded < time {
            return Ok(head.last + 1);
        }
        let (mut low, mut high) = (1, head.last);
        // The event at `high` was recorded at `time` or later, all below `low` earlier.
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(commit) = self.reaching(partition, middle).await? else { return Ok(high) };
            if commit.recorded < time {
                low = commit.last + 1;
            } else {
                high = commit.first.min(high);
                if high < low {
                    high = low;
                }
            }
        }
        Ok(low)
    }

    /// At most so many rows of a range; some, when there are any.
    pub(crate) async fn scan(
        &self,
        partition: PartitionId,
        range: &Range,
        limit: usize,
    ) -> Result<Page, ReadError> {
        self.scan_in(&partition.to_string(), range, limit).await
    }

    /// As [`Self::scan`], in a partition that holds no log.
    pub(crate) async fn scan_in(
        &self,
        partition: &str,
        range: &Range,
        limit: usize,
    ) -> Result<Page, ReadError> {
        pages::scan(&self.table, &self.tenant.table, partition, range, limit).await
    }

    /// One row.
    pub(crate) async fn get(
        &self,
        partition: PartitionId,
        key: &str,
    ) -> Result<Option<super::table::StoredRow>, ReadError> {
        let name = partition.to_string();
        retry::read(|| self.table.get(&self.tenant.table, &name, key)).await
    }
}

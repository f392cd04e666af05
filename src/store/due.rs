//! What falls due: the streams that a timer has to look at.

use std::sync::Arc;

use super::{
    history::HistoryError,
    keys,
    registry::Tenant,
    retry::pages,
    rows::{self, BadRow},
    table::Table,
};
use crate::domain::{ids::StreamName, position::PartitionId, timestamp::Timestamp};

/// Streams looked at once.
const PAGE: usize = 200;

/// The due rows of one tenant.
#[derive(Debug, Clone)]
pub struct Dues {
    table: Arc<dyn Table>,
    tenant: Arc<Tenant>,
}

/// Some of the streams that are due.
#[derive(Debug)]
pub struct DuePage {
    /// Their names, those that fell due first in front.
    pub streams: Vec<StreamName>,
    /// Where the list goes on; `None` at its end.
    pub next: Option<String>,
}

impl Dues {
    /// Those of `tenant`.
    pub fn of(table: Arc<dyn Table>, tenant: Arc<Tenant>) -> Self {
        Self { table, tenant }
    }

    /// The streams of a partition that fell due up to `now`, from `from` on. A row that cannot be read is
    /// passed over.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn until(
        &self,
        partition: PartitionId,
        now: Timestamp,
        from: Option<String>,
    ) -> Result<DuePage, HistoryError> {
        let (name, mut range) = (partition.to_string(), keys::due_until(now));
        if let Some(from) = from {
            range.from = from;
        }
        let page = pages::scan(&self.table, &self.tenant.table, &name, &range, PAGE).await?;
        let streams = page.rows.iter().map(|stored| rows::linked_stream(&stored.row));
        Ok(DuePage { streams: streams.filter_map(BadRow::passed_over).collect(), next: page.next })
    }
}

//! What shares a correlation id, by its links.

use std::sync::Arc;

use super::{
    history::HistoryError,
    keys,
    registry::Tenant,
    retry,
    rows::{self, BadRow},
    table::Table,
};
use crate::domain::{
    ids::{CorrelationId, StreamName},
    position::{PartitionId, Position},
};

/// Where an event stands that has the correlation id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its stream.
    pub stream: StreamName,
    /// Its version there.
    pub version: u64,
    /// Its place in the tenant.
    pub position: Position,
}

/// The links of one tenant.
#[derive(Debug, Clone)]
pub struct Correlated {
    table: Arc<dyn Table>,
    tenant: Arc<Tenant>,
}

impl Correlated {
    /// Those of `tenant`.
    pub fn of(table: Arc<dyn Table>, tenant: Arc<Tenant>) -> Self {
        Self { table, tenant }
    }

    /// The first links of a correlation id, at most this many of each partition; the flag tells that
    /// there are more.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn links(
        &self,
        correlation: &CorrelationId,
        limit: usize,
    ) -> Result<(Vec<Link>, bool), HistoryError> {
        let lanes = self.tenant.partitions().map(|partition| self.lane(partition, correlation, limit));
        let (mut links, mut more) = (Vec::new(), false);
        for (lane, cut) in futures::future::try_join_all(lanes).await? {
            links.extend(lane);
            more |= cut;
        }
        Ok((links, more))
    }

    async fn lane(
        &self,
        partition: PartitionId,
        correlation: &CorrelationId,
        limit: usize,
    ) -> Result<(Vec<Link>, bool), HistoryError> {
        let (name, mut range) = (partition.to_string(), keys::correlated(correlation));
        let mut links = Vec::new();
        loop {
            let wanted = limit - links.len();
            let page = retry::read(|| self.table.scan(&self.tenant.table, &name, &range, wanted)).await?;
            for stored in &page.rows {
                let number = |property| {
                    let number = stored.row.int(property).and_then(|n| u64::try_from(n).ok());
                    number.ok_or_else(|| BadRow { key: stored.row.key.clone(), property })
                };
                links.push(Link {
                    stream: rows::linked_stream(&stored.row)?,
                    version: number("Version")?,
                    position: Position { partition, sequence: number("Sequence")? },
                });
            }
            match page.next {
                Some(_) if links.len() >= limit => return Ok((links, true)),
                Some(next) => range.from = next,
                None => return Ok((links, false)),
            }
        }
    }
}

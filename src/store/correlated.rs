//! What shares a correlation id, by its links.

use super::{history::HistoryError, keys, log::Log, rows};
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
    log: Log,
}

impl Correlated {
    /// Those in the tenant of `log`.
    pub fn of(log: Log) -> Self {
        Self { log }
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
        let lanes =
            self.log.tenant().partitions().map(|partition| self.lane(partition, correlation, 0, limit));
        let (mut links, mut more) = (Vec::new(), false);
        for (lane, cut) in futures::future::try_join_all(lanes).await? {
            links.extend(lane);
            more |= cut;
        }
        Ok((links, more))
    }

    /// The next links behind a sequence of one partition; the flag tells that there are more.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn lane(
        &self,
        partition: PartitionId,
        correlation: &CorrelationId,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<Link>, bool), HistoryError> {
        let mut range = keys::correlations_from(correlation, after + 1);
        let mut links = Vec::new();
        loop {
            let page = self.log.scan(partition, &range, limit - links.len()).await?;
            for stored in &page.rows {
                let (stream, version, sequence) = rows::read_link(&stored.row)?;
                links.push(Link { stream, version, position: Position { partition, sequence } });
            }
            match page.next {
                Some(_) if links.len() >= limit => return Ok((links, true)),
                Some(next) => range.from = next,
                None => return Ok((links, false)),
            }
        }
    }
}

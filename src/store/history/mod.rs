//! Reading: streams, their history, single events.

mod page;
mod streams;

use std::sync::Arc;

use self::page::{Held, cut};
pub use self::{
    page::PAGE_BYTES,
    streams::{COUNTED, ListFrom, ListedStream, StreamPage},
};
use super::{
    keys,
    registry::Tenant,
    retry::{self, pages},
    rows::{BadRow, IdentityRow, RecordedEvent, Stream},
    table::{Page, Range, ReadError, Table},
};
use crate::domain::{
    ids::{EventId, Identity, Source, StreamName},
    position::PartitionId,
};

/// Most rows that one storage query gives.
pub const MAX_PAGE: usize = pages::MAX_ROWS;
/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Storage cannot be read; it may pass.
    #[error("storage cannot be read")]
    Read(#[from] ReadError),
    /// A row is not what it should be.
    #[error("a stored row cannot be read")]
    Bad(#[from] BadRow),
}

/// In which order versions come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

/// Part of a stream's history.
#[derive(Debug)]
pub struct HistoryPage {
    /// The events, in the order asked for.
    pub events: Vec<RecordedEvent>,
    /// Version at which the history goes on; `None` at its end.
    pub next: Option<u64>,
}

/// Reads one tenant. It has no way to name another one's table.
#[derive(Debug, Clone)]
pub struct History {
    table: Arc<dyn Table>,
    tenant: Arc<Tenant>,
}

impl History {
    /// Reads `tenant`.
    pub fn of(table: Arc<dyn Table>, tenant: Arc<Tenant>) -> Self {
        Self { table, tenant }
    }

    fn partition_of(&self, name: &StreamName) -> PartitionId {
        super::partition_of(&self.tenant, name)
    }

    /// What is kept of a stream; `None` when it has no events.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn stream(&self, name: &StreamName) -> Result<Option<Stream>, HistoryError> {
        self.stream_in(self.partition_of(name), name).await
    }

    async fn stream_in(
        &self,
        partition: PartitionId,
        name: &StreamName,
    ) -> Result<Option<Stream>, HistoryError> {
        let (partition, key) = (partition.to_string(), keys::stream(name));
        let row = retry::read(|| self.table.get(&self.tenant.table, &partition, &key)).await?;
        Ok(row.map(|stored| Stream::read(&stored.row)).transpose()?.map(|(_, stream)| stream))
    }

    /// Events of a stream, from version `from` on in the given order (from its newest, if `None`
    /// and newest first). One storage query a page, unless storage itself gives short pages.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn events(
        &self,
        name: &StreamName,
        from: Option<u64>,
        limit: usize,
        order: Order,
    ) -> Result<HistoryPage, HistoryError> {
        let limit = limit.clamp(1, MAX_PAGE) as u64;
        let (first, last) = match (order, from) {
            (Order::Asc, from) => {
                let first = from.unwrap_or(1).max(1);
                (first, first.saturating_add(limit - 1))
            }
            (Order::Desc, Some(from)) => (from.saturating_sub(limit - 1).max(1), from),
            (Order::Desc, None) => {
                let last = self.stream(name).await?.map_or(0, |stream| stream.version);
                (last.saturating_sub(limit - 1).max(1), last)
            }
        };
        if last < first {
            return Ok(HistoryPage { events: Vec::new(), next: None });
        }
        let (mut events, more) = self.versions(name, first, last, order).await?;
        let cut = cut(&mut events);
        let next = match (order, events.last()) {
            (_, None) => None,
            (Order::Asc, Some(event)) => (cut || more).then_some(event.version + 1),
            (Order::Desc, Some(event)) => (event.version > 1).then_some(event.version - 1),
        };
        Ok(HistoryPage { events, next })
    }

    /// Versions `first` to `last`, or, oldest first, as many of them as one page's bytes hold. The flag
    /// tells that, oldest first, more follow: the range is open, so that storage says so by itself.
    async fn versions(
        &self,
        name: &StreamName,
        first: u64,
        last: u64,
        order: Order,
    ) -> Result<(Vec<RecordedEvent>, bool), HistoryError> {
        let partition = self.partition_of(name);
        let to = if order == Order::Asc { keys::LAST_VERSION } else { last };
        let mut range = keys::events_between(name, first, to);
        let count = usize::try_from(last - first + 1).unwrap_or(MAX_PAGE);
        let (mut held, mut read, mut more) = (Held::default(), 0, false);
        while read < count {
            let page = self.scan(partition, &range, count - read).await?;
            for stored in page.rows {
                held.push(RecordedEvent::read(partition, &stored.row)?, order);
                read += 1;
            }
            more = page.next.is_some();
            match page.next {
                Some(next) if order == Order::Desc || held.bytes < PAGE_BYTES => range.from = next,
                _ => break,
            }
        }
        let mut events = Vec::from(held.events);
        if order == Order::Desc {
            events.reverse();
        }
        Ok((events, more))
    }

    async fn scan(&self, partition: PartitionId, range: &Range, limit: usize) -> Result<Page, ReadError> {
        pages::scan(&self.table, &self.tenant.table, &partition.to_string(), range, limit).await
    }

    /// Every stored event with this id: one for each source that used it.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn with_id(&self, id: &EventId) -> Result<Vec<(PartitionId, IdentityRow)>, HistoryError> {
        let range = keys::identities_of(id.as_str());
        let scans = self.tenant.partitions().map(|partition| {
            let range = &range;
            async move {
                let name = partition.to_string();
                let found = pages::all(&self.table, &self.tenant.table, &name, range, 100).await?;
                let rows = found.iter().map(|stored| Ok((partition, IdentityRow::read(&stored.row)?)));
                rows.collect::<Result<Vec<_>, HistoryError>>()
            }
        });
        Ok(futures::future::try_join_all(scans).await?.concat())
    }

    /// The event of one identity.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn event(&self, id: &EventId, source: &Source) -> Result<Option<RecordedEvent>, HistoryError> {
        let identity = Identity { source: source.clone(), id: id.clone() };
        let key = keys::identity(&identity);
        let gets = self.tenant.partitions().map(|partition| {
            let key = &key;
            async move {
                let name = partition.to_string();
                let row = retry::read(|| self.table.get(&self.tenant.table, &name, key)).await?;
                Ok::<_, HistoryError>(row.map(|stored| (partition, stored)))
            }
        });
        let found = futures::future::try_join_all(gets).await?.into_iter().flatten().next();
        let Some((partition, stored)) = found else { return Ok(None) };
        self.at(partition, &IdentityRow::read(&stored.row)?).await.map(Some)
    }

    /// Whether a partition holds an event of this identity.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(super) async fn is_stored(
        &self,
        partition: PartitionId,
        identity: &Identity,
    ) -> Result<bool, ReadError> {
        let (name, key) = (partition.to_string(), keys::identity(identity));
        Ok(retry::read(|| self.table.get(&self.tenant.table, &name, &key)).await?.is_some())
    }

    /// One version of a stream that is known to lie in this partition.
    ///
    /// # Errors
    /// [`HistoryError`], also when the event is not where it should be.
    pub async fn version(
        &self,
        partition: PartitionId,
        stream: &StreamName,
        version: u64,
    ) -> Result<RecordedEvent, HistoryError> {
        let (name, key) = (partition.to_string(), keys::event(stream, version));
        let row = retry::read(|| self.table.get(&self.tenant.table, &name, &key)).await?;
        let stored = row.ok_or(BadRow { key, property: "RowKey" })?;
        Ok(RecordedEvent::read(partition, &stored.row)?)
    }

    /// The event that an identity row leads to.
    ///
    /// # Errors
    /// [`HistoryError`], also when the event is not where it should be.
    pub async fn at(
        &self,
        partition: PartitionId,
        index: &IdentityRow,
    ) -> Result<RecordedEvent, HistoryError> {
        self.version(partition, &index.stream, index.version).await
    }
}

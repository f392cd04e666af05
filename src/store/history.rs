//! Reading: streams, their history, single events.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{
    keys,
    registry::Tenant,
    retry::{self, pages},
    rows::{self, BadRow, IdentityRow, RecordedEvent, Stream},
    table::{Page, Range, ReadError, Table},
};
use crate::domain::{
    event::Data,
    ids::{Category, EventId, Identity, Source, Status, StreamName},
    position::PartitionId,
};

/// Bytes of data after which a page ends, whatever its limit: the Functions host buffers answers
/// whole, beside us, on a small instance.
pub const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Most rows that one storage query gives.
pub const MAX_PAGE: usize = pages::MAX_ROWS;
/// Storage queries that one page may take where most rows are filtered out.
const QUERIES: usize = 8;
/// Pages that one count may take.
pub const COUNTED: usize = 64;

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

/// A stream in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedStream {
    /// Its name.
    pub name: StreamName,
    /// What is kept of it.
    pub stream: Stream,
}

/// Where a list of streams goes on.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ListFrom {
    /// The partition.
    pub partition: PartitionId,
    /// The row key in it.
    pub key: String,
}

/// Part of a list of streams.
#[derive(Debug)]
pub struct StreamPage {
    /// The streams.
    pub streams: Vec<ListedStream>,
    /// Where the list goes on; `None` at its end.
    pub next: Option<ListFrom>,
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

    /// Streams, by category and status, in the order of their keys within each partition.
    ///
    /// A status that wants attention is found through its own index when the category is given; any
    /// other filter looks at every stream. Such a page may be short, even empty, while `next`
    /// leads on.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn streams(
        &self,
        category: Option<&Category>,
        status: Option<&Status>,
        from: Option<ListFrom>,
        limit: usize,
    ) -> Result<StreamPage, HistoryError> {
        let indexed =
            status.filter(|status| self.tenant.settings.wants_attention(status.as_str())).zip(category);
        let whole = match indexed {
            Some((status, category)) => keys::attentions(category.as_str(), status.as_str()),
            None => keys::streams(category.map(Category::as_str)),
        };
        let (mut streams, mut at) = (Vec::new(), from);
        for _ in 0..QUERIES {
            let place = at.take().or_else(|| self.first_of(&whole));
            let Some(place) =
                place.filter(|place| place.partition.number() < self.tenant.settings.partitions)
            else {
                return Ok(StreamPage { streams, next: None });
            };
            let range = Range { from: place.key, to: whole.to.clone() };
            let page = self.scan(place.partition, &range, limit - streams.len()).await?;
            for stored in &page.rows {
                let listed = match indexed {
                    Some(_) => self.linked(place.partition, &rows::linked_stream(&stored.row)?).await?,
                    None => {
                        Some(Stream::read(&stored.row)?).map(|(name, stream)| ListedStream { name, stream })
                    }
                };
                let wanted = |listed: &ListedStream| match (status, &listed.stream.status) {
                    (Some(status), Some(set)) => set.status == *status,
                    (Some(_), None) => false,
                    (None, _) => true,
                };
                streams.extend(listed.filter(wanted));
            }
            at = match page.next {
                Some(key) => Some(ListFrom { partition: place.partition, key }),
                None => PartitionId::new(place.partition.number() + 1)
                    .map(|partition| ListFrom { partition, key: whole.from.clone() })
                    .filter(|next| next.partition.number() < self.tenant.settings.partitions),
            };
            if at.is_none() || streams.len() >= limit {
                break;
            }
        }
        Ok(StreamPage { streams, next: at })
    }

    /// How many streams want attention, by what for, and whether all were counted: at most
    /// [`COUNTED`] pages are read.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn attention(&self) -> Result<(BTreeMap<&'static str, u64>, bool), HistoryError> {
        let (mut counts, mut pages) = (BTreeMap::new(), 0);
        for partition in self.tenant.partitions() {
            let mut range = keys::all_attentions();
            loop {
                if pages == COUNTED {
                    return Ok((counts, false));
                }
                pages += 1;
                let page = self.scan(partition, &range, MAX_PAGE).await?;
                for status in page.rows.iter().filter_map(|stored| keys::attention_status(&stored.row.key)) {
                    *counts.entry(status).or_default() += 1;
                }
                match page.next {
                    Some(next) => range.from = next,
                    None => break,
                }
            }
        }
        Ok((counts, true))
    }

    fn first_of(&self, whole: &Range) -> Option<ListFrom> {
        self.tenant.partitions().next().map(|partition| ListFrom { partition, key: whole.from.clone() })
    }

    async fn linked(
        &self,
        partition: PartitionId,
        name: &StreamName,
    ) -> Result<Option<ListedStream>, HistoryError> {
        let stream = self.stream_in(partition, name).await?;
        Ok(stream.map(|stream| ListedStream { name: name.clone(), stream }))
    }
}

/// Events on their way into a page, oldest in front.
#[derive(Default)]
struct Held {
    events: VecDeque<RecordedEvent>,
    bytes: usize,
}

impl Held {
    /// Takes one more. Newest first, the oldest of those before it go that no page has room for behind the
    /// newer ones: [`cut`] would take them out in the end, when a thousand large ones lie in memory.
    fn push(&mut self, event: RecordedEvent, order: Order) {
        self.bytes += weight(&event);
        self.events.push_back(event);
        while order == Order::Desc && self.bytes > PAGE_BYTES && self.events.len() > 1 {
            self.bytes -= self.events.pop_front().as_ref().map_or(0, weight);
        }
    }
}

/// What an event takes in a page.
fn weight(event: &RecordedEvent) -> usize {
    match &event.data {
        Data::Binary(data) => data.len() * 4 / 3,
        data => data.as_bytes().len(),
    }
}

/// Ends a page before it holds more than [`PAGE_BYTES`] of data; keeps at least one event.
fn cut(events: &mut Vec<RecordedEvent>) -> bool {
    let mut bytes = 0;
    let fitting = events
        .iter()
        .take_while(|event| {
            bytes += weight(event);
            bytes <= PAGE_BYTES
        })
        .count();
    let keep = fitting.max(1).min(events.len());
    let cut = keep < events.len();
    events.truncate(keep);
    cut
}

#[cfg(test)]
mod tests;

//! Reading a page of the all-stream.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::{
    lane::{Entry, Lane},
    place::{Place, Places},
};
use crate::{
    domain::{
        essentials::Essentials,
        ids::{Category, CorrelationId},
        position::{PartitionId, Position},
        timestamp::Timestamp,
    },
    store::{
        history::{History, HistoryError, PAGE_BYTES},
        log::Log,
        rows::{BadRow, RecordedEvent},
        table::ReadError,
    },
};

/// Events that one page may look at where most are filtered out.
const LOOKED_AT: usize = 20_000;
/// How long one page may look.
const LOOKING: Duration = Duration::from_secs(8);
/// Events read ahead where a filter may pass few of them.
const AHEAD: u64 = 900;
/// Event rows that are read at the same time, for data.
const PARALLEL: usize = 16;

/// Which way a reader goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Oldest first: the way to follow the log.
    #[serde(rename = "asc")]
    Forward,
    /// Newest first.
    #[serde(rename = "desc")]
    Backward,
}

/// What a reader wants to see. Empty: everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Event types, each exact or a prefix ending in `*`; none: all.
    pub types: Vec<String>,
    /// The category of the stream.
    pub category: Option<Category>,
    /// Keyed hash of the actor.
    pub actor: Option<String>,
    /// The correlation id.
    pub correlation: Option<CorrelationId>,
}

impl Filter {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn passes(&self, essentials: &Essentials) -> bool {
        let name = essentials.event_type.as_str();
        let fits = |wanted: &String| match wanted.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => wanted == name,
        };
        (self.types.is_empty() || self.types.iter().any(fits))
            && self.category.as_ref().is_none_or(|category| *category == essentials.category)
            && self.actor.as_ref().is_none_or(|actor| essentials.actor.as_ref() == Some(actor))
            && self.correlation.as_ref().is_none_or(|id| essentials.correlation.as_ref() == Some(id))
    }
}

/// What to read.
#[derive(Debug, Clone)]
pub struct Query {
    /// Behind which places (newest first: before which; `None`: from the newest).
    pub after: Option<Places>,
    /// Up to which places, included; only oldest first.
    pub until: Option<Places>,
    /// Recorded at this time or later.
    pub from: Option<Timestamp>,
    /// Recorded before this time.
    pub to: Option<Timestamp>,
    /// Which way.
    pub direction: Direction,
    /// Which events.
    pub filter: Filter,
    /// Most events on the page.
    pub limit: usize,
    /// Whether the page holds the data too.
    pub data: bool,
}

impl Query {
    /// Everything behind these places, oldest first.
    pub fn after(after: Option<Places>, limit: usize) -> Self {
        Self {
            after,
            until: None,
            from: None,
            to: None,
            direction: Direction::Forward,
            filter: Filter::default(),
            limit,
            data: false,
        }
    }
}

/// An event on a page.
#[derive(Debug)]
pub struct Item {
    /// Where it stands.
    pub position: Position,
    /// When it was recorded.
    pub recorded: Timestamp,
    /// Its essentials.
    pub essentials: Essentials,
    /// All of it, where data was asked for.
    pub event: Option<RecordedEvent>,
}

/// Part of the all-stream.
#[derive(Debug)]
pub struct Page {
    /// The events.
    pub items: Vec<Item>,
    /// Where to go on. Behind everything that was looked at, also what did not pass the filter.
    pub places: Places,
    /// True when there is nothing more now.
    pub end: bool,
}

/// Why a page could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadFailure {
    /// The log is not the one in which the cursor was given: it was rewound.
    #[error("the log has changed behind the cursor")]
    Changed,
    /// Storage or a row failed.
    #[error("the log cannot be read")]
    History(#[from] HistoryError),
}

impl From<BadRow> for ReadFailure {
    fn from(bad: BadRow) -> Self {
        Self::History(bad.into())
    }
}

impl From<ReadError> for ReadFailure {
    fn from(error: ReadError) -> Self {
        Self::History(error.into())
    }
}

/// Reads a page.
///
/// # Errors
/// [`ReadFailure`].
pub async fn read(log: &Log, history: &History, query: &Query) -> Result<Page, ReadFailure> {
    let mut lanes = stream::iter(log.tenant().partitions())
        .map(|partition| lane(log, partition, query))
        .buffered(PARALLEL)
        .try_collect::<Vec<_>>()
        .await?;
    let before: Vec<_> = lanes.iter().map(|lane| (lane.partition, lane.at)).collect();
    let (entries, end) = merge(&mut lanes, query).await?;
    let mut places = Places::default();
    for lane in &lanes {
        places.set(lane.partition, lane.at);
    }
    let mut page = Page { items: entries.into_iter().map(item).collect(), places, end };
    if query.data {
        with_data(history, &mut page, &before).await?;
    }
    Ok(page)
}

fn item((partition, entry): (PartitionId, Entry)) -> Item {
    let position = Position { partition, sequence: entry.essentials.sequence };
    Item { position, recorded: entry.recorded, essentials: entry.essentials, event: None }
}

/// A partition, at the place where the query begins.
async fn lane<'a>(log: &'a Log, partition: PartitionId, query: &Query) -> Result<Lane<'a>, ReadFailure> {
    let given = query.after.as_ref().map(|places| places.get(partition));
    let forward = query.direction == Direction::Forward;
    let at = match given {
        Some(place) if place.sequence > 0 || forward && query.from.is_none() => place,
        _ if forward => match query.from {
            None => Place::default(),
            Some(from) => Place { sequence: log.first_at(partition, from).await? - 1, mark: None },
        },
        // Everything newest first was read: it ends there.
        Some(place) => place,
        None => {
            let sequence = match query.to {
                Some(to) => log.first_at(partition, to).await?,
                None => log.head(partition).await?.last + 1,
            };
            Place { sequence, mark: None }
        }
    };
    let mut lane = Lane::new(log, partition, query.direction, at);
    lane.until = query.until.as_ref().map(|until| until.get(partition).sequence);
    Ok(lane)
}

/// Takes events by recorded time until the page is full, or nothing more is there.
async fn merge(
    lanes: &mut [Lane<'_>],
    query: &Query,
) -> Result<(Vec<(PartitionId, Entry)>, bool), ReadFailure> {
    let (started, mut looked_at, mut bytes) = (Instant::now(), 0, 0);
    let mut taken = Vec::new();
    while taken.len() < query.limit && looked_at < LOOKED_AT && bytes < PAGE_BYTES {
        if looked_at > 0 && looked_at % 256 == 0 && started.elapsed() > LOOKING {
            break;
        }
        let missing = (query.limit - taken.len()) as u64;
        let wanted = if query.filter.is_empty() { missing } else { AHEAD };
        let fills = lanes.iter_mut().map(|lane| lane.fill(wanted));
        futures::future::try_join_all(fills).await?;
        let ready = lanes.iter_mut().filter_map(|lane| {
            let recorded = lane.front()?.recorded;
            Some((recorded, lane))
        });
        let next = match query.direction {
            Direction::Forward => ready.min_by_key(|(recorded, lane)| (*recorded, lane.partition)),
            Direction::Backward => ready.max_by_key(|(recorded, lane)| (*recorded, lane.partition)),
        };
        let Some((recorded, lane)) = next else {
            if lanes.iter().all(|lane| lane.ended) {
                return Ok((taken, true));
            }
            continue;
        };
        let outside = match query.direction {
            Direction::Forward => query.to.is_some_and(|to| recorded >= to),
            Direction::Backward => query.from.is_some_and(|from| recorded < from),
        };
        if outside {
            lane.buffer.clear();
            lane.ended = true;
            continue;
        }
        let partition = lane.partition;
        let Some(entry) = lane.take() else { continue };
        looked_at += 1;
        if query.filter.passes(&entry.essentials) {
            bytes += weight(&entry.essentials);
            taken.push((partition, entry));
        }
    }
    Ok((taken, false))
}

/// About the bytes that an event takes on a page.
fn weight(essentials: &Essentials) -> usize {
    let data: usize = essentials.data.iter().map(|(name, value)| name.len() + value.len()).sum();
    512 + essentials.id.as_str().len() + essentials.source.as_str().len() + data
}

/// Reads the data, and ends the page before it holds more than [`PAGE_BYTES`] of it.
async fn with_data(
    history: &History,
    page: &mut Page,
    before: &[(PartitionId, Place)],
) -> Result<(), ReadFailure> {
    let wanted: Vec<_> = page
        .items
        .iter()
        .map(|item| (item.position.partition, item.essentials.stream_name(), item.essentials.version))
        .collect();
    let mut rows = stream::iter(wanted)
        .map(|(partition, stream, version)| async move { history.version(partition, &stream, version).await })
        .buffered(PARALLEL);
    let (mut bytes, mut count) = (0, 0);
    while let Some(event) = rows.next().await {
        let event = event?;
        bytes += event.data.as_bytes().len() * 4 / 3;
        if count > 0 && bytes > PAGE_BYTES {
            break;
        }
        if let Some(item) = page.items.get_mut(count) {
            item.event = Some(event);
        }
        count += 1;
    }
    drop(rows);
    if count < page.items.len() {
        rewind(page, count, before);
    }
    Ok(())
}

/// Cuts a page, and takes its places back to before what was cut off.
fn rewind(page: &mut Page, keep: usize, before: &[(PartitionId, Place)]) {
    let cut = page.items.split_off(keep);
    page.end = false;
    for (partition, start) in before {
        if cut.iter().all(|item| item.position.partition != *partition) {
            continue;
        }
        let last = page.items.iter().rev().find(|item| item.position.partition == *partition);
        // Without its mark: the reader's next page finds the commit by its sequence alone.
        let place = last.map_or(*start, |item| Place { sequence: item.position.sequence, mark: None });
        page.places.set(*partition, place);
    }
}

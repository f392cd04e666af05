//! Everything that shares a correlation id, in the order in which it was recorded.

use futures::{StreamExt, TryStreamExt, stream};

use super::place::{Place, Places};
use crate::{
    domain::{event::Data, ids::CorrelationId, position::PartitionId},
    store::{
        correlated::Correlated,
        history::{History, HistoryError, PAGE_BYTES},
        log::Log,
        rows::RecordedEvent,
    },
};

/// Event rows that are read at the same time.
const PARALLEL: usize = 16;

/// Part of what shares a correlation id.
#[derive(Debug)]
pub struct LinkedPage {
    /// The events.
    pub events: Vec<RecordedEvent>,
    /// Where to go on; `None` at the end.
    pub next: Option<Places>,
}

/// Reads events through the links of a correlation id, from these places on.
///
/// # Errors
/// [`HistoryError`].
pub async fn linked(
    log: &Log,
    history: &History,
    correlation: &CorrelationId,
    from: &Places,
    limit: usize,
) -> Result<LinkedPage, HistoryError> {
    let lanes = stream::iter(log.tenant().partitions())
        .map(|partition| lane(log, history, correlation, partition, from.get(partition).sequence, limit))
        .buffered(PARALLEL)
        .try_collect::<Vec<_>>()
        .await?;
    let mut more = false;
    let mut events = Vec::new();
    for lane in lanes {
        more |= lane.more;
        events.extend(lane.events);
    }
    events.sort_by_key(|event| (event.recorded, event.position));
    let mut bytes = 0;
    let fitting = events.iter().take(limit).take_while(|event| {
        bytes += match &event.data {
            Data::Binary(data) => data.len() * 4 / 3,
            data => data.as_bytes().len(),
        };
        bytes <= PAGE_BYTES
    });
    let keep = fitting.count().max(1).min(events.len());
    more |= keep < events.len();
    events.truncate(keep);
    let mut next = from.clone();
    for event in &events {
        next.set(event.position.partition, Place { sequence: event.position.sequence, mark: None });
    }
    Ok(LinkedPage { events, next: more.then_some(next) })
}

struct Linked {
    events: Vec<RecordedEvent>,
    more: bool,
}

/// The next linked events of one partition.
async fn lane(
    log: &Log,
    history: &History,
    correlation: &CorrelationId,
    partition: PartitionId,
    after: u64,
    limit: usize,
) -> Result<Linked, HistoryError> {
    let (links, more) = Correlated::of(log.clone()).lane(partition, correlation, after, limit).await?;
    let mut events = Vec::new();
    let mut bytes = 0;
    let mut found = stream::iter(links)
        .map(|link| async move { history.version(partition, &link.stream, link.version).await })
        .buffered(PARALLEL);
    while let Some(event) = found.next().await {
        let event = event?;
        bytes += event.data.as_bytes().len();
        events.push(event);
        if bytes > PAGE_BYTES {
            return Ok(Linked { events, more: true });
        }
    }
    Ok(Linked { events, more })
}

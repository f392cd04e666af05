//! Replay: past essentials sent to the change feed again, under the ids they had.
//!
//! A replay is a row, and one message on the publish queue at a time. Each message publishes one
//! batch, moves the row on from the place that the message names, and puts the next message. A
//! message that comes again finds the row moved: then only a redelivery may put the next one once
//! more, so that a crash neither ends a replay nor doubles it for ever.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    Feed,
    all_stream::{self, Filter, Places, Query, ReadFailure},
};
use crate::{
    domain::{ids::TenantId, timestamp::Timestamp},
    queue::{PutError, QueueName, Queues},
    store::{
        Store, keys,
        readers::{Readers, ReadersError},
        registry::Tenant,
    },
};

/// Most bytes of one batch: Event Grid takes 1 MB.
const BATCH: usize = 900_000;
/// Most events of one batch.
const EVENTS: usize = 500;

/// A message on the publish queue: go on with this replay.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReplayMessage {
    /// The tenant.
    pub tenant: TenantId,
    /// The replay.
    pub replay: String,
    /// From where.
    pub at: Places,
}

/// What a replay does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplayState {
    /// It goes on.
    Running,
    /// Somebody stopped it; it can be resumed.
    Stopped,
    /// Publishing failed again and again; it can be resumed.
    Stalled,
    /// Everything was published.
    Done,
}

/// A replay, and how far it has come.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// Its id.
    pub id: String,
    /// What it does now.
    pub state: ReplayState,
    /// Up to where it was published.
    pub at: Places,
    /// Where it ends.
    pub until: Places,
    /// Which types; none: all that the feed publishes.
    pub types: Vec<String>,
    /// Events published so far.
    pub published: u64,
    /// When it began.
    pub started_time: Timestamp,
    /// When it last moved.
    pub updated_time: Timestamp,
}

/// Why a replay did not go on. The message comes again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log could not be read.
    #[error("the log cannot be read")]
    Log(#[from] ReadFailure),
    /// The row could not be read or written.
    #[error("the replay's row cannot be handled")]
    Readers(#[from] ReadersError),
    /// The queue did not take the next message.
    #[error("the publish queue did not take a message")]
    Put(#[from] PutError),
    /// Others kept changing it.
    #[error("the replay is being changed by somebody else")]
    Busy,
}

/// Starts a replay.
///
/// # Errors
/// [`ReplayError`]; when the queue failed the replay is there and can be resumed.
pub async fn start(
    store: &Store,
    tenant: &Arc<Tenant>,
    (queues, queue): (&dyn Queues, &QueueName),
    (after, until, types): (Places, Places, Vec<String>),
) -> Result<Replay, ReplayError> {
    let now = store.clock().now().to_micros();
    let replay = Replay {
        id: uuid::Uuid::new_v4().to_string(),
        state: ReplayState::Running,
        at: after,
        until,
        types,
        published: 0,
        started_time: now,
        updated_time: now,
    };
    store.readers(tenant).put(&keys::replay(&replay.id), &replay, None).await?;
    put(tenant, queues, queue, &replay).await?;
    Ok(replay)
}

/// Stops a replay, notes that it stalled, or lets it go on; `None` when there is none.
///
/// # Errors
/// [`ReplayError`].
pub async fn set(
    store: &Store,
    tenant: &Arc<Tenant>,
    (queues, queue): (&dyn Queues, &QueueName),
    id: &str,
    state: ReplayState,
) -> Result<Option<Replay>, ReplayError> {
    let readers = store.readers(tenant);
    for _ in 0..8 {
        let Some((replay, etag)) = readers.get::<Replay>(&keys::replay(id)).await? else { return Ok(None) };
        if replay.state == ReplayState::Done || (replay.state == state && state != ReplayState::Running) {
            return Ok(Some(replay));
        }
        let changed = Replay { state, updated_time: store.clock().now().to_micros(), ..replay };
        if readers.put(&keys::replay(id), &changed, Some(etag)).await? {
            if state == ReplayState::Running {
                put(tenant, queues, queue, &changed).await?;
            }
            return Ok(Some(changed));
        }
    }
    Err(ReplayError::Busy)
}

async fn put(
    tenant: &Tenant,
    queues: &dyn Queues,
    queue: &QueueName,
    replay: &Replay,
) -> Result<(), ReplayError> {
    let message =
        ReplayMessage { tenant: tenant.id.clone(), replay: replay.id.clone(), at: replay.at.clone() };
    let body = serde_json::to_vec(&message).expect("strings and numbers serialise");
    Ok(queues.put(queue, &body).await?)
}

/// Publishes the batch that a message asks for, and puts the next message.
///
/// # Errors
/// [`ReplayError`]; then nothing is published, and the message comes again.
pub async fn step(
    store: &Store,
    feed: &Feed<'_>,
    tenant: &Arc<Tenant>,
    (queues, queue): (&dyn Queues, &QueueName),
    message: &ReplayMessage,
    redelivered: bool,
) -> Result<Vec<Box<RawValue>>, ReplayError> {
    let readers = store.readers(tenant);
    let key = keys::replay(&message.replay);
    let Some((replay, etag)) = readers.get::<Replay>(&key).await? else { return Ok(Vec::new()) };
    if replay.state != ReplayState::Running {
        return Ok(Vec::new());
    }
    let (events, at, end) = batch(store, feed, tenant, &replay, &message.at).await?;
    let ours = replay.at == message.at;
    if !ours {
        // Published again, because the answer of the first time may have been lost.
        if redelivered && replay.at == at && !end {
            put(tenant, queues, queue, &replay).await?;
        }
        return Ok(events);
    }
    let next = Replay {
        state: if end { ReplayState::Done } else { ReplayState::Running },
        at,
        published: replay.published + events.len() as u64,
        updated_time: store.clock().now().to_micros(),
        ..replay
    };
    if !readers.put(&key, &next, Some(etag)).await? {
        return Err(ReplayError::Busy);
    }
    if !end {
        put(tenant, queues, queue, &next).await?;
    }
    Ok(events)
}

/// The next events, as many as one batch holds; where they end, and whether that is all.
async fn batch(
    store: &Store,
    feed: &Feed<'_>,
    tenant: &Arc<Tenant>,
    replay: &Replay,
    at: &Places,
) -> Result<(Vec<Box<RawValue>>, Places, bool), ReplayError> {
    let mut query = Query::after(Some(at.clone()), EVENTS);
    query.until = Some(replay.until.clone());
    query.filter = Filter { types: replay.types.clone(), ..Filter::default() };
    let page = all_stream::read(&store.log(tenant), &store.history(tenant), &query).await?;
    let (mut events, mut bytes, mut places) = (Vec::new(), 0, at.clone());
    for item in &page.items {
        let place = all_stream::Place { sequence: item.position.sequence, mark: None };
        if let Some(event) = feed.event(item.position.partition, item.recorded, &item.essentials) {
            bytes += event.get().len() + 4;
            if bytes > BATCH && !events.is_empty() {
                return Ok((events, places, false));
            }
            events.push(event);
        }
        places.set(item.position.partition, place);
    }
    Ok((events, page.places, page.end))
}

/// The replays of a tenant.
///
/// # Errors
/// [`ReadersError`].
pub async fn get(readers: &Readers, id: &str) -> Result<Option<Replay>, ReadersError> {
    Ok(readers.get::<Replay>(&keys::replay(id)).await?.map(|(replay, _)| replay))
}

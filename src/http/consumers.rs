//! Consumers that leave their place with us.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{cursor::Cursor, extract, problem::Problem};
use crate::{
    domain::{
        event::Expected,
        ids::{Invalid, StreamId},
        position::PartitionId,
        timestamp::Timestamp,
    },
    feed::all_stream::{Direction, Places},
    host::App,
    links,
    store::{history::HistoryError, keys, log::Log, readers::Readers, registry::Tenant},
};

/// Times that a place is written again when another worker writes too.
const TRIES: usize = 4;
/// Reads of storage at the same time.
const PARALLEL: usize = 8;

/// What is kept of a consumer.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Consumer {
    name: String,
    places: Places,
    seen: Timestamp,
    /// Counts changes: the ETag of the consumer.
    version: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    cursor: String,
    /// The place may also move back.
    #[serde(default)]
    reset: bool,
}

/// `PUT tenants/{tenant}/consumers/{name}`: moves the place on. Without `reset` it never goes back,
/// whichever of two workers comes last; with `If-Match` it changes only from the version given.
pub(super) async fn put(
    State(app): State<Arc<App>>,
    Path((tenant, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let tenant = extract::tenant(&app, &tenant).await?;
    extract::check_length(&headers)?;
    let name = consumer_name(&name)?;
    let body: Body = serde_json::from_slice(&body).map_err(|_| {
        Problem::new(StatusCode::BAD_REQUEST, "invalid-request", "the body is not a place: {cursor, reset}")
    })?;
    let at = Cursor::forward(&tenant, &body.cursor)?;
    let expected = extract::precondition(&headers)?.unwrap_or(Expected::Any);
    let readers = app.store.readers(&tenant);
    let key = keys::consumer(&name);
    for _ in 0..TRIES {
        let was = readers.get::<Consumer>(&key).await?;
        let version = was.as_ref().map_or(0, |(consumer, _)| consumer.version);
        if !expected.holds(version) {
            let detail = "the consumer has changed since it was read";
            return Err(Problem::new(StatusCode::PRECONDITION_FAILED, "consumer-changed", detail)
                .with("version", version));
        }
        if let Some((consumer, _)) = &was
            && !body.reset
            && !at.is_at_least(&consumer.places)
        {
            let detail = "the place lies before the one that is kept: `reset` moves it back";
            return Err(Problem::new(StatusCode::CONFLICT, "place-moved-back", detail)
                .with("cursor", seal(&tenant, &consumer.places)));
        }
        let seen = app.store.clock().now().to_micros();
        let consumer = Consumer { name: name.clone(), places: at.clone(), seen, version: version + 1 };
        let new = was.is_none();
        if readers.put(&key, &consumer, was.map(|(_, etag)| etag)).await? {
            let status = if new { StatusCode::CREATED } else { StatusCode::OK };
            return Ok((status, answer(&app, &tenant, &consumer).await?).into_response());
        }
    }
    Err(Problem::new(StatusCode::CONFLICT, "busy", "other workers keep moving this consumer"))
}

/// `GET tenants/{tenant}/consumers/{name}`.
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Path((tenant, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let tenant = extract::tenant(&app, &tenant).await?;
    let found = app.store.readers(&tenant).get::<Consumer>(&keys::consumer(&consumer_name(&name)?)).await?;
    let (consumer, _) = found.ok_or_else(|| Problem::not_found("unknown-consumer", "consumer"))?;
    answer(&app, &tenant, &consumer).await
}

#[derive(Deserialize)]
pub(super) struct ListQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

/// `GET tenants/{tenant}/consumers`, by name.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let tenant = extract::tenant(&app, &tenant).await?;
    let limit = extract::limit(query.limit.as_deref())?;
    let after = Cursor::read(&tenant, query.cursor.as_deref(), |cursor| match cursor {
        Cursor::Consumers { after } => Some(after),
        _ => None,
    })?;
    let mut page = behind(&app.store.readers(&tenant), after, limit + 1).await?;
    let more = page.len() > limit;
    page.truncate(limit);
    let last = page.last().filter(|_| more);
    let cursor = last.map(|last| Cursor::Consumers { after: last.name.clone() }.seal(&tenant));
    let log = app.store.log(&tenant);
    let heads = heads(&log).await?;
    let mut consumers = Vec::new();
    for consumer in &page {
        consumers.push(view(&app, &log, &heads, consumer).await?);
    }
    Ok(Json(json!({ "consumers": consumers, "cursor": cursor })).into_response())
}

/// The first consumers behind a name.
async fn behind(
    readers: &Readers,
    mut after: Option<String>,
    count: usize,
) -> Result<Vec<Consumer>, Problem> {
    let mut found = Vec::new();
    while found.len() < count {
        let mut range = keys::consumers();
        if let Some(name) = &after {
            range.from = keys::consumer(name);
        }
        let mut page = readers.list::<Consumer>(&range).await?;
        page.retain(|consumer| after.as_ref() != Some(&consumer.name));
        // Storage may give less than there is: the end is where nothing comes.
        let Some(last) = page.last() else { break };
        after = Some(last.name.clone());
        found.append(&mut page);
    }
    found.truncate(count);
    Ok(found)
}

/// A name is as free as any id of a stream.
fn consumer_name(segment: &str) -> Result<String, Invalid> {
    let name = StreamId::parse(links::from_segment("name", segment)?);
    name.map(|name| name.as_str().to_owned())
        .map_err(|invalid| Invalid { field: "name".to_owned(), ..invalid })
}

fn seal(tenant: &Tenant, places: &Places) -> String {
    Cursor::All { at: places.clone(), order: Direction::Forward }.seal(tenant)
}

async fn answer(app: &App, tenant: &Arc<Tenant>, consumer: &Consumer) -> Result<Response, Problem> {
    let log = app.store.log(tenant);
    let mut response = Json(view(app, &log, &heads(&log).await?, consumer).await?).into_response();
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", consumer.version)) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    Ok(response)
}

/// Where each partition ends.
async fn heads(log: &Log) -> Result<Vec<(PartitionId, u64)>, HistoryError> {
    let heads = stream::iter(log.tenant().partitions())
        .map(async |partition| Ok((partition, log.head(partition).await?.last)));
    heads.buffered(PARALLEL).try_collect().await
}

async fn view(
    app: &App,
    log: &Log,
    heads: &[(PartitionId, u64)],
    consumer: &Consumer,
) -> Result<Value, Problem> {
    let place = |partition| consumer.places.get(partition).sequence;
    let behind: Vec<_> = heads
        .iter()
        .map(|(partition, last)| (*partition, place(*partition), *last))
        .filter(|(_, at, last)| last > at)
        .collect();
    let events: u64 = behind.iter().map(|(_, at, last)| last - at).sum();
    let next = stream::iter(behind).map(async |(partition, at, _)| log.reaching(partition, at + 1).await);
    let next: Vec<_> = next.buffered(PARALLEL).try_collect().await?;
    let now = app.store.clock().now();
    let seconds = next.iter().flatten().map(|commit| now.since(commit.recorded).as_secs_f64());
    Ok(json!({
        "name": consumer.name,
        "cursor": seal(log.tenant(), &consumer.places),
        "lastSeenTime": consumer.seen,
        "lag": { "events": events, "seconds": seconds.fold(0.0, f64::max) },
    }))
}

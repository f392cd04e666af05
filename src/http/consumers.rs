//! Consumers that leave their place with us.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{cursor::Cursor, extract, problem::Problem};
use crate::{
    domain::{
        event::Expected,
        ids::{Invalid, StreamId},
        timestamp::Timestamp,
    },
    feed::all_stream::{Direction, Places},
    host::App,
    links,
    store::{keys, registry::Tenant},
};

/// Times that a place is written again when another worker writes too.
const TRIES: usize = 4;

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
    let Cursor::All { at, order: Direction::Forward } = Cursor::open(&tenant, &body.cursor)? else {
        return Err(Cursor::foreign().into());
    };
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

/// `GET tenants/{tenant}/consumers`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
) -> Result<Response, Problem> {
    let tenant = extract::tenant(&app, &tenant).await?;
    let mut consumers = Vec::new();
    for consumer in app.store.readers(&tenant).list::<Consumer>(&keys::consumers()).await? {
        consumers.push(view(&app, &tenant, &consumer).await?);
    }
    Ok(Json(json!({ "consumers": consumers })).into_response())
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
    let mut response = Json(view(app, tenant, consumer).await?).into_response();
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", consumer.version)) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    Ok(response)
}

async fn view(app: &App, tenant: &Arc<Tenant>, consumer: &Consumer) -> Result<Value, Problem> {
    let (log, now) = (app.store.log(tenant), app.store.clock().now());
    let (mut events, mut seconds) = (0, 0.0_f64);
    for partition in tenant.partitions() {
        let at = consumer.places.get(partition).sequence;
        let last = log.head(partition).await?.last;
        events += last.saturating_sub(at);
        if last > at
            && let Some(next) = log.reaching(partition, at + 1).await?
        {
            seconds = seconds.max(now.since(next.recorded).as_secs_f64());
        }
    }
    Ok(json!({
        "name": consumer.name,
        "cursor": seal(tenant, &consumer.places),
        "lastSeenTime": consumer.seen,
        "lag": { "events": events, "seconds": seconds },
    }))
}

//! Replaying the change feed.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{cursor::Cursor, extract, problem::Problem};
use crate::{
    domain::ids::Invalid,
    feed::{
        all_stream::{Direction, Place, Places},
        replay::{self, Replay, ReplayError, ReplayState},
    },
    host::App,
    store::{readers::ReadersError, registry::Tenant},
};

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    until: Option<String>,
    #[serde(default)]
    types: Vec<String>,
}

/// `POST tenants/{tenant}/change-feed/replay`.
pub(super) async fn start(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let tenant = extract::tenant(&app, &tenant).await?;
    extract::check_length(&headers)?;
    let body: Body = serde_json::from_slice(&body).map_err(|_| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "invalid-request",
            "the body is not a replay: {after, until, types}",
        )
    })?;
    if !tenant.settings.change_feed.enabled {
        return Err(Problem::new(StatusCode::CONFLICT, "no-change-feed", "the tenant's change feed is off"));
    }
    let place = |text: &str| Cursor::forward(&tenant, text);
    let after = body.after.as_deref().map(place).transpose()?.unwrap_or_default();
    let until = match body.until.as_deref() {
        Some(text) => place(text)?,
        None => here(&app, &tenant).await?,
    };
    if body.types.len() > 32 || body.types.iter().any(|name| name.is_empty() || name.len() > 512) {
        return Err(Invalid::new("types", "must be at most 32 event types").into());
    }
    let queue = (app.queues.as_ref(), &app.publish_queue);
    let replay = replay::start(&app.store, &tenant, queue, (after, until, body.types)).await?;
    Ok((StatusCode::ACCEPTED, Json(view(&tenant, &replay))).into_response())
}

/// Where the log ends now: what comes later is published anyway.
async fn here(app: &App, tenant: &Arc<Tenant>) -> Result<Places, Problem> {
    let (log, mut places) = (app.store.log(tenant), Places::default());
    for partition in tenant.partitions() {
        let sequence = log.head(partition).await?.last;
        places.set(partition, Place { sequence, mark: None });
    }
    Ok(places)
}

/// `GET tenants/{tenant}/change-feed/replay/{id}`.
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let tenant = extract::tenant(&app, &tenant).await?;
    let replay = replay::get(&app.store.readers(&tenant), &id).await?.ok_or_else(unknown)?;
    Ok(Json(view(&tenant, &replay)).into_response())
}

/// `POST tenants/{tenant}/change-feed/replay/{id}/stop`.
pub(super) async fn stop(
    State(app): State<Arc<App>>,
    Path(path): Path<(String, String)>,
) -> Result<Response, Problem> {
    set(&app, path, ReplayState::Stopped).await
}

/// `POST tenants/{tenant}/change-feed/replay/{id}/resume`.
pub(super) async fn resume(
    State(app): State<Arc<App>>,
    Path(path): Path<(String, String)>,
) -> Result<Response, Problem> {
    set(&app, path, ReplayState::Running).await
}

async fn set(app: &App, (tenant, id): (String, String), state: ReplayState) -> Result<Response, Problem> {
    let tenant = extract::tenant(app, &tenant).await?;
    let queue = (app.queues.as_ref(), &app.publish_queue);
    let replay = replay::set(&app.store, &tenant, queue, &id, state).await?.ok_or_else(unknown)?;
    Ok(Json(view(&tenant, &replay)).into_response())
}

fn unknown() -> Problem {
    Problem::not_found("unknown-replay", "replay")
}

fn view(tenant: &Tenant, replay: &Replay) -> Value {
    let seal = |at: &Places| Cursor::All { at: at.clone(), order: Direction::Forward }.seal(tenant);
    let events = |places: &Places| places.iter().map(|(_, place)| place.sequence).sum::<u64>();
    json!({
        "id": replay.id,
        "state": replay.state,
        "at": seal(&replay.at),
        "until": seal(&replay.until),
        "types": replay.types,
        "published": replay.published,
        "remaining": events(&replay.until).saturating_sub(events(&replay.at)),
        "startedTime": replay.started_time,
        "updatedTime": replay.updated_time,
    })
}

impl From<ReplayError> for Problem {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Log(error) => error.into(),
            ReplayError::Readers(error) => error.into(),
            ReplayError::Put(_) => Self::unavailable(&error),
            ReplayError::Busy => Self::new(StatusCode::CONFLICT, "busy", error.to_string()),
        }
    }
}

impl From<ReadersError> for Problem {
    fn from(error: ReadersError) -> Self {
        match error {
            ReadersError::Read(_) | ReadersError::Write(_) => Self::unavailable(&error),
            ReadersError::Bad(_) => Self::internal(&error),
        }
    }
}

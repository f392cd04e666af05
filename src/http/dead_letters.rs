//! Dead letters: listed, read, and replayed one by one once their cause is gone.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{cursor::Cursor, extract, problem::Problem, views::AppendedView};
use crate::{
    access::Caller,
    domain::{
        event::NewEvent,
        ids::Invalid,
        known,
        message::{Element, decode_document},
    },
    host::App,
    journal::{self, JournalError},
    queue::QueueName,
    store::{
        Delivery,
        append::Answer,
        dead_letters::{DeadLetter, DeadLetterId, DeadLetters},
        registry::Tenant,
    },
};

/// How long a replay may take.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Deserialize)]
pub(super) struct ListQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

/// `GET tenants/{tenant}/dead-letters`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let tenant = extract::tenant(&app, &tenant).await?;
    let from = Cursor::read(&tenant, query.cursor.as_deref(), |cursor| match cursor {
        Cursor::Dead { from } => Some(from),
        _ => None,
    })?;
    let limit = extract::limit(query.limit.as_deref())?;
    let page = app.store.dead_letters(Some(&tenant)).list(from, limit).await?;
    let cursor = page.next.map(|from| Cursor::Dead { from }.seal(&tenant));
    Ok(listed(&page.letters, cursor))
}

/// `GET dead-letters`: those of no known tenant. The cursor is the id of the last one.
pub(super) async fn list_nobodys(
    State(app): State<Arc<App>>,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let limit = extract::limit(query.limit.as_deref())?;
    let from = query.cursor.as_deref().map(parse_id).transpose()?.map(DeadLetters::behind);
    let page = app.store.dead_letters(None).list(from, limit).await?;
    let cursor = page.next.and(page.letters.last()).map(|letter| letter.id().to_string());
    Ok(listed(&page.letters, cursor))
}

fn listed(letters: &[DeadLetter], cursor: Option<String>) -> Response {
    let letters: Vec<Value> = letters.iter().map(|letter| view(letter, false)).collect();
    Json(json!({ "deadLetters": letters, "cursor": cursor })).into_response()
}

/// `GET tenants/{tenant}/dead-letters/{id}`.
pub(super) async fn one(
    State(app): State<Arc<App>>,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let tenant = extract::tenant(&app, &tenant).await?;
    read(&app, Some(&tenant), &id).await
}

/// `GET dead-letters/{id}`.
pub(super) async fn one_of_nobody(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    read(&app, None, &id).await
}

/// `POST tenants/{tenant}/dead-letters/{id}/replay`.
pub(super) async fn replay(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let tenant = extract::tenant(&app, &tenant).await?;
    replay_one(&app, &caller, Some(&tenant), &id).await
}

/// `POST dead-letters/{id}/replay`.
pub(super) async fn replay_nobodys(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    replay_one(&app, &caller, None, &id).await
}

async fn read(app: &App, tenant: Option<&Tenant>, id: &str) -> Result<Response, Problem> {
    let letter = app.store.dead_letters(tenant).get(parse_id(id)?).await?;
    let letter = letter.ok_or_else(unknown)?;
    Ok(Json(view(&letter, true)).into_response())
}

/// Stores the letter's events now, through the direct door, and notes that it was replayed. A
/// letter that is still what it was stays as it is.
async fn replay_one(
    app: &Arc<App>,
    caller: &Caller,
    tenant: Option<&Arc<Tenant>>,
    id: &str,
) -> Result<Response, Problem> {
    let id = parse_id(id)?;
    let letters = app.store.dead_letters(tenant.map(Arc::as_ref));
    let letter = letters.get(id).await?.ok_or_else(unknown)?;
    if is_or_is_poison_of(&letter.queue, &app.publish_queue) {
        app.queues
            .put(&app.publish_queue, &letter.body)
            .await
            .map_err(|error| Problem::unavailable(&error))?;
        letters.mark_replayed(id, app.store.clock().now().to_micros()).await?;
        return Ok((StatusCode::ACCEPTED, Json(json!([]))).into_response());
    }
    let until = Instant::now() + PATIENCE;
    let mut answers = Vec::new();
    for element in decode_document(&letter.body).map_err(|error| still_dead(error.into()))? {
        answers.extend(store(app, caller, tenant, element, until).await?);
    }
    letters.mark_replayed(id, app.store.clock().now().to_micros()).await?;
    let views: Vec<_> = answers.iter().map(AppendedView::of).collect();
    Ok(Json(views).into_response())
}

/// Whether a letter comes from this queue, or from the one on which the host puts what failed too often.
fn is_or_is_poison_of(name: &str, queue: &QueueName) -> bool {
    name.strip_prefix(queue.as_str()).is_some_and(|rest| rest.is_empty() || rest == "-poison")
}

async fn store(
    app: &Arc<App>,
    caller: &Caller,
    tenant: Option<&Arc<Tenant>>,
    element: Element<'_>,
    until: Instant,
) -> Result<Vec<Answer>, Problem> {
    let event = element.event.map_err(|error| still_dead(error.into()))?;
    let named = event.tenant.clone().ok_or_else(|| Invalid::new("tenantid", "must name the tenant"))?;
    let tenant = match tenant {
        Some(tenant) if tenant.id == named => Arc::clone(tenant),
        Some(_) => return Err(Invalid::new("tenantid", "must be the tenant of the path").into()),
        None => {
            let found = app.store.registry().get(&named).await?;
            found.ok_or_else(|| still_dead(Problem::not_found("unknown-tenant", "tenant")))?
        }
    };
    if known::is_journal(&event.event_type) {
        return judged(app, caller, &tenant, event, until).await;
    }
    // It may have been stored since: its identity is looked up first.
    let delivery = Delivery::direct(caller.recorded_by()).again();
    app.store.append(&tenant, vec![event], delivery, until).await.map_err(|error| {
        let passing = matches!(error, crate::store::StoreError::Unavailable { .. });
        if passing { error.into() } else { still_dead(error.into()) }
    })
}

/// Lets the command journal judge once more. Nothing is appended when the request had been carried
/// out since.
async fn judged(
    app: &Arc<App>,
    caller: &Caller,
    tenant: &Arc<Tenant>,
    event: NewEvent,
    until: Instant,
) -> Result<Vec<Answer>, Problem> {
    let (order, by) = journal::request(tenant, event)
        .map_err(|no| still_dead(Problem::new(StatusCode::CONFLICT, no.code(), no.to_string())))?;
    let delivery = Delivery::direct(by.unwrap_or_else(|| caller.recorded_by()));
    match app.journal.run(tenant, &order, &delivery, until).await {
        Ok(receipt) => Ok(receipt.answers),
        Err(error @ (JournalError::Forbidden { .. } | JournalError::OperationReused { .. })) => {
            Err(still_dead(error.into()))
        }
        Err(error) => Err(error.into()),
    }
}

/// The cause is not gone: says it again.
fn still_dead(problem: Problem) -> Problem {
    problem.with_status(StatusCode::CONFLICT).with("stillDead", true)
}

fn unknown() -> Problem {
    Problem::not_found("unknown-dead-letter", "dead letter")
}

fn parse_id(text: &str) -> Result<DeadLetterId, Problem> {
    let id = DeadLetterId::parse(text);
    id.ok_or_else(|| Invalid::new("id", "must be the 64 hexadecimal digits of a dead letter").into())
}

fn view(letter: &DeadLetter, with_body: bool) -> Value {
    let mut view = Map::new();
    let mut set = |name: &str, value: Value| drop(view.insert(name.to_owned(), value));
    set("id", letter.id().to_string().into());
    set("code", letter.code.clone().into());
    set("reason", letter.reason.clone().into());
    set("time", json!(letter.time));
    set("queue", letter.queue.clone().into());
    set("messageId", letter.message_id.clone().into());
    set("dequeueCount", letter.dequeue_count.into());
    set("bytes", letter.body.len().into());
    if let Some(replayed) = letter.replayed {
        set("replayedTime", json!(replayed));
    }
    if with_body {
        match std::str::from_utf8(&letter.body) {
            Ok(text) => set("body", text.into()),
            Err(_) => set("bodyBase64", STANDARD.encode(&letter.body).into()),
        }
    }
    Value::Object(view)
}

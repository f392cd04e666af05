//! Erasure over HTTP: one event, or everything that is about a data subject. Values and subjects come
//! in the body alone: never in a URL, which is logged on its way.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{cursor::Cursor, erased::What, extract, problem::Problem};
use crate::{
    access::Caller,
    domain::ids::{EventId, Identity, Invalid, Source},
    host::App,
    store::{
        erasure::{ErasedEvent, Erasure, ErasureError},
        history::HistoryError,
        keys,
        registry::Tenant,
        rows,
    },
};

/// How long one call works before it answers `next`.
const WORK: Duration = Duration::from_secs(15);
/// Longest reason, in bytes, and most pointers.
const MAX: (usize, usize) = (1_024, 32);
/// Events erased at the same time: they share commits.
const PARALLEL: usize = 8;
/// Dead letters looked at once.
const LETTERS: usize = 50;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    #[serde(default)]
    event: Option<EventRef>,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    pointers: Vec<String>,
    /// Also who acted in that event.
    #[serde(default)]
    actor: bool,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventRef {
    source: Source,
    id: EventId,
}

#[derive(Deserialize)]
pub(super) struct EraseQuery {
    cursor: Option<String>,
}

/// `POST tenants/{tenant}/erasures`. An answer with `next` is not the last: send the same body again
/// with it as `cursor`.
pub(super) async fn erase(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(tenant): Path<String>,
    Query(query): Query<EraseQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let tenant = extract::tenant(&app, &tenant).await?;
    extract::check_length(&headers)?;
    let (what, erasure) = parse(&caller, &tenant, &body)?;
    let until = Instant::now() + WORK;
    let from = Cursor::read(&tenant, query.cursor.as_deref(), |cursor| match cursor {
        Cursor::Erase { from } => Some(from),
        _ => None,
    })?;
    let (events, more) = match &what {
        What::Event(identity) if from.is_none() => {
            (app.store.erase(&tenant, identity, &erasure, until).await?.into_iter().collect(), false)
        }
        What::Event(_) => (Vec::new(), false),
        What::Subject(subject) => erase_subject(&app, &tenant, subject, &erasure, until).await?,
    };
    let (letters, next) = match more {
        true => (0, Some(from.unwrap_or_default())),
        false => erase_letters(&app, &tenant, &what, &erasure, from, until).await?,
    };
    if events.is_empty()
        && letters == 0
        && next.is_none()
        && matches!(what, What::Event(_))
        && query.cursor.is_none()
    {
        return Err(Problem::not_found("unknown-event", "event"));
    }
    Ok(Json(json!({
        "erased": events.iter().filter(|event| !event.already).map(view).collect::<Vec<_>>(),
        "alreadyErased": events.iter().filter(|event| event.already).map(view).collect::<Vec<_>>(),
        "deadLetters": letters,
        "time": app.store.clock().now().to_micros(),
        "next": next.map(|from| Cursor::Erase { from }.seal(&tenant)),
    }))
    .into_response())
}

fn view(event: &ErasedEvent) -> Value {
    json!({ "position": event.position, "erasure": event.erasure })
}

fn parse(caller: &Caller, tenant: &Tenant, body: &[u8]) -> Result<(What, Erasure), Problem> {
    // serde may repeat a value in its message: only the place is told.
    let body: Body = serde_json::from_slice(body).map_err(|error| {
        let detail = format!("the body is not an erasure (line {}, column {})", error.line(), error.column());
        Problem::new(StatusCode::BAD_REQUEST, "invalid-request", detail)
    })?;
    if body.reason.trim().is_empty() || body.reason.len() > MAX.0 {
        return Err(Invalid::new("reason", format!("must be 1 to {} bytes: it stays for ever", MAX.0)).into());
    }
    if body.pointers.len() > MAX.1 || body.pointers.iter().any(|pointer| !pointer.starts_with('/')) {
        let rule = format!("must be at most {} JSON pointers, each beginning with `/`", MAX.1);
        return Err(Invalid::new("pointers", rule).into());
    }
    let (what, actor) = match (body.event, body.subject) {
        (Some(EventRef { source, id }), None) => {
            (What::Event(Identity { source, id }), body.actor.then(|| "*".to_owned()))
        }
        (None, Some(subject)) if !subject.is_empty() => (What::Subject(subject.clone()), Some(subject)),
        _ => return Err(Invalid::new("event", "must be given, or `subject`, and not both").into()),
    };
    let by = caller.acting(&tenant.id, None)?;
    let erasure = Erasure {
        pointers: body.pointers,
        actor,
        reason: body.reason,
        by,
        recorded_by: caller.recorded_by(),
    };
    Ok((what, erasure))
}

/// Erases what is about a subject; the flag tells that some is left. An erased event has no link
/// any more, so that doing it again goes on where it ended.
async fn erase_subject(
    app: &App,
    tenant: &Arc<Tenant>,
    subject: &str,
    erasure: &Erasure,
    until: Instant,
) -> Result<(Vec<ErasedEvent>, bool), Problem> {
    let log = app.store.log(tenant);
    let hash = crate::store::subject_hash(tenant, subject);
    let mut erased = Vec::new();
    for partition in tenant.partitions() {
        let mut range = keys::subjects(&hash);
        loop {
            let page = log.scan(partition, &range, 64).await.map_err(HistoryError::from)?;
            let links = page.rows.iter().map(|stored| rows::read_link(&stored.row));
            let links = links.collect::<Result<Vec<_>, _>>().map_err(HistoryError::from)?;
            let mut work = stream::iter(links)
                .map(|(stream, version, _)| async move {
                    app.store.erase_at(tenant, partition, &stream, version, erasure, until).await
                })
                .buffer_unordered(PARALLEL);
            while let Some(event) = work.next().await {
                match event {
                    Ok(event) => erased.push(event),
                    Err(_) if Instant::now() >= until => return Ok((erased, true)),
                    Err(error) => return Err(error.into()),
                }
            }
            match page.next {
                Some(next) => range.from = next,
                None => break,
            }
            if Instant::now() >= until {
                return Ok((erased, true));
            }
        }
    }
    Ok((erased, false))
}

/// Removes the dead letters that hold what is erased: a message that was never stored is no history.
/// That one was removed, by whom and why, is recorded first.
async fn erase_letters(
    app: &App,
    tenant: &Arc<Tenant>,
    what: &What,
    erasure: &Erasure,
    from: Option<String>,
    until: Instant,
) -> Result<(usize, Option<String>), Problem> {
    let letters = app.store.dead_letters(Some(tenant));
    let (mut from, mut count) = (from.filter(|from| !from.is_empty()), 0);
    loop {
        let page = letters.list(from.clone(), LETTERS).await?;
        for letter in page.letters.iter().filter(|letter| what.is_in(&letter.body)) {
            let id = letter.id();
            app.store.record_letter_erasure(tenant, &id.to_string(), erasure, until).await?;
            letters.remove(id).await?;
            count += 1;
        }
        match page.next {
            None => return Ok((count, None)),
            next if Instant::now() >= until => return Ok((count, next)),
            next => from = next,
        }
    }
}

impl From<ErasureError> for Problem {
    fn from(error: ErasureError) -> Self {
        match error {
            ErasureError::Nowhere(nowhere) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "pointer-to-nothing", nowhere.to_string())
            }
            ErasureError::Store(error) => error.into(),
            ErasureError::History(error) => error.into(),
        }
    }
}

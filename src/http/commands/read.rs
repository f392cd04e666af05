//! What became of a command?

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::time::Instant;

use super::{command_id, views::CommandView, visible};
use crate::{
    access::Caller,
    domain::{
        command::Stage,
        ids::{Invalid, StreamId},
        json as text_json,
    },
    host::App,
    http::{extract, problem::Problem},
    journal::{self, Record, parse},
    store::registry::Tenant,
};

/// Longest wait, in seconds.
const LONGEST: u64 = 20;

#[derive(Deserialize)]
pub(in crate::http) struct OneQuery {
    wait: Option<String>,
}

/// `GET …/commands/{id}`. With `wait`, as soon as its status is another one, or it has ended; with
/// `If-None-Match` as well, as soon as its version is.
pub(in crate::http) async fn one(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((tenant, id)): Path<(String, String)>,
    Query(query): Query<OneQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = command_id(&id)?;
    let wait = query.wait.as_deref().map(seconds).transpose()?;
    let tenant = extract::tenant(&app, &tenant).await?;
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tag| tag.to_str().ok());
    let known = known.and_then(|tag| tag.trim_matches('"').parse().ok());
    let read = Reading { app: &app, caller: &caller, tenant: &tenant, id: &id };
    let (record, hurried) = match wait {
        None => (read.now().await?, false),
        Some(wait) => read.changed(known, Instant::now() + wait).await?,
    };
    let view = CommandView::of(&tenant, &record, app.store.clock().now());
    let mut response = Json(view).into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", record.version)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    if hurried {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}

struct Reading<'a> {
    app: &'a App,
    caller: &'a Caller,
    tenant: &'a Arc<Tenant>,
    id: &'a StreamId,
}

impl Reading<'_> {
    async fn now(&self) -> Result<Record, Problem> {
        visible(self.caller, self.tenant, self.app.journal.read(self.tenant, self.id).await?)
    }

    fn stage(&self, record: &Record) -> Option<Stage> {
        let now = self.app.store.clock().now();
        record.command.as_ref().map(|command| command.stage_at(now))
    }

    /// Waits for a change; the flag tells that there was no place to wait in.
    async fn changed(&self, known: Option<u64>, until: Instant) -> Result<(Record, bool), Problem> {
        // First the place, then the look: no change falls in between.
        let watching = self.app.journal.watch(self.tenant, self.id);
        let first = self.now().await?;
        let Ok(mut watching) = watching else { return Ok((first, true)) };
        let stage = self.stage(&first);
        let ended = |stage: &Option<Stage>| stage.as_ref().is_none_or(Stage::is_final);
        if known.is_some_and(|known| known != first.version) || ended(&stage) {
            return Ok((first, false));
        }
        let mut record = first;
        loop {
            let passing = self.stage(&record);
            let moved = match known {
                Some(known) => known != record.version,
                None => passing.as_ref().map(Stage::status) != stage.as_ref().map(Stage::status),
            };
            if moved || ended(&passing) || Instant::now() >= until {
                return Ok((record, false));
            }
            // What falls due changes the status by itself.
            let due = passing.as_ref().and_then(Stage::due).map(|due| {
                Instant::now() + due.since(self.app.store.clock().now()) + Duration::from_millis(1)
            });
            if watching.changed(due.map_or(until, |due| due.min(until))).await {
                record = self.now().await?;
            }
        }
    }
}

fn seconds(text: &str) -> Result<Duration, Problem> {
    let seconds = text.parse().ok().filter(|seconds| (0..=LONGEST).contains(seconds));
    let rule = || Invalid::new("wait", format!("must be a number of seconds from 0 to {LONGEST}")).into();
    seconds.map(Duration::from_secs).ok_or_else(rule)
}

#[derive(Deserialize)]
struct Question {
    pointer: String,
    value: Box<RawValue>,
}

/// `POST …/secret-check {pointer, value}`: was this what was shown once?
pub(in crate::http) async fn was_it(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((tenant, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let id = command_id(&id)?;
    let tenant = extract::tenant(&app, &tenant).await?;
    extract::check_length(&headers)?;
    let text = text_json::text(&body)?;
    text_json::check_depth("body", text)?;
    let question: Question = parse(text, &[&["pointer", "value"]])?;
    let record = visible(&caller, &tenant, app.journal.read(&tenant, &id).await?)?;
    let kept = record.fingerprint(&question.pointer);
    let kept = kept.ok_or_else(|| Problem::not_found("no-such-secret", "secret that was shown once"))?;
    let asked = journal::fingerprint(&tenant.key, &id, &question.pointer, question.value.get())?;
    Ok(Json(json!({ "pointer": question.pointer, "matches": asked == kept })).into_response())
}

//! The answers to "is anything altered?" and "is anything missing?".

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::{cursor::Cursor, extract, problem::Problem};
use crate::{
    domain::{ids::Invalid, position::PartitionId},
    host::App,
    store::{dead_letters::COUNTED, digest::Digest, registry::Tenant},
    verify::{self, Anchor, CompletenessError, Options, Outcome, Wanted, completeness},
};

/// How long one call works before it answers `next`.
const WORK: Duration = Duration::from_secs(15);
/// Dead letters in memory at once, to be counted.
const LETTERS: usize = 64;

#[derive(Deserialize)]
pub(super) struct VerifyQuery {
    from: Option<String>,
    include: Option<String>,
    anchors: Option<String>,
    cursor: Option<String>,
}

/// `GET tenants/{tenant}/verification`: recomputes the log. An answer with `next` is not the last:
/// ask again with it as `cursor`. Each tells the partitions and differences of its own call.
pub(super) async fn verification(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    Query(query): Query<VerifyQuery>,
) -> Result<Response, Problem> {
    let tenant = extract::tenant(&app, &tenant).await?;
    let data = match query.include.as_deref() {
        None => false,
        Some("data") => true,
        Some(_) => return Err(Invalid::new("include", "must be `data`").into()),
    };
    let from = query.from.as_deref().map(|text| Cursor::forward(&tenant, text)).transpose()?;
    let anchors = query.anchors.as_deref().map(anchors).transpose()?.unwrap_or_default();
    let begun = Cursor::read(&tenant, query.cursor.as_deref(), |cursor| match cursor {
        Cursor::Verify { state, data, from } => Some((serde_json::from_str(&state).ok()?, data, from)),
        _ => None,
    })?;
    let (state, options) = match begun {
        None => (None, Options { data, from, anchors }),
        Some((state, data, from)) => (Some(state), Options { data, from, anchors }),
    };
    let log = app.store.log(&tenant);
    let outcome = verify::verify(&log, &options, state, Some(Instant::now() + WORK), &|_| {}).await?;
    let body = match outcome {
        Outcome::Done(report) => json!({
            "verified": report.is_clean(),
            "partitions": report.partitions,
            "differences": report.differences,
            "next": null,
        }),
        Outcome::More(mut state) => {
            let (progress, found) = (state.progress(), state.hand_over());
            let state = serde_json::to_string(&state).map_err(|error| Problem::internal(&error))?;
            let next = Cursor::Verify { state, data, from: options.from }.seal(&tenant);
            json!({
                "verified": null,
                "progress": progress,
                "partitions": found.partitions,
                "differences": found.differences,
                "next": next,
            })
        }
    };
    Ok(Json(body).into_response())
}

/// Digests that the caller has kept: `p00-{sequence}-{64 hexadecimal digits}`, joined by commas.
fn anchors(text: &str) -> Result<Vec<Anchor>, Invalid> {
    let one = |text: &str| {
        let mut parts = text.splitn(3, '-');
        let partition = PartitionId::parse(parts.next()?)?;
        let sequence = parts.next()?.parse().ok()?;
        let digest = Digest::from_slice(&hex::decode(parts.next()?).ok()?)?;
        Some(Anchor { partition, sequence, digest })
    };
    let all: Option<Vec<_>> = text.split(',').map(one).collect();
    all.filter(|all| all.len() <= 64).ok_or_else(|| {
        Invalid::new("anchors", "must be `partition-sequence-digest`, at most 64 of them joined by commas")
    })
}

#[derive(Deserialize)]
pub(super) struct CompleteQuery {
    from: Option<String>,
    to: Option<String>,
    until: Option<String>,
    cursor: Option<String>,
}

/// `GET tenants/{tenant}/completeness`: the answer to "how do I know that nothing is missing?".
pub(super) async fn complete(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    Query(query): Query<CompleteQuery>,
) -> Result<Response, Problem> {
    let tenant = extract::tenant(&app, &tenant).await?;
    let from = extract::time("from", query.from.as_deref())?;
    let to = extract::time("to", query.to.as_deref())?;
    let at = query.until.as_deref().map(|text| Cursor::forward(&tenant, text)).transpose()?;
    let state = Cursor::read(&tenant, query.cursor.as_deref(), |cursor| match cursor {
        Cursor::Complete { state } => serde_json::from_str(&state).ok(),
        _ => None,
    })?;
    let log = app.store.log(&tenant);
    let until = Instant::now() + WORK;
    let mut state = completeness(&log, &Wanted { from, to, at }, state, until).await?;
    if !state.is_done() {
        let (partitions, gaps) = state.hand_over();
        let text = serde_json::to_string(&state).map_err(|error| Problem::internal(&error))?;
        let next = Cursor::Complete { state: text }.seal(&tenant);
        let found =
            json!({ "complete": null, "closed": null, "partitions": partitions, "gaps": gaps, "next": next });
        return Ok(Json(found).into_response());
    }
    let waiting = waiting(&app, &tenant).await?;
    Ok(Json(json!({
        "complete": state.is_complete(),
        "closed": state.is_closed(),
        "from": from,
        "to": to,
        "events": state.events(),
        "partitions": state.partitions(),
        "gaps": state.gaps(),
        "waiting": waiting,
        "next": null,
    }))
    .into_response())
}

/// What has not come to its end: events not stored yet, commits not published yet, dead letters.
async fn waiting(app: &App, tenant: &Arc<Tenant>) -> Result<serde_json::Value, Problem> {
    let debts = app.store.debts(tenant);
    let mut owed = 0;
    for partition in tenant.partitions() {
        owed += debts.oldest(partition).await.map_err(|error| Problem::unavailable(&error))?.len();
    }
    let depth = async |queue| app.queues.state(queue).await.ok().map(|state| state.depth);
    let (letters, more) = letters(app, tenant).await?;
    Ok(json!({
        // Of all tenants: a queue does not know whose its messages are. Null: it does not say.
        "ingestQueue": depth(&app.ingest_queue).await,
        "publishQueue": depth(&app.publish_queue).await,
        "commitsToPublish": owed,
        // At least so many, where there are more.
        "deadLetters": letters,
        "moreDeadLetters": more,
    }))
}

/// How many dead letters wait, among the first [`COUNTED`], and whether there are others: a letter is as
/// large as a message, and is read whole.
async fn letters(app: &App, tenant: &Tenant) -> Result<(usize, bool), Problem> {
    let letters = app.store.dead_letters(Some(tenant));
    let (mut from, mut open, mut read) = (None, 0, 0);
    loop {
        let page = letters.list(from, LETTERS).await?;
        read += page.letters.len();
        open += page.letters.iter().filter(|letter| letter.replayed.is_none()).count();
        from = page.next;
        if from.is_none() || read >= COUNTED {
            return Ok((open, from.is_some()));
        }
    }
}

impl From<CompletenessError> for Problem {
    fn from(error: CompletenessError) -> Self {
        match error {
            CompletenessError::History(error) => error.into(),
        }
    }
}

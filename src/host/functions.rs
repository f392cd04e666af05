//! The functions. Each answers 200 with a JSON object, or fails so that the host tries again.

use std::{future::Future, panic::AssertUnwindSafe};

use axum::{
    Json,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use tokio::time::{Duration, Instant, timeout};
use tracing::Instrument;

use super::{
    App, again, dead,
    guard::{Genuine, Invocation},
    ingest::{self, Chance, IngestError, Outcome},
    turns::OthersTry,
    wire::{QueueMessage, Success, WireError},
};
use crate::{
    checkpoint::CheckpointError,
    feed::{
        Feed,
        handover::{HandoverError, PublishMessage},
        replay::{self, ReplayError, ReplayMessage, ReplayState},
    },
    journal::SweepError,
    queue::PutError,
    store::{
        dead_letters::DeadLetterError,
        debts::DebtError,
        registry::{RegistryError, Tenant},
        rows::BadRow,
    },
    telemetry::{chain, trace::Trace},
};

/// Longest time that an invocation takes before it fails: storage that has fallen silent must not
/// hold the host's messages for ever.
const LIMIT: Duration = Duration::from_secs(28);

/// Why an invocation fails. The host gives the message back to its queue.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the invocation cannot be read")]
    Wire(#[from] WireError),
    #[error("the message is not stored")]
    Ingest(#[from] IngestError),
    #[error("the message could not be put back")]
    PutBack(#[from] PutError),
    #[error("the commit cannot be published")]
    Debt(#[from] DebtError),
    #[error("the registry did not answer")]
    Registry(#[from] RegistryError),
    #[error("a dead letter was not kept")]
    DeadLetter(#[from] DeadLetterError),
    #[error("a stored row cannot be read")]
    Bad(#[from] BadRow),
    #[error("a tenant's change feed is on, but ANNALS_PUBLIC_URL is not set")]
    NoPublicUrl,
    #[error("feed debt was not handed over")]
    Handover(#[from] HandoverError),
    #[error("storage gave no answer in time")]
    Late,
    #[error("what is due was not all put on record")]
    Sweep(#[from] SweepError),
    #[error("a commit is not published")]
    OthersTry(#[from] OthersTry),
    #[error("the host does not forward HTTP requests")]
    NotForwarded,
    #[error("a replay did not go on")]
    Replay(#[from] ReplayError),
    #[error("a checkpoint was not made")]
    Checkpoint(#[from] CheckpointError),
    #[error("an internal error")]
    Panic,
}

pub(super) type Invoked = Result<Success, Failure>;

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        // The host ignores the body; the log line has said it.
        (StatusCode::INTERNAL_SERVER_ERROR, Json(serde_json::json!({ "error": self.to_string() })))
            .into_response()
    }
}

/// Runs an invocation, writes its one log line, and turns a panic into a failure.
pub(super) async fn invocation(
    function: &'static str,
    limit: Duration,
    headers: &HeaderMap,
    work: impl Future<Output = Result<(Success, Outcome), Failure>>,
) -> Invoked {
    let started = Instant::now();
    let id = headers.get_all("x-azure-functions-invocationid").iter().next_back();
    let invocation_id = id.and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let trace = Trace::of(headers);
    let span = tracing::info_span!("invocation", function, invocation_id, trace_id = trace.id());
    trace.adopt(&span);
    let work = trace.clone().scope(AssertUnwindSafe(work).catch_unwind().instrument(span));
    let result = match timeout(limit, work).await {
        Ok(result) => result.unwrap_or(Err(Failure::Panic)),
        Err(_) => Err(Failure::Late),
    };
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match result {
        Ok((success, Outcome { events, stored, duplicates, dead, about })) => {
            tracing::info!(
                evt = "invocation",
                function,
                invocation_id,
                tenant = about.one_tenant(),
                stream = about.one_stream(),
                stored,
                duplicates,
                dead,
                published = events.len(),
                duration_ms,
                trace_id = about.trace_id(&trace)
            );
            Ok(if events.is_empty() { success } else { Success::publishing(events) })
        }
        Err(failure) => {
            let (error, trace_id) = (chain(&failure), trace.id());
            tracing::error!(evt = "invocation.failed", function, invocation_id, error, duration_ms, trace_id);
            Err(failure)
        }
    }
}

pub(super) fn done(outcome: Outcome) -> (Success, Outcome) {
    (Success::silent(), outcome)
}

/// Stores a message and publishes what it stored.
pub(super) async fn ingest(Invocation { app, headers, body }: Invocation) -> Invoked {
    invocation("ingest", LIMIT, &headers, async {
        let message = QueueMessage::parse(&body)?;
        let queue = app.ingest_queue.as_str();
        let work = AssertUnwindSafe(ingest::ingest(&app, queue, &message, Chance::Another)).catch_unwind();
        match work.await {
            Ok(outcome) => Ok(done(outcome?)),
            Err(_) if message.dequeue_count >= ingest::GIVE_UP => {
                ingest::bury_whole(&app, queue, &message).await?;
                Ok(done(Outcome { dead: 1, ..Outcome::default() }))
            }
            Err(_) => Err(Failure::Panic),
        }
    })
    .await
}

/// Tries once more to store a message; puts it back while storage is down, and when its events could
/// not be published the last time; keeps it as a dead letter otherwise. A poison queue has no poison
/// queue of its own: past its tries a message is gone, so this must not fail lightly.
pub(super) async fn ingest_poison(Invocation { app, headers, body }: Invocation) -> Invoked {
    invocation("ingest-poison", LIMIT, &headers, async {
        let message = QueueMessage::parse(&body)?;
        let queue = format!("{}-poison", app.ingest_queue);
        let work = AssertUnwindSafe(ingest::ingest(&app, &queue, &message, Chance::Last)).catch_unwind();
        match work.await {
            Ok(Ok(outcome)) if message.dequeue_count > 1 && !outcome.events.is_empty() => {
                tracing::warn!(evt = "ingest.put-back", "nothing is published: the message goes back");
                app.queues.put(&app.ingest_queue, &message.body).await?;
                Ok(done(Outcome { events: Vec::new(), ..outcome }))
            }
            Ok(Ok(outcome)) => Ok(done(outcome)),
            Ok(Err(error)) => {
                tracing::warn!(
                    evt = "ingest.put-back",
                    error = chain(&error),
                    "storage is down: the message goes back"
                );
                app.queues.put(&app.ingest_queue, &message.body).await?;
                Ok(done(Outcome::default()))
            }
            Err(_) => {
                ingest::bury_whole(&app, &queue, &message).await?;
                Ok(done(Outcome { dead: 1, ..Outcome::default() }))
            }
        }
    })
    .await
}

/// Publishes a commit: those of its events that `ingest` did not publish itself.
pub(super) async fn publish(Invocation { app, headers, body }: Invocation) -> Invoked {
    invocation("publish", LIMIT, &headers, async {
        let message = QueueMessage::parse(&body)?;
        if let Ok(request) = serde_json::from_slice::<ReplayMessage>(&message.body) {
            return again::replay(&app, &message, &request).await;
        }
        let queue = app.publish_queue.as_str();
        let Ok(request) = serde_json::from_slice::<PublishMessage>(&message.body) else {
            return bury(
                &app,
                None,
                queue,
                &message,
                "not-a-publish-message",
                "must be one of our own messages",
            )
            .await;
        };
        let Some(tenant) = app.store.registry().get(&request.tenant).await? else {
            return bury(
                &app,
                None,
                queue,
                &message,
                "unknown-tenant",
                "`tenant` must name a registered tenant",
            )
            .await;
        };
        if !tenant.settings.change_feed.enabled {
            return Ok(done(Outcome::default()));
        }
        let public_url = app.public_url.as_ref().ok_or(Failure::NoPublicUrl)?;
        let turn = app.turns.take(&tenant.id)?;
        let commit = app.store.debts(&tenant).commit(request.partition, request.last).await;
        turn.answered(commit.is_ok());
        let Some(commit) = commit? else {
            return bury(
                &app,
                Some(&tenant),
                queue,
                &message,
                "no-such-commit",
                "`last` must be the end of a commit",
            )
            .await;
        };
        let feed = Feed { tenant: &tenant, public_url };
        let events = commit.events()?.into_iter().filter(|event| !event.ingest);
        let events =
            events.filter_map(|event| feed.event(request.partition, commit.recorded, &event)).collect();
        let mut outcome = Outcome { events, ..Outcome::default() };
        outcome.about.tenant(&tenant.id);
        Ok(done(outcome))
    })
    .await
}

/// Writes the feed debt again, so that the sweep hands the commit over once more.
pub(super) async fn publish_poison(Invocation { app, headers, body }: Invocation) -> Invoked {
    invocation("publish-poison", LIMIT, &headers, async {
        let message = QueueMessage::parse(&body)?;
        if let Ok(request) = serde_json::from_slice::<ReplayMessage>(&message.body) {
            if let Some(tenant) = app.store.registry().get(&request.tenant).await? {
                let queue = (app.queues.as_ref(), &app.publish_queue);
                replay::set(&app.store, &tenant, queue, &request.replay, ReplayState::Stalled).await?;
                tracing::warn!(evt = "feed.replay-stalled", tenant = %tenant.id, replay = request.replay);
            }
            return Ok(done(Outcome::default()));
        }
        let queue = format!("{}-poison", app.publish_queue);
        let Ok(request) = serde_json::from_slice::<PublishMessage>(&message.body) else {
            return bury(&app, None, &queue, &message, "not-a-publish-message", "must be one of our own messages").await;
        };
        let Some(tenant) = app.store.registry().get(&request.tenant).await? else {
            return bury(&app, None, &queue, &message, "unknown-tenant", "`tenant` must name a registered tenant").await;
        };
        let now = app.store.clock().now().to_micros();
        app.store.debts(&tenant).owe(request.partition, request.last, now).await?;
        tracing::warn!(evt = "feed.owed-again", tenant = %tenant.id, partition = %request.partition, last = request.last);
        Ok(done(Outcome::default()))
    })
    .await
}

/// The `http` function is forwarded as it is and never invoked. This is reached only when forwarding
/// was switched off: the invocation fails, with a log line that says what to set.
pub(super) async fn http(_: Genuine) -> Failure {
    tracing::error!(
        evt = "host.not-forwarding",
        "host.json must set customHandler.enableForwardingHttpRequest: nothing is served over HTTP"
    );
    Failure::NotForwarded
}

/// Keeps a message of the publish queue that is none.
async fn bury(
    app: &App,
    tenant: Option<&Tenant>,
    queue: &str,
    message: &QueueMessage,
    code: &str,
    reason: &str,
) -> Result<(Success, Outcome), Failure> {
    dead::keep(app, tenant, queue, message, &message.body, code, reason).await?;
    Ok(done(Outcome { dead: 1, ..Outcome::default() }))
}

//! The Functions host's side: one route for each function, and the guard in front of them.

mod about;
mod again;
mod commands;
mod dead;
mod functions;
mod gauge;
mod guard;
mod ingest;
mod serve;
mod timers;
mod turns;
mod wire;

use std::{collections::BTreeSet, sync::Arc};

pub use self::serve::{ServeError, app, end_with_parent, serve, tool};
use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{any, get},
};

use self::guard::Host;
use crate::{
    checkpoint::Checkpoints,
    config::SiloRules,
    domain::ids::TenantId,
    feed::{all_stream::Waiters, handover::Handover},
    http::Gatekeeper,
    journal::Journal,
    links::PublicUrl,
    queue::{QueueName, Queues},
    store::Store,
};

/// All that a request may need.
#[derive(Debug)]
pub struct App {
    /// The store.
    pub store: Arc<Store>,
    /// Commands and what becomes of them.
    pub journal: Journal,
    /// Hands commits over to the publish queue.
    pub handover: Handover,
    /// Puts messages back.
    pub queues: Arc<dyn Queues>,
    /// Where messages come in.
    pub ingest_queue: QueueName,
    /// Where commits wait to be published.
    pub publish_queue: QueueName,
    /// The base of links, if it is known.
    pub public_url: Option<PublicUrl>,
    /// Signs where each log ends.
    pub checkpoints: Checkpoints,
    /// Requests that wait for news of a log.
    pub waiters: Waiters,
    /// Tenants that the queue may write to; all, if `None`.
    pub queue_tenants: Option<BTreeSet<TenantId>>,
    /// Whose messages may wait for storage.
    pub(crate) turns: turns::Turns,
    /// Knows who is calling.
    pub(crate) gatekeeper: Gatekeeper,
    /// Which addresses may be a tenant's own account.
    pub(crate) silos: SiloRules,
}

/// Everything that the handler serves on its loopback port: the ping, the functions, the API.
pub fn router(app: Arc<App>, port: u16) -> Router {
    // Every method: a forged invocation is told from whatever else is asked of a function.
    let functions = Router::new()
        .route("/ingest", any(functions::ingest))
        .route("/ingest-poison", any(functions::ingest_poison))
        .route("/publish", any(functions::publish))
        .route("/publish-poison", any(functions::publish_poison))
        .route("/sweep", any(timers::sweep))
        .route("/gauge", any(timers::gauge))
        .route("/http", any(functions::http))
        .route("/checkpoint", any(timers::checkpoint))
        .with_state(Arc::new(Host { app: Arc::clone(&app), own: format!("127.0.0.1:{port}") }));
    Router::new()
        .route("/", get(ping))
        .merge(functions)
        .nest("/api", crate::http::router(&app))
        .fallback(nothing_here)
        .with_state(app)
}

/// The host's readiness probe and health ping. Touches nothing.
async fn ping() -> &'static str {
    "annals\n"
}

async fn nothing_here() -> Response {
    StatusCode::NOT_FOUND.into_response()
}

#[cfg(test)]
mod tests;

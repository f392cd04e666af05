//! The Functions host's side: one route for each function, and the guard in front of them.
//!
//! A path that the host forwards can be made to collapse onto `/ingest` (`%252e%252e`): a forged
//! invocation. Function routes therefore take a request only when its `Host` is our own loopback
//! address, which a forwarded request, keeping the public one, never has.

mod about;
mod again;
mod commands;
mod dead;
mod functions;
mod gauge;
mod ingest;
mod serve;
mod timers;
mod turns;
mod wire;

use std::{collections::BTreeSet, sync::Arc};

pub use self::serve::{ServeError, app, end_with_parent, serve, tool};
use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header::HOST},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};

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
    let functions = Router::new()
        .route("/ingest", post(functions::ingest))
        .route("/ingest-poison", post(functions::ingest_poison))
        .route("/publish", post(functions::publish))
        .route("/publish-poison", post(functions::publish_poison))
        .route("/sweep", post(timers::sweep))
        .route("/gauge", post(timers::gauge))
        .route("/http", post(functions::http))
        .route("/checkpoint", post(timers::checkpoint))
        .route_layer(middleware::from_fn_with_state(Arc::from(format!("127.0.0.1:{port}")), only_the_host));
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

/// Lets an invocation through only when it comes from the Functions host itself.
async fn only_the_host(State(own): State<Arc<str>>, request: Request, next: Next) -> Response {
    let mut hosts = request.headers().get_all(HOST).iter();
    let genuine =
        hosts.next().is_some_and(|host| host.as_bytes() == own.as_bytes()) && hosts.next().is_none();
    if genuine && request.uri().authority().is_none() {
        return next.run(request).await;
    }
    tracing::warn!(evt = "host.forged-invocation", path = request.uri().path(), "refused");
    StatusCode::NOT_FOUND.into_response()
}

#[cfg(test)]
mod tests;

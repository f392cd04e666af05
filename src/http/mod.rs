//! The HTTP API: the one route table, and the one stack of layers in front of it.

mod all_stream;
mod buckets;
mod checkpoints;
mod commands;
mod consumers;
mod cursor;
mod dead_letters;
mod erased;
mod erasures;
mod events;
mod export;
mod extract;
mod gate;
mod identify;
mod keys;
mod ledger;
mod problem;
mod replays;
mod roles;
mod routes;
mod streams;
mod tenants;
mod verification;
mod views;

use std::{any::Any, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use self::problem::Problem;
pub(crate) use self::{
    gate::Gatekeeper,
    keys::{check_label, view as api_key_view},
    roles::{check_principal, sorted as sorted_roles},
    views::TenantView,
};
use crate::{access::Caller, host::App, telemetry::trace::Trace};

/// Largest body taken. An event has at most 512 KiB of data; a batch must fit into one commit
/// of 4 MiB, and base64 adds a third.
const MAX_BODY: usize = 6 * 1024 * 1024;

/// Every route under `/api`.
pub(crate) fn router(app: &Arc<App>) -> Router<Arc<App>> {
    routes::table()
        .into_iter()
        .fold(Router::new(), |router, route| {
            let path = route.path;
            router.route(path, gate::guard(app, route))
        })
        .fallback(async || Problem::not_found("unknown-route", "route"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "this route has other methods")
        })
        .layer(middleware::map_response(explained))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(logged))
}

/// The same routes for somebody who holds storage itself, and needs no gate: the command line.
pub(crate) fn local_router(app: &Arc<App>) -> Router {
    let caller = Caller::local();
    routes::table()
        .into_iter()
        .fold(Router::new(), |router, route| router.route(route.path, route.handler))
        .layer(middleware::from_fn(move |mut request: Request, next: Next| {
            request.extensions_mut().insert(caller.clone());
            next.run(request)
        }))
        .with_state(Arc::clone(app))
}

/// What the framework itself refuses, in plain text, becomes a problem like any other.
async fn explained(response: Response) -> Response {
    let status = response.status();
    let plain =
        response.headers().get(CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !plain || !status.is_client_error() {
        return response;
    }
    let detail = "the path, the query or the body cannot be read: each parameter comes once, and in UTF-8";
    Problem::new(status, "invalid-request", detail).into_response()
}

/// A panic is a bug of ours: the caller may try again, and the log says where it was.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal-error", "something went wrong on our side")
        .into_response()
}

/// One line a request: never its query, headers or body.
async fn logged(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let trace = Trace::of(request.headers());
    let span = tracing::info_span!("request", %method, path, trace_id = trace.id());
    trace.adopt(&span);
    let trace_id = trace.id().map(str::to_owned);
    let response = trace.scope(next.run(request).instrument(span)).await;
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let status = response.status().as_u16();
    tracing::info!(evt = "request", %method, path, status, duration_ms, trace_id);
    response
}

#[cfg(test)]
mod tests;

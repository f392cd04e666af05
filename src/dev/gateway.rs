//! The front door: what clients of the real host see, and the doors of `annals dev` itself.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{DefaultBodyLimit, Path, Query, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    definitions::{Function, Trigger},
    invoke::{HOST_VERSION, Invoker, timer_body},
    mangle,
    queues::{MAX_MESSAGE, QueueService},
};

/// Largest body that the host passes on.
const MAX_BODY: usize = 100 * 1024 * 1024;

const NO_LENGTH: &str = "the Functions host cannot forward a body of unknown length (Transfer-Encoding: chunked): \
    send it with a Content-Length\n";

/// What the doors need.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) invoker: Arc<Invoker>,
    pub(super) queues: Arc<QueueService>,
    pub(super) functions: Vec<Function>,
    pub(super) port: u16,
}

/// All doors.
pub(super) fn router(gateway: Arc<Gateway>, route_prefix: &str) -> Router {
    let mut router = Router::new()
        .route("/dev/queues", get(queues))
        .route("/dev/queues/{queue}/messages", post(put))
        .route("/dev/timers/{function}", post(fire))
        .route("/dev/change-feed", get(change_feed));
    if gateway.functions.iter().any(|function| matches!(function.trigger, Trigger::Http)) {
        router = router.route(&format!("/{route_prefix}/{{*path}}"), any(forward));
    }
    router
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(Arc::clone(&gateway), only_this_machine))
        .with_state(gateway)
}

/// Refuses what a web page could send: a foreign name for us, or a foreign origin.
async fn only_this_machine(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let own = ["localhost", "127.0.0.1", "[::1]"].map(|host| format!("{host}:{}", gateway.port));
    let host = text(header::HOST).is_some_and(|host| own.iter().any(|name| name == host));
    let origin = match headers.get(header::ORIGIN) {
        None => true,
        Some(origin) => own.iter().any(|name| origin.as_bytes() == format!("http://{name}").as_bytes()),
    };
    let site = headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none");
    if host && origin && site {
        return next.run(request).await;
    }
    tracing::warn!(
        path = request.uri().path(),
        "refused a request that did not come from this machine itself"
    );
    (StatusCode::FORBIDDEN, "annals dev answers this machine alone\n").into_response()
}

async fn put(State(gateway): State<Arc<Gateway>>, Path(queue): Path<String>, body: Bytes) -> Response {
    if crate::queue::QueueName::new(&queue).is_none() {
        return (StatusCode::BAD_REQUEST, "a queue name is 3 to 63 lower-case letters, digits and hyphens\n")
            .into_response();
    }
    if body.len() > MAX_MESSAGE {
        return (StatusCode::PAYLOAD_TOO_LARGE, "a queue message has at most 64 KiB\n").into_response();
    }
    let id = gateway.queues.put(&queue, body.to_vec());
    (StatusCode::ACCEPTED, Json(json!({ "id": id, "queue": queue }))).into_response()
}

async fn queues(State(gateway): State<Arc<Gateway>>) -> Response {
    Json(gateway.queues.depths()).into_response()
}

async fn fire(State(gateway): State<Arc<Gateway>>, Path(name): Path<String>) -> Response {
    let function = gateway.functions.iter().find(|function| function.name == name);
    let Some((function, Trigger::Timer { binding, .. })) =
        function.map(|function| (function, &function.trigger))
    else {
        return (StatusCode::NOT_FOUND, "there is no such timer function\n").into_response();
    };
    match gateway.invoker.invoke(function, &timer_body(binding)).await {
        Ok(_) => Json(json!({ "function": name, "succeeded": true })).into_response(),
        Err(error) => {
            let error = crate::telemetry::chain(&error);
            (StatusCode::BAD_GATEWAY, Json(json!({ "function": name, "succeeded": false, "error": error })))
                .into_response()
        }
    }
}

#[derive(Deserialize)]
struct Window {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

async fn change_feed(State(gateway): State<Arc<Gateway>>, Query(window): Query<Window>) -> Response {
    Json(gateway.invoker.feed.page(window.after, window.limit.unwrap_or(1_000))).into_response()
}

/// Forwards as `enableForwardingHttpRequest` does: method kept, path and query taken apart and
/// put together again, headers copied, a body only if its length was given, everything buffered.
async fn forward(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if parts.headers.contains_key(header::TRANSFER_ENCODING) {
        return (StatusCode::LENGTH_REQUIRED, NO_LENGTH).into_response();
    }
    let target = format!(
        "{}{}{}",
        gateway.invoker.handler.url(),
        mangle::path(parts.uri.path()),
        mangle::query(parts.uri.query().unwrap_or_default())
    );
    let mut headers = HeaderMap::new();
    for (name, value) in &parts.headers {
        if !matches!(*name, header::CONTENT_LENGTH | header::CONNECTION | header::CONTENT_ENCODING) {
            headers.append(name, value.clone());
        }
    }
    let invocation = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string());
    headers.append("x-azure-functions-hostversion", HeaderValue::from_static(HOST_VERSION));
    if let Ok(id) = invocation {
        headers.append("x-azure-functions-invocationid", id);
    }
    let has_length = parts.headers.contains_key(header::CONTENT_LENGTH);
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let sent = gateway.invoker.send(|client| {
        let request = client.request(parts.method.clone(), &target).headers(headers.clone());
        if has_length { request.body(body.clone()) } else { request }
    });
    match sent.await {
        Ok(answer) => answered(answer).await,
        Err(error) => {
            tracing::warn!(%error, "the handler did not answer");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn answered(answer: reqwest::Response) -> Response {
    let (status, headers) = (answer.status(), answer.headers().clone());
    let Ok(body) = answer.bytes().await else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    for (name, value) in &headers {
        if !matches!(*name, header::TRANSFER_ENCODING | header::CONTENT_LENGTH | header::CONNECTION) {
            response.headers_mut().append(name, value.clone());
        }
    }
    response
}

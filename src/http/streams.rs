//! Streams and their history.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    cursor::Cursor,
    extract,
    problem::Problem,
    views::{EventView, StreamView},
};
use crate::{
    domain::ids::{Category, Invalid, Status},
    host::App,
    store::history::Order,
};

#[derive(Deserialize)]
pub(super) struct ListQuery {
    category: Option<String>,
    status: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// `GET tenants/{tenant}/streams`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let tenant = extract::tenant(&app, &tenant).await?;
    let limit = extract::limit(query.limit.as_deref())?;
    let category = query.category.as_deref().map(Category::parse).transpose()?;
    let status = query.status.as_deref().map(Status::parse).transpose()?;
    let from = Cursor::read(&tenant, query.cursor.as_deref(), |cursor| match cursor {
        Cursor::Streams { category, status, from } => {
            ((&category, &status) == (&query.category, &query.status)).then_some(from)
        }
        _ => None,
    })?;
    let page = app.store.history(&tenant).streams(category.as_ref(), status.as_ref(), from, limit).await?;
    let cursor = page.next.map(|from| {
        Cursor::Streams { category: query.category.clone(), status: query.status.clone(), from }.seal(&tenant)
    });
    let streams: Vec<_> = page.streams.iter().map(StreamView::listed).collect();
    Ok(Json(json!({ "streams": streams, "cursor": cursor })).into_response())
}

/// `GET tenants/{tenant}/streams/{category}/{id}`. The ETag is the version, for `If-Match`.
pub(super) async fn one(
    State(app): State<Arc<App>>,
    Path((tenant, category, id)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let name = extract::stream_name(&category, &id)?;
    let tenant = extract::tenant(&app, &tenant).await?;
    let found = app.store.history(&tenant).stream(&name).await?;
    let stream = found.ok_or_else(|| Problem::not_found("unknown-stream", "stream"))?;
    let mut response = Json(StreamView::of(&name, &stream)).into_response();
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", stream.version)) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    Ok(response)
}

#[derive(Deserialize)]
pub(super) struct HistoryQuery {
    from: Option<String>,
    limit: Option<String>,
    order: Option<String>,
    cursor: Option<String>,
}

/// `GET tenants/{tenant}/streams/{category}/{id}/events`.
pub(super) async fn history(
    State(app): State<Arc<App>>,
    Path((tenant, category, id)): Path<(String, String, String)>,
    Query(query): Query<HistoryQuery>,
) -> Result<Response, Problem> {
    let name = extract::stream_name(&category, &id)?;
    let tenant = extract::tenant(&app, &tenant).await?;
    let limit = extract::limit(query.limit.as_deref())?;
    let asked = match query.order.as_deref() {
        None => None,
        Some("asc") => Some(Order::Asc),
        Some("desc") => Some(Order::Desc),
        Some(_) => return Err(Invalid::new("order", "must be `asc` or `desc`").into()),
    };
    let place = Cursor::read(&tenant, query.cursor.as_deref(), |cursor| match cursor {
        Cursor::History { stream, from, order } => {
            let same = stream == name.to_string() && query.from.is_none();
            (same && asked.is_none_or(|asked| asked == order)).then_some((from, order))
        }
        _ => None,
    })?;
    let (from, order) = match place {
        None => (extract::version("from", query.from.as_deref())?, asked.unwrap_or(Order::Asc)),
        Some((from, order)) => (Some(from), order),
    };
    let history = app.store.history(&tenant);
    let page = history.events(&name, from, limit, order).await?;
    // Only an empty page leaves open whether the stream exists at all.
    if page.events.is_empty() && history.stream(&name).await?.is_none() {
        return Err(Problem::not_found("unknown-stream", "stream"));
    }
    let cursor =
        page.next.map(|from| Cursor::History { stream: name.to_string(), from, order }.seal(&tenant));
    let events: Vec<_> = page.events.iter().map(EventView::of).collect();
    Ok(Json(Page { stream: name.to_string(), events, cursor }).into_response())
}

/// A page of events. Not through `json!`, which would parse and rewrite every payload.
#[derive(serde::Serialize)]
struct Page<'a> {
    stream: String,
    events: Vec<EventView<'a>>,
    cursor: Option<String>,
}

//! The all-stream over HTTP, and everything that shares a correlation id.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    cursor::Cursor,
    extract,
    problem::Problem,
    views::{EventView, ItemView},
};
use crate::{
    domain::ids::{Category, CorrelationId, Invalid},
    feed::all_stream::{self, Direction, Filter, Page},
    host::App,
    links,
    store::{actor_filter, history::History, log::Log, registry::Tenant},
};

/// Longest wait for something new, in seconds.
const MAX_WAIT: u64 = 20;

#[derive(Deserialize, Default)]
pub(super) struct AllQuery {
    after: Option<String>,
    until: Option<String>,
    limit: Option<String>,
    #[serde(rename = "type")]
    types: Option<String>,
    category: Option<String>,
    actor: Option<String>,
    correlation: Option<String>,
    from: Option<String>,
    to: Option<String>,
    order: Option<String>,
    include: Option<String>,
    wait: Option<String>,
}

impl AllQuery {
    /// What is asked, and how long to wait for news.
    fn parse(&self, tenant: &Tenant) -> Result<(all_stream::Query, Duration), Problem> {
        let asked = match self.order.as_deref() {
            None => None,
            Some("asc") => Some(Direction::Forward),
            Some("desc") => Some(Direction::Backward),
            Some(_) => return Err(Invalid::new("order", "must be `asc` or `desc`").into()),
        };
        let after = Cursor::read(tenant, self.after.as_deref(), |cursor| match cursor {
            Cursor::All { at, order } if asked.is_none_or(|asked| asked == order) => Some((at, order)),
            _ => None,
        })?;
        let (after, direction) = match after {
            None => (None, asked.unwrap_or(Direction::Forward)),
            Some((at, order)) => (Some(at), order),
        };
        let until = Cursor::read(tenant, self.until.as_deref(), |cursor| match cursor {
            Cursor::All { at, order: Direction::Forward } if direction == Direction::Forward => Some(at),
            _ => None,
        })?;
        let data = match self.include.as_deref() {
            None => false,
            Some("data") => true,
            Some(_) => return Err(Invalid::new("include", "must be `data`").into()),
        };
        let query = all_stream::Query {
            after,
            until,
            from: extract::time("from", self.from.as_deref())?,
            to: extract::time("to", self.to.as_deref())?,
            direction,
            filter: self.filter(tenant)?,
            limit: extract::limit(self.limit.as_deref())?,
            data,
        };
        Ok((query, self.wait(direction)?))
    }

    fn filter(&self, tenant: &Tenant) -> Result<Filter, Invalid> {
        Ok(Filter {
            types: self.types.as_deref().map(extract::types).transpose()?.unwrap_or_default(),
            category: self.category.as_deref().map(Category::parse).transpose()?,
            actor: self.actor.as_deref().map(|actor| actor_filter(tenant, actor)),
            correlation: self.correlation.as_deref().map(CorrelationId::parse).transpose()?,
        })
    }

    fn wait(&self, direction: Direction) -> Result<Duration, Invalid> {
        let Some(text) = self.wait.as_deref() else { return Ok(Duration::ZERO) };
        let rule =
            || Invalid::new("wait", format!("must be a number of seconds up to {MAX_WAIT}, oldest first"));
        let seconds = text.parse().ok().filter(|seconds| *seconds <= MAX_WAIT).ok_or_else(rule)?;
        if direction == Direction::Backward && seconds > 0 {
            return Err(rule());
        }
        Ok(Duration::from_secs(seconds))
    }
}

/// `GET tenants/{tenant}/events`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    Query(query): Query<AllQuery>,
) -> Result<Response, Problem> {
    let tenant = extract::tenant(&app, &tenant).await?;
    let (query, wait) = query.parse(&tenant)?;
    let (log, history) = (app.store.log(&tenant), app.store.history(&tenant));
    let (page, busy) = patient(&app, &log, &history, &query, wait).await?;
    let cursor = match query.direction {
        Direction::Backward if page.end => None,
        order => Some(Cursor::All { at: page.places.clone(), order }.seal(&tenant)),
    };
    let events = page.items.iter().map(ItemView::of).collect();
    let mut response = Json(PageView { events, cursor, end: page.end }).into_response();
    if busy {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}

/// Reads a page; while it is empty, waits for something new. The flag tells that nobody could wait
/// any more: the caller shall ask again a little later.
async fn patient(
    app: &App,
    log: &Log,
    history: &History,
    query: &all_stream::Query,
    wait: Duration,
) -> Result<(Page, bool), Problem> {
    let until = Instant::now() + wait;
    let mut page = all_stream::read(log, history, query).await?;
    if wait.is_zero() || !(page.items.is_empty() && page.end) {
        return Ok((page, false));
    }
    let Ok(seat) = app.waiters.sit(log) else { return Ok((page, true)) };
    let mut query = query.clone();
    while page.items.is_empty() && page.end && seat.news(&page.places, until).await {
        query.after = Some(page.places);
        page = all_stream::read(log, history, &query).await?;
    }
    Ok((page, false))
}

/// A page of events. Not through `json!`, which would parse and rewrite every payload.
#[derive(Serialize)]
struct PageView<'a> {
    events: Vec<ItemView<'a>>,
    cursor: Option<String>,
    /// Nothing more is there now.
    end: bool,
}

#[derive(Deserialize)]
pub(super) struct LinkedQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

/// `GET tenants/{tenant}/correlations/{id}/events`.
pub(super) async fn correlated(
    State(app): State<Arc<App>>,
    Path((tenant, id)): Path<(String, String)>,
    Query(query): Query<LinkedQuery>,
) -> Result<Response, Problem> {
    let id = CorrelationId::parse(links::from_segment("id", &id)?)?;
    let tenant = extract::tenant(&app, &tenant).await?;
    let limit = extract::limit(query.limit.as_deref())?;
    let from = Cursor::read(&tenant, query.cursor.as_deref(), |cursor| match cursor {
        Cursor::Linked { correlation, at } if correlation == id.as_str() => Some(at),
        _ => None,
    })?
    .unwrap_or_default();
    let (log, history) = (app.store.log(&tenant), app.store.history(&tenant));
    let page = all_stream::linked(&log, &history, &id, &from, limit).await?;
    let cursor = page.next.map(|at| Cursor::Linked { correlation: id.as_str().to_owned(), at }.seal(&tenant));
    let events = page.events.iter().map(EventView::of).collect();
    Ok(Json(LinkedView { events, cursor }).into_response())
}

#[derive(Serialize)]
struct LinkedView<'a> {
    events: Vec<EventView<'a>>,
    cursor: Option<String>,
}

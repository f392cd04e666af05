//! Export over HTTP, a page at a time. The body holds lines; where to go on stands in headers.

use std::sync::Arc;

use axum::{
    extract::{Path, Query, State},
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;

use super::{cursor::Cursor, extract, problem::Problem, views::EventView};
use crate::{
    domain::ids::Invalid,
    export,
    feed::all_stream::{self, Direction, Mark, Place, Places},
    host::App,
    store::{
        history::{HistoryError, PAGE_BYTES},
        keys,
        log::Log,
        rows::{BadRow, Commit},
    },
};

/// Where to go on, how many events the page holds, and whether it is the last.
const HEADERS: [&str; 3] = ["annals-cursor", "annals-count", "annals-end"];
/// Event rows read at the same time.
const PARALLEL: usize = 16;

#[derive(Deserialize)]
pub(super) struct ExportQuery {
    format: Option<String>,
    after: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<String>,
    proof: Option<String>,
}

/// `GET tenants/{tenant}/export`.
pub(super) async fn page(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    Query(query): Query<ExportQuery>,
) -> Result<Response, Problem> {
    let tenant = extract::tenant(&app, &tenant).await?;
    let csv = match query.format.as_deref() {
        None | Some("ndjson") => false,
        Some("csv") => true,
        Some(_) => return Err(Invalid::new("format", "must be `ndjson` or `csv`").into()),
    };
    let after = query.after.as_deref().map(|text| Cursor::forward(&tenant, text)).transpose()?;
    let limit = extract::limit(query.limit.as_deref())?;
    let log = app.store.log(&tenant);
    let first = after.is_none();
    let whole = match query.proof.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Invalid::new("proof", "must be `true` or `false`").into()),
    };
    let written = if whole {
        if csv || query.from.is_some() || query.to.is_some() {
            return Err(Invalid::new("proof", "comes as `ndjson`, and of the whole log").into());
        }
        proof(&log, after.unwrap_or_default(), limit).await?
    } else {
        let mut ask = all_stream::Query::after(after, limit);
        ask.from = extract::time("from", query.from.as_deref())?;
        ask.to = extract::time("to", query.to.as_deref())?;
        ask.data = true;
        let page = all_stream::read(&log, &app.store.history(&tenant), &ask).await?;
        let mut body = if csv && first { export::csv_header() } else { Vec::new() };
        for event in page.items.iter().filter_map(|item| item.event.as_ref()) {
            if csv {
                body.extend(export::csv_line(event));
            } else {
                serde_json::to_writer(&mut body, &EventView::of(event))
                    .map_err(|error| Problem::internal(&error))?;
                body.push(b'\n');
            }
        }
        Written { body, count: page.items.len(), places: page.places, end: page.end }
    };
    let cursor = Cursor::All { at: written.places, order: Direction::Forward }.seal(&tenant);
    let kind = if csv { "text/csv; charset=utf-8; header=present" } else { "application/x-ndjson" };
    let mut response = written.body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let values = [cursor, written.count.to_string(), written.end.to_string()];
    for (name, value) in HEADERS.into_iter().zip(values) {
        let value = HeaderValue::from_str(&value).map_err(|error| Problem::internal(&error))?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(response)
}

struct Written {
    body: Vec<u8>,
    count: usize,
    places: Places,
    end: bool,
}

/// Commits with the rows of their events, partition by partition.
async fn proof(log: &Log, mut places: Places, limit: usize) -> Result<Written, Problem> {
    let (mut body, mut count) = (Vec::new(), 0);
    if places == Places::default() {
        line(&mut body, &export::log_line(log.tenant()))?;
    }
    for partition in log.tenant().partitions() {
        loop {
            let at = places.get(partition);
            let window = log.window(partition, at.sequence + 1, at.sequence + limit as u64 + 100).await?;
            let none = window.commits.is_empty();
            for commit in window.commits {
                line(&mut body, &export::commit_line(partition, &commit))?;
                count += rows(log, partition, &commit, &mut body).await?;
                let mark = Some(Mark::of(&commit.digest));
                places.set(partition, Place { sequence: commit.last, mark });
                if count >= limit || body.len() > PAGE_BYTES {
                    return Ok(Written { body, count, places, end: false });
                }
            }
            if none {
                break;
            }
        }
    }
    Ok(Written { body, count, places, end: true })
}

/// The rows of a commit's events, as they are stored now.
async fn rows(
    log: &Log,
    partition: crate::domain::position::PartitionId,
    commit: &Commit,
    body: &mut Vec<u8>,
) -> Result<usize, Problem> {
    let keys: Vec<_> = commit
        .events()
        .map_err(HistoryError::from)?
        .iter()
        .map(|essentials| keys::event(&essentials.stream_name(), essentials.version))
        .collect();
    let rows: Vec<_> = stream::iter(keys)
        .map(|key| async move {
            let row = log.get(partition, &key).await.map_err(HistoryError::from)?;
            row.ok_or_else(|| HistoryError::from(BadRow { key, property: "RowKey" }))
        })
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    for stored in &rows {
        line(body, &export::event_line(partition, &stored.row))?;
    }
    Ok(rows.len())
}

fn line(body: &mut Vec<u8>, value: &impl serde::Serialize) -> Result<(), Problem> {
    serde_json::to_writer(&mut *body, value).map_err(|error| Problem::internal(&error))?;
    body.push(b'\n');
    Ok(())
}

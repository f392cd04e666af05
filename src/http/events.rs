//! Appending events, and reading one.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::{
    extract,
    problem::Problem,
    views::{AppendedView, EventView},
};
use crate::{
    access::Caller,
    domain::{
        classify::classify,
        cloud_event::{CloudEvent, Mode},
        event::{Expected, NewEvent},
        ids::{EventId, Invalid, Source},
        known,
        message::decode_document,
    },
    host::App,
    links,
    store::{Delivery, registry::Tenant},
};

/// How long an append may take before it is answered 503.
const PATIENCE: Duration = Duration::from_secs(20);

/// `POST tenants/{tenant}/events`: all of the body's events in one commit, or none.
pub(super) async fn append(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let tenant = extract::tenant(&app, &tenant).await?;
    extract::check_length(&headers)?;
    let mut events = decode(&headers, body)?;
    for event in &events {
        check_tenant(&tenant, event)?;
        check_type(event)?;
    }
    if let Some(expected) = extract::precondition(&headers)? {
        apply(expected, &mut events)?;
    }
    attribute(&caller, &tenant, &mut events)?;
    let delivery = Delivery::direct(caller.recorded_by());
    let answers = app.store.append(&tenant, events, delivery, Instant::now() + PATIENCE).await?;
    let all_known = answers.iter().all(|answer| answer.duplicate);
    let status = if all_known { StatusCode::OK } else { StatusCode::CREATED };
    let views: Vec<_> = answers.iter().map(AppendedView::of).collect();
    Ok((status, Json(views)).into_response())
}

/// The events of a request, in whichever mode it carries them.
fn decode(headers: &HeaderMap, body: Bytes) -> Result<Vec<NewEvent>, Problem> {
    let content_type = extract::content_type(headers);
    match Mode::of(content_type, headers.contains_key("ce-specversion")) {
        Some(Mode::Binary) => {
            let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            Ok(vec![classify(CloudEvent::from_binary(pairs, content_type, body)?)?])
        }
        Some(Mode::Document) => decode_document(&body)?
            .into_iter()
            .enumerate()
            .map(|(index, element)| element.event.map_err(|error| Problem::from(error).with("index", index)))
            .collect(),
        None => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "send application/cloudevents+json, application/cloudevents-batch+json, or ce- headers with any body",
        )),
    }
}

/// Says who acted: the caller, or whom a delegate names.
fn attribute(caller: &Caller, tenant: &Tenant, events: &mut [NewEvent]) -> Result<(), Problem> {
    for (index, event) in events.iter_mut().enumerate() {
        let acting = caller.acting(&tenant.id, event.actor.take());
        event.actor = Some(acting.map_err(|refused| Problem::from(refused).with("index", index))?);
    }
    Ok(())
}

fn check_tenant(tenant: &Tenant, event: &NewEvent) -> Result<(), Problem> {
    match &event.tenant {
        Some(named) if *named != tenant.id => Err(Problem::invalid(
            "tenant-mismatch",
            &Invalid::new("tenantid", "must be the tenant of the path"),
        )),
        _ => Ok(()),
    }
}

/// What becomes of a command is decided, not said.
fn check_type(event: &NewEvent) -> Result<(), Problem> {
    if !known::is_journal(&event.event_type) {
        return Ok(());
    }
    let detail =
        "events of the command journal come of `POST tenants/{tenant}/commands` and the routes below it";
    Err(Problem::new(StatusCode::BAD_REQUEST, "journal-type", detail))
}

/// Puts the condition of a header on the first event. It speaks of one stream.
fn apply(expected: Expected, events: &mut [NewEvent]) -> Result<(), Problem> {
    let one_stream = events.windows(2).all(|pair| pair[0].target == pair[1].target);
    let none_of_their_own = events.iter().all(|event| event.expected == Expected::Any);
    if !(one_stream && none_of_their_own) {
        let rule = "must come with events of one stream that carry no `expectedversion` of their own";
        return Err(Invalid::new("if-match", rule).into());
    }
    if let Some(first) = events.first_mut() {
        first.expected = expected;
    }
    Ok(())
}

#[derive(Deserialize)]
pub(super) struct OneQuery {
    source: Option<String>,
}

/// `GET tenants/{tenant}/events/{id}?source=`: where every link of the change feed leads.
pub(super) async fn one(
    State(app): State<Arc<App>>,
    Path((tenant, id)): Path<(String, String)>,
    Query(query): Query<OneQuery>,
) -> Result<Response, Problem> {
    let id = EventId::parse(links::from_segment("id", &id)?)?;
    let source = query.source.map(Source::parse).transpose()?;
    let tenant = extract::tenant(&app, &tenant).await?;
    let history = app.store.history(&tenant);
    let event = match source {
        Some(source) => history.event(&id, &source).await?,
        None => match history.with_id(&id).await?.as_slice() {
            [] => None,
            [(partition, index)] => Some(history.at(*partition, index).await?),
            several => {
                let sources: Vec<_> = several.iter().map(|(_, index)| index.source.as_str()).collect();
                let detail = "several sources used this id: choose one with `source`";
                return Err(Problem::new(StatusCode::CONFLICT, "ambiguous-id", detail)
                    .with("sources", json!(sources)));
            }
        },
    };
    let event = event.ok_or_else(|| Problem::not_found("unknown-event", "event"))?;
    Ok(Json(EventView::of(&event)).into_response())
}

//! What belongs to one request?

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::views::CommandView;
use crate::{
    access::{Caller, Role},
    domain::ids::CorrelationId,
    host::App,
    http::{extract, problem::Problem, views::EventView},
    links,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    correlation_id: &'a str,
    /// How many commands have each status.
    statuses: BTreeMap<&'static str, usize>,
    commands: Vec<CommandView<'a>>,
    /// Events of other streams.
    events: Vec<EventView<'a>>,
    /// True when there is more than this: the rest is in the list of its events.
    truncated: bool,
}

/// `GET tenants/{tenant}/correlations/{id}`: commands and outcomes folded, and every other event. A
/// writer is told of the commands that it recorded, and of nothing else.
pub(in crate::http) async fn correlated(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let id = CorrelationId::parse(links::from_segment("id", &id)?)?;
    let tenant = extract::tenant(&app, &tenant).await?;
    let found = app.journal.belonging(&tenant, &id).await?;
    let now = app.store.clock().now();
    let reads = caller.has(&tenant.id, Role::Reader);
    let own = caller.recorded_by();
    let records = found.records.iter().filter(|record| reads || record.is_recorded_by(&own));
    let commands: Vec<_> = records.filter_map(|record| CommandView::of(&tenant, record, now)).collect();
    let mut statuses = BTreeMap::new();
    for command in &commands {
        *statuses.entry(command.status()).or_default() += 1;
    }
    let events: Vec<_> = found.events.iter().filter(|_| reads).map(EventView::of).collect();
    if commands.is_empty() && events.is_empty() {
        return Err(Problem::not_found("unknown-correlation", "correlation id"));
    }
    let truncated = found.truncated;
    Ok(Json(View { correlation_id: id.as_str(), statuses, commands, events, truncated }).into_response())
}

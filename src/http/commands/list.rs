//! Which commands are there?

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::views::{CommandView, Page};
use crate::{
    access::{Caller, Role},
    domain::{
        ids::{CorrelationId, Invalid, Status},
        timestamp::Timestamp,
    },
    host::App,
    http::{cursor::Cursor, extract, problem::Problem},
    journal::Filter,
    store::registry::Tenant,
};

/// Most commands on a page: each is read whole.
const MAX_LIMIT: usize = 100;

#[derive(Debug, Deserialize)]
pub(in crate::http) struct ListQuery {
    status: Option<String>,
    actor: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    correlation: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

impl ListQuery {
    fn filter(&self, caller: &Caller, tenant: &Tenant) -> Result<Filter, Invalid> {
        let time = |field: &str, text: &Option<String>| {
            text.as_deref().map(|text| Timestamp::parse(field, text)).transpose()
        };
        let own_alone = !caller.has(&tenant.id, Role::Reader);
        Ok(Filter {
            status: self.status.clone().map(Status::parse).transpose()?,
            actor: self.actor.clone(),
            kind: self.kind.clone(),
            correlation: self.correlation.clone().map(CorrelationId::parse).transpose()?,
            from: time("from", &self.from)?,
            to: time("to", &self.to)?,
            recorded_by: own_alone.then(|| caller.recorded_by()),
        })
    }

    /// What a cursor must have been given for.
    fn asked(&self) -> Vec<Option<String>> {
        [&self.status, &self.actor, &self.kind, &self.correlation, &self.from, &self.to]
            .into_iter()
            .cloned()
            .collect()
    }
}

/// `GET tenants/{tenant}/commands?status=&actor=&type=&correlation=&from=&to=&limit=&cursor=`.
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(tenant): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let tenant = extract::tenant(&app, &tenant).await?;
    let filter = query.filter(&caller, &tenant)?;
    let limit = extract::limit(query.limit.as_deref())?.min(MAX_LIMIT);
    let from = Cursor::read(&tenant, query.cursor.as_deref(), |cursor| match cursor {
        Cursor::Commands { asked, from } if asked == query.asked() => Some(from),
        _ => None,
    })?;
    let listed = app.journal.list(&tenant, &filter, from, limit).await?;
    let now = app.store.clock().now();
    let commands = listed.records.iter().filter_map(|record| CommandView::of(&tenant, record, now)).collect();
    let cursor = listed.next.map(|from| Cursor::Commands { asked: query.asked(), from }.seal(&tenant));
    Ok(Json(Page { commands, cursor }).into_response())
}

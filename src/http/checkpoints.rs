//! Checkpoints, as they were signed.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;

use super::{extract, problem::Problem};
use crate::{checkpoint, host::App};

#[derive(Deserialize)]
pub(super) struct ListQuery {
    limit: Option<String>,
}

/// `GET tenants/{tenant}/checkpoints`: the newest of each partition first.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let tenant = extract::tenant(&app, &tenant).await?;
    let limit = extract::limit(query.limit.as_deref())?;
    let mut checkpoints = Vec::new();
    for partition in tenant.partitions() {
        for note in checkpoint::newest(&app.store, &tenant, partition, limit).await? {
            checkpoints.push(json!({
                "partition": note.partition,
                "sequence": note.sequence,
                "digest": hex::encode(note.digest.0),
                "recordedTime": note.recorded,
                "note": note.to_string(),
            }));
        }
    }
    Ok(Json(json!({ "checkpoints": checkpoints })).into_response())
}

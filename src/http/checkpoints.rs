//! Checkpoints, as they were signed.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::json;

use super::{extract, problem::Problem};
use crate::{checkpoint, host::App};

/// Partitions read at the same time.
const PARALLEL: usize = 8;

#[derive(Deserialize)]
pub(super) struct ListQuery {
    limit: Option<String>,
}

/// `GET tenants/{tenant}/checkpoints`: the newest of each partition, newest first. `limit` is for all of
/// them together; one of each partition is given in any case.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let tenant = extract::tenant(&app, &tenant).await?;
    let limit = extract::limit(query.limit.as_deref())?;
    let each = (limit / usize::from(tenant.settings.partitions.max(1))).max(1);
    let (store, of) = (&app.store, &tenant);
    let notes: Vec<_> = stream::iter(tenant.partitions())
        .map(async |partition| checkpoint::newest(store, of, partition, each).await)
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    let view = |note: &checkpoint::Note| {
        json!({
            "partition": note.partition,
            "sequence": note.sequence,
            "digest": hex::encode(note.digest.0),
            "recordedTime": note.recorded,
            "note": note.to_string(),
        })
    };
    let checkpoints: Vec<_> = notes.iter().flatten().map(view).collect();
    Ok(Json(json!({ "checkpoints": checkpoints })).into_response())
}

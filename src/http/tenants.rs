//! Tenants: enough of the registry to work.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{extract, problem::Problem, views::TenantView};
use crate::{
    domain::{ids::Invalid, position::PartitionId},
    host::App,
    store::registry::{ChangeFeed, Settings},
};

/// Longest display name, in bytes.
const MAX_NAME: usize = 256;
/// Most type filters, and the longest of them.
const MAX_FILTERS: (usize, usize) = (64, 512);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default = "one")]
    partitions: u8,
    #[serde(default)]
    change_feed: ChangeFeed,
}

fn one() -> u8 {
    1
}

impl Body {
    fn check(self) -> Result<Settings, Invalid> {
        if !(1..=PartitionId::MAX).contains(&self.partitions) {
            return Err(Invalid::new(
                "partitions",
                format!("must be a number from 1 to {}", PartitionId::MAX),
            ));
        }
        let name_fits =
            |name: &String| !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control);
        if !self.display_name.as_ref().is_none_or(name_fits) {
            let rule = format!("must be 1 to {MAX_NAME} bytes without control characters");
            return Err(Invalid::new("displayName", rule));
        }
        let (most, longest) = MAX_FILTERS;
        let filters = &self.change_feed.types;
        if filters.len() > most || filters.iter().any(|filter| filter.is_empty() || filter.len() > longest) {
            let rule = format!("must be at most {most} event types of 1 to {longest} bytes");
            return Err(Invalid::new("changeFeed.types", rule));
        }
        Ok(Settings {
            display_name: self.display_name,
            partitions: self.partitions,
            change_feed: self.change_feed,
        })
    }
}

/// `PUT tenants/{tenant}`: registers it, or changes its settings. Doing it twice is harmless.
pub(super) async fn put(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let id = extract::tenant_id(&tenant)?;
    extract::check_length(&headers)?;
    let body: Body = serde_json::from_slice(&body).map_err(|error| {
        // serde names the member and what was expected; it repeats values only of our own enums.
        Problem::new(
            StatusCode::BAD_REQUEST,
            "invalid-request",
            format!("the body is not tenant settings: {error}"),
        )
    })?;
    let settings = body.check()?;
    if settings.change_feed.enabled && app.public_url.is_none() {
        let detail = "a change feed carries links: ANNALS_PUBLIC_URL must be set before one is switched on";
        return Err(Problem::new(StatusCode::CONFLICT, "no-public-url", detail));
    }
    let (tenant, new) = app.store.registry().put(&id, settings).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(TenantView::of(&tenant))).into_response())
}

/// `GET tenants/{tenant}`.
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
) -> Result<Response, Problem> {
    let tenant = extract::tenant(&app, &tenant).await?;
    Ok(Json(TenantView::of(&tenant)).into_response())
}

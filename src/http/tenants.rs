//! Tenants: added, shown, changed, closed.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{extract, problem::Problem, views::TenantView};
use crate::{
    access::Caller,
    host::App,
    onboarding::{self, NoPublicUrl, Wanted},
    store::registry::Author,
};

/// `GET tenants`.
pub(super) async fn list(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let tenants = app.store.registry().list().await?;
    let tenants: Vec<_> = tenants.iter().map(|tenant| TenantView::of(tenant)).collect();
    Ok(Json(json!({ "tenants": tenants })).into_response())
}

/// `PUT tenants/{tenant}`: adds it, or changes its settings. Doing it twice is harmless.
pub(super) async fn put(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let id = extract::tenant_id(&tenant)?;
    extract::check_length(&headers)?;
    let wanted: Wanted = extract::json("tenant settings", &body)?;
    let known = app.store.registry().get(&id).await?;
    let was = known.as_ref().map(|tenant| &tenant.settings);
    let settings = wanted.settings(was)?;
    if !caller.is_operator() && was.is_none_or(|was| was.storage != settings.storage) {
        return Err(Problem::forbidden());
    }
    onboarding::check_feed(app.public_url.as_ref(), &settings)?;
    if was.is_none_or(|was| was.storage != settings.storage) {
        onboarding::check_place(&app.silos, &settings.storage)?;
    }
    let (tenant, new) = app.store.administration(Author::from(&caller)).put(&id, &settings).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(TenantView::of(&tenant))).into_response())
}

impl From<NoPublicUrl> for Problem {
    fn from(error: NoPublicUrl) -> Self {
        Self::new(StatusCode::CONFLICT, "no-public-url", error.to_string())
    }
}

/// `GET tenants/{tenant}`.
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
) -> Result<Response, Problem> {
    let tenant = extract::tenant(&app, &tenant).await?;
    Ok(Json(TenantView::of(&tenant)).into_response())
}

/// `DELETE tenants/{tenant}`: closes it. Its data stays, and can be read.
pub(super) async fn close(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(tenant): Path<String>,
) -> Result<Response, Problem> {
    set_closed(&app, &caller, &tenant, true).await
}

/// `POST tenants/{tenant}/reopen`.
pub(super) async fn reopen(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(tenant): Path<String>,
) -> Result<Response, Problem> {
    set_closed(&app, &caller, &tenant, false).await
}

async fn set_closed(app: &App, caller: &Caller, tenant: &str, closed: bool) -> Result<Response, Problem> {
    let id = extract::tenant_id(tenant)?;
    let tenant = app.store.administration(Author::from(caller)).set_closed(&id, closed).await?;
    Ok(Json(TenantView::of(&tenant)).into_response())
}

/// `DELETE tenants/{tenant}/data`: everything that a closed tenant has, for ever.
pub(super) async fn delete_data(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(tenant): Path<String>,
) -> Result<Response, Problem> {
    let id = extract::tenant_id(&tenant)?;
    app.store.administration(Author::from(&caller)).delete_data(&id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

//! API keys of a tenant.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{extract, problem::Problem};
use crate::{
    access::{Caller, Role},
    domain::{
        ids::{Invalid, TenantId},
        timestamp::Timestamp,
    },
    host::App,
    onboarding,
    store::registry::{ApiKey, Author, KeyId, PresentedKey},
};

/// Longest label, in bytes.
const MAX_LABEL: usize = 128;

/// `GET tenants/{tenant}/keys`: never a secret, nor its hash.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
) -> Result<Response, Problem> {
    let tenant = extract::tenant_id(&tenant)?;
    let keys = app.store.registry().api_keys(&tenant).await?;
    Ok(Json(json!({ "keys": keys.iter().map(|key| view(key, None)).collect::<Vec<_>>() })).into_response())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewKey {
    label: String,
    roles: Vec<Role>,
    #[serde(default)]
    expires: Option<Timestamp>,
}

/// `POST tenants/{tenant}/keys`: the one answer that shows the key.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let tenant = extract::tenant_id(&tenant)?;
    extract::check_length(&headers)?;
    let body: NewKey = extract::json("a new key", &body)?;
    check_label(&body.label)?;
    check_roles(&body.roles)?;
    let roles = super::roles::sorted(body.roles);
    let administration = app.store.administration(Author::from(&caller));
    let (shown, key) = administration.create_key(&tenant, &body.label, roles, body.expires).await?;
    Ok((StatusCode::CREATED, Json(view(&key, Some(&shown)))).into_response())
}

/// `POST tenants/{tenant}/keys/{key}/disable`.
pub(super) async fn disable(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(path): Path<(String, String)>,
) -> Result<Response, Problem> {
    set(&app, &caller, path, false).await
}

/// `POST tenants/{tenant}/keys/{key}/enable`.
pub(super) async fn enable(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(path): Path<(String, String)>,
) -> Result<Response, Problem> {
    set(&app, &caller, path, true).await
}

async fn set(
    app: &Arc<App>,
    caller: &Caller,
    (tenant, key): (String, String),
    enabled: bool,
) -> Result<Response, Problem> {
    let (tenant, key) = (extract::tenant_id(&tenant)?, key_id(&key)?);
    let key = app.store.administration(Author::from(caller)).set_key(&tenant, &key, enabled).await?;
    Ok(Json(view(&key, None)).into_response())
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rotation {
    #[serde(default)]
    grace_seconds: u64,
}

/// `POST tenants/{tenant}/keys/{key}/rotate`: another secret, shown once. The old one counts on for
/// `graceSeconds`.
pub(super) async fn rotate(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((tenant, key)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Problem> {
    let (tenant, key) = (extract::tenant_id(&tenant)?, key_id(&key)?);
    let rotation: Rotation =
        if body.is_empty() { Rotation::default() } else { extract::json("a rotation", &body)? };
    let grace = Duration::from_secs(rotation.grace_seconds);
    onboarding::check_grace(grace)?;
    let administration = app.store.administration(Author::from(&caller));
    let (shown, key) = administration.rotate_key(&tenant, &key, grace).await?;
    Ok(Json(view(&key, Some(&shown))).into_response())
}

/// Checks a label.
pub(crate) fn check_label(label: &str) -> Result<(), Invalid> {
    let fits = (1..=MAX_LABEL).contains(&label.len()) && !label.chars().any(char::is_control);
    let rule = || Invalid::new("label", format!("must be 1 to {MAX_LABEL} bytes without control characters"));
    if fits { Ok(()) } else { Err(rule()) }
}

fn check_roles(roles: &[Role]) -> Result<(), Invalid> {
    if roles.is_empty() { Err(Invalid::new("roles", "must name at least one role")) } else { Ok(()) }
}

fn key_id(text: &str) -> Result<KeyId, Problem> {
    KeyId::parse(text).ok_or_else(|| Invalid::new("key", "must be the 16 hexadecimal digits of a key").into())
}

/// A key; with its secret, when it is shown this once.
pub(crate) fn view(key: &ApiKey, shown: Option<&PresentedKey>) -> Value {
    let ApiKey { id, tenant, label, roles, created, expires, enabled, previous, hash: _ } = key;
    let mut view = json!({
        "id": id, "tenant": tenant as &TenantId, "label": label, "roles": roles, "createdTime": created,
        "enabled": enabled,
    });
    if let Some(expires) = expires {
        view["expiresTime"] = json!(expires);
    }
    if let Some((_, until)) = previous {
        view["previousUntil"] = json!(until);
    }
    if let Some(shown) = shown {
        view["key"] = shown.reveal().into();
    }
    view
}

//! What principals of the identity provider may do in a tenant.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{extract, problem::Problem};
use crate::{
    access::{Caller, Role},
    domain::ids::Invalid,
    host::App,
    links,
    store::registry::{Author, Grant},
};

/// Longest name of a principal, in bytes.
const MAX_PRINCIPAL: usize = 256;

/// `GET tenants/{tenant}/roles`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
) -> Result<Response, Problem> {
    let tenant = extract::tenant_id(&tenant)?;
    let grants = app.store.registry().grants(&tenant).await?;
    let roles: Vec<Value> =
        grants.iter().map(|grant| json!({ "principal": grant.principal, "roles": grant.roles })).collect();
    Ok(Json(json!({ "roles": roles })).into_response())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    roles: Vec<Role>,
}

/// `PUT tenants/{tenant}/roles/{principal}`: these roles from now on; none at all with an empty list.
pub(super) async fn assign(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((tenant, principal)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let tenant = extract::tenant_id(&tenant)?;
    let principal = check_principal(&links::from_segment("principal", &principal)?)?;
    extract::check_length(&headers)?;
    let body: Body = extract::json("roles", &body)?;
    let grant = Grant { tenant, principal, roles: sorted(body.roles) };
    app.store.administration(Author::from(&caller)).assign(&grant).await?;
    Ok(Json(json!({ "principal": grant.principal, "roles": grant.roles })).into_response())
}

/// Checks the name of a principal. A key has its roles with it, and takes no others.
pub(crate) fn check_principal(text: &str) -> Result<String, Invalid> {
    let fits =
        text.starts_with("entra:") && text.len() <= MAX_PRINCIPAL && !text.chars().any(char::is_control);
    let rule = "must be `entra:{directory}:{object id}`, as it stands in `recordedBy`";
    if fits { Ok(text.to_owned()) } else { Err(Invalid::new("principal", rule)) }
}

/// Each role once, in one order.
pub(crate) fn sorted(mut roles: Vec<Role>) -> Vec<Role> {
    roles.sort_unstable();
    roles.dedup();
    roles
}

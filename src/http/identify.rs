//! Who is calling: from what a request presents to a [`Caller`] with its roles in one tenant.

use std::{collections::BTreeMap, sync::Arc};

use axum::http::{HeaderMap, header};

use super::gate::only;
use crate::{
    access::{Caller, Principal, Role, Roles, platform, token::TokenError},
    domain::{
        event::{Actor, RecordedBy},
        ids::TenantId,
    },
    host::App,
    store::registry::{PresentedKey, RegistryError, system},
};

/// Header of an API key; `Authorization: Bearer` takes one as well.
const KEY: &str = "x-annals-key";
/// Header of the platform.
const PRINCIPAL: &str = "x-ms-client-principal";
/// What keys begin with, and tokens never do.
const KEY_PREFIX: &str = "annals_";

/// Why nobody is known to be calling.
#[derive(Debug)]
pub(super) enum Unidentified {
    /// What was presented is not taken. The reason is for the log.
    Refused(&'static str),
    /// It cannot be checked now.
    Unavailable,
}

impl From<RegistryError> for Unidentified {
    fn from(error: RegistryError) -> Self {
        tracing::error!(evt = "http.unavailable", error = crate::telemetry::chain(&error));
        Self::Unavailable
    }
}

/// Verifies what the request presents, and looks up what was granted in `tenant`.
pub(super) async fn caller(
    app: &Arc<App>,
    headers: &HeaderMap,
    tenant: Option<&TenantId>,
) -> Result<Caller, Unidentified> {
    let auth = &app.gatekeeper.auth;
    if auth.off {
        return Ok(Caller::local());
    }
    let once =
        |name: &str| only(headers, name).map_err(|()| Unidentified::Refused("a header that comes twice"));
    if auth.platform {
        let given = once(PRINCIPAL)?.ok_or(Unidentified::Refused("nothing presented"))?;
        let principal = platform::principal(given).ok_or(Unidentified::Refused("no principal"))?;
        return granted(app, principal, tenant).await;
    }
    let bearer = match once(header::AUTHORIZATION.as_str())? {
        None => None,
        Some(text) => {
            let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
            let token = token.trim();
            let fits = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty();
            Some(fits.then_some(token).ok_or(Unidentified::Refused("another scheme"))?)
        }
    };
    let presented = match (once(KEY)?, bearer) {
        (Some(_), Some(_)) => return Err(Unidentified::Refused("two credentials")),
        (None, None) => return Err(Unidentified::Refused("nothing presented")),
        (Some(one), None) | (None, Some(one)) => one,
    };
    match &app.gatekeeper.tokens {
        _ if presented.starts_with(KEY_PREFIX) && auth.keys => by_key(app, presented).await,
        Some(tokens) if bearer.is_some() => match tokens.verify(presented).await {
            Ok(principal) => granted(app, principal, tenant).await,
            Err(TokenError::Refused(reason)) => Err(Unidentified::Refused(reason)),
            Err(TokenError::Unavailable) => Err(Unidentified::Unavailable),
        },
        _ => Err(Unidentified::Refused("a credential that is not taken here")),
    }
}

async fn by_key(app: &Arc<App>, presented: &str) -> Result<Caller, Unidentified> {
    let presented = PresentedKey::parse(presented).ok_or(Unidentified::Refused("not a key"))?;
    let key =
        app.store.registry().api_key(&presented.id).await?.ok_or(Unidentified::Refused("unknown key"))?;
    if !key.opens(&presented, app.store.clock().now()) {
        return Err(Unidentified::Refused("a key that does not open"));
    }
    let name = format!("key:{}", key.id);
    let actor = Actor { kind: "service_account".to_owned(), id: Some(name.clone()) };
    let roles = [(key.tenant.clone(), key.roles())].into();
    Ok(verified(app, RecordedBy::new(name), actor, false, roles))
}

/// Adds what the registry grants to what the claims say.
async fn granted(
    app: &Arc<App>,
    principal: Principal,
    tenant: Option<&TenantId>,
) -> Result<Caller, Unidentified> {
    let Principal { name, actor, operator, mut roles } = principal;
    let system = system();
    for tenant in [Some(&system), tenant].into_iter().flatten() {
        if let Some(grant) = app.store.registry().grant(tenant, name.as_str()).await? {
            let given = roles.entry(tenant.clone()).or_default();
            grant.roles.iter().for_each(|role| given.insert(*role));
        }
    }
    Ok(verified(app, name, actor, operator, roles))
}

/// An administrator of the system tenant is an operator, and so is whom the settings name.
fn verified(
    app: &Arc<App>,
    name: RecordedBy,
    actor: Actor,
    operator: bool,
    roles: BTreeMap<TenantId, Roles>,
) -> Caller {
    let operator = operator
        || app.gatekeeper.auth.operators.contains(name.as_str())
        || roles.get(&system()).is_some_and(|roles| roles.allow(Role::Admin));
    Caller::verified(name, actor, operator, roles)
}

//! The one table that says which routes there are, and who may use them.
//!
//! The router is built from it, so that a route which is not here does not exist, and a route
//! without a [`Need`] cannot be written. Tests walk it with every kind of caller.

use std::sync::Arc;

use axum::{
    handler::Handler,
    http::Method,
    routing::{MethodFilter, MethodRouter, on},
};

use super::{
    all_stream, checkpoints, commands, consumers, dead_letters, erasures, events, export, keys, replays,
    roles, streams, tenants, verification,
};
use crate::{access::Role, host::App};

/// What a caller needs for a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// The role in the tenant that the path names as `{tenant}`.
    Tenant(Role),
    /// Either of two roles there.
    Either(Role, Role),
    /// To be an administrator of that tenant, or an operator, who may also add it.
    Settings,
    /// To be an operator.
    Operator,
}

/// One route.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) need: Need,
    pub(crate) handler: MethodRouter<Arc<App>>,
}

/// Every route under `/api`.
#[rustfmt::skip]
pub(crate) fn table() -> Vec<Route> {
    use commands::Kind;
    use Need::{Either, Operator, Settings, Tenant};
    use Role::{Admin, Auditor, Reader, Writer};
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    const PUT: Method = Method::PUT;
    const DELETE: Method = Method::DELETE;
    vec![
        route(GET, "/tenants", Operator, tenants::list),
        route(PUT, "/tenants/{tenant}", Settings, tenants::put),
        route(GET, "/tenants/{tenant}", Settings, tenants::get),
        route(DELETE, "/tenants/{tenant}", Operator, tenants::close),
        route(POST, "/tenants/{tenant}/reopen", Operator, tenants::reopen),
        route(DELETE, "/tenants/{tenant}/data", Operator, tenants::delete_data),
        route(GET, "/tenants/{tenant}/keys", Tenant(Admin), keys::list),
        route(POST, "/tenants/{tenant}/keys", Tenant(Admin), keys::create),
        route(POST, "/tenants/{tenant}/keys/{key}/disable", Tenant(Admin), keys::disable),
        route(POST, "/tenants/{tenant}/keys/{key}/enable", Tenant(Admin), keys::enable),
        route(POST, "/tenants/{tenant}/keys/{key}/rotate", Tenant(Admin), keys::rotate),
        route(GET, "/tenants/{tenant}/roles", Tenant(Admin), roles::list),
        route(PUT, "/tenants/{tenant}/roles/{principal}", Tenant(Admin), roles::assign),
        route(POST, "/tenants/{tenant}/events", Tenant(Writer), events::append),
        route(GET, "/tenants/{tenant}/events", Tenant(Reader), all_stream::list),
        route(GET, "/tenants/{tenant}/correlations/{id}/events", Tenant(Reader), all_stream::correlated),
        route(GET, "/tenants/{tenant}/events/{id}", Tenant(Reader), events::one),
        route(GET, "/tenants/{tenant}/streams", Tenant(Reader), streams::list),
        route(GET, "/tenants/{tenant}/streams/{category}/{id}", Tenant(Reader), streams::one),
        route(GET, "/tenants/{tenant}/streams/{category}/{id}/events", Tenant(Reader), streams::history),
        route(GET, "/tenants/{tenant}/consumers", Tenant(Reader), consumers::list),
        route(GET, "/tenants/{tenant}/consumers/{name}", Tenant(Reader), consumers::get),
        route(PUT, "/tenants/{tenant}/consumers/{name}", Tenant(Reader), consumers::put),
        route(POST, "/tenants/{tenant}/change-feed/replay", Tenant(Auditor), replays::start),
        route(GET, "/tenants/{tenant}/change-feed/replay/{id}", Tenant(Auditor), replays::get),
        route(POST, "/tenants/{tenant}/change-feed/replay/{id}/stop", Tenant(Auditor), replays::stop),
        route(POST, "/tenants/{tenant}/change-feed/replay/{id}/resume", Tenant(Auditor), replays::resume),
        route(GET, "/tenants/{tenant}/verification", Tenant(Auditor), verification::verification),
        route(GET, "/tenants/{tenant}/completeness", Tenant(Auditor), verification::complete),
        route(POST, "/tenants/{tenant}/erasures", Tenant(Auditor), erasures::erase),
        route(GET, "/tenants/{tenant}/checkpoints", Tenant(Auditor), checkpoints::list),
        route(GET, "/tenants/{tenant}/export", Tenant(Auditor), export::page),
        route(GET, "/tenants/{tenant}/dead-letters", Tenant(Auditor), dead_letters::list),
        route(GET, "/tenants/{tenant}/dead-letters/{id}", Tenant(Auditor), dead_letters::one),
        route(POST, "/tenants/{tenant}/dead-letters/{id}/replay", Tenant(Auditor), dead_letters::replay),
        route(POST, "/tenants/{tenant}/commands", Tenant(Writer), commands::ask(Kind::Dispatch)),
        route(GET, "/tenants/{tenant}/commands", Either(Reader, Writer), commands::list),
        route(GET, "/tenants/{tenant}/commands/{id}", Either(Reader, Writer), commands::one),
        route(POST, "/tenants/{tenant}/commands/{id}/outcome", Tenant(Writer), commands::ask(Kind::Outcome)),
        route(POST, "/tenants/{tenant}/commands/{id}/approvals", Tenant(Writer), commands::ask(Kind::Approval)),
        route(POST, "/tenants/{tenant}/commands/{id}/claim", Tenant(Writer), commands::ask(Kind::Claim)),
        route(POST, "/tenants/{tenant}/commands/{id}/claim/renew", Tenant(Writer), commands::ask(Kind::Renew)),
        route(POST, "/tenants/{tenant}/commands/{id}/withdraw", Tenant(Writer), commands::ask(Kind::Withdraw)),
        route(POST, "/tenants/{tenant}/commands/{id}/secret-check", Either(Reader, Writer), commands::was_it),
        route(GET, "/tenants/{tenant}/correlations/{id}", Either(Reader, Writer), commands::correlated),
        route(GET, "/dead-letters", Operator, dead_letters::list_nobodys),
        route(GET, "/dead-letters/{id}", Operator, dead_letters::one_of_nobody),
        route(POST, "/dead-letters/{id}/replay", Operator, dead_letters::replay_nobodys),
    ]
}

fn route<H, T>(method: Method, path: &'static str, need: Need, handler: H) -> Route
where
    H: Handler<T, Arc<App>>,
    T: 'static,
{
    let filter = MethodFilter::try_from(method.clone()).expect("the table names methods of HTTP");
    Route { method, path, need, handler: on(filter, handler) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_there_once_and_a_role_is_needed_in_the_tenant_of_its_path() {
        let mut seen = std::collections::BTreeSet::new();
        for Route { method, path, need, .. } in table() {
            assert!(seen.insert((method.to_string(), path)), "{method} {path} stands twice");
            let of_tenant = path == "/tenants/{tenant}" || path.starts_with("/tenants/{tenant}/");
            assert!(of_tenant || need == Need::Operator, "{method} {path}");
        }
    }
}

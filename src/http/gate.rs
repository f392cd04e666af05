//! What stands before every route: who is calling, and may they.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, RawPathParams, Request, State},
    http::{StatusCode, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::MethodRouter,
};

use super::{extract, problem::Problem, routes::Need};
use crate::{access::Caller, host::App};

#[derive(Clone)]
struct Gate {
    need: Need,
}

/// Puts the gate before a route.
pub(super) fn guard(_app: &Arc<App>, need: Need, handler: MethodRouter<Arc<App>>) -> MethodRouter<Arc<App>> {
    handler.route_layer(middleware::from_fn_with_state(Gate { need }, pass))
}

async fn pass(
    State(gate): State<Gate>,
    params: RawPathParams,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let caller = Caller::local();
    let allowed = match gate.need {
        Need::Operator => caller.is_operator(),
        Need::Tenant(role) => {
            let named = params.iter().find(|(name, _)| *name == "tenant").map_or("", |(_, value)| value);
            caller.has(&extract::tenant_id(named)?, role)
        }
    };
    if !allowed {
        return Err(Problem::forbidden());
    }
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Response;

    /// The caller that the gate let through.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let caller = parts.extensions.get::<Self>().cloned();
        // Every route has the gate before it; without one nobody gets in.
        caller.ok_or_else(|| {
            Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", "the caller has not been verified")
                .into_response()
        })
    }
}

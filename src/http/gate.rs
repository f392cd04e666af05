//! What stands before every route, always in this order: is the path one, who is calling (401), may
//! they (403, whether or not the tenant exists; 404 for operators alone), how often (429), and only then
//! the body.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequestParts, RawPathParams, Request, State},
    http::{HeaderMap, Method, StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::MethodRouter,
};
use tokio::time::timeout;

use super::{
    MAX_BODY,
    buckets::Buckets,
    extract,
    identify::{self, Unidentified},
    ledger::{Ledger, Note},
    problem::Problem,
    routes::{Need, Route},
};
use crate::{
    access::{
        Caller, Role,
        token::{IssuerKeys, Pace, Tokens},
    },
    config::{AuthSettings, Settings},
    domain::ids::{Category, TenantId},
    host::App,
    links,
    store::registry::{ReadAudit, Tenant},
};

/// Longest path, and most bytes of all headers.
const MAX_PATH: usize = 4 * 1024;
const MAX_HEADERS: usize = 48 * 1024;
/// How long a body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(20);

/// Knows who is calling, and how often.
#[derive(Debug)]
pub(crate) struct Gatekeeper {
    pub(super) auth: AuthSettings,
    pub(super) tokens: Option<Tokens>,
    buckets: Buckets,
    pub(crate) ledger: Arc<Ledger>,
}

impl Gatekeeper {
    /// As the settings say.
    pub(crate) fn new(settings: &Settings) -> Result<Self, reqwest::Error> {
        let tokens = settings.auth.tokens.as_ref().map(|tokens| {
            let keys = IssuerKeys::new(tokens.jwks.clone(), Pace::default())?;
            Ok(Tokens::new(&tokens.issuers, &tokens.audiences, keys))
        });
        Ok(Self {
            auth: settings.auth.clone(),
            tokens: tokens.transpose()?,
            buckets: Buckets::new(settings.limits),
            ledger: Arc::default(),
        })
    }
}

/// One route's gate.
#[derive(Clone)]
struct Gate {
    app: Arc<App>,
    need: Need,
    method: Method,
    path: &'static str,
}

/// Puts the gate before a route.
pub(super) fn guard(app: &Arc<App>, route: Route) -> MethodRouter<Arc<App>> {
    let gate = Gate { app: Arc::clone(app), need: route.need, method: route.method, path: route.path };
    route.handler.route_layer(middleware::from_fn_with_state(gate, pass))
}

async fn pass(
    State(gate): State<Gate>,
    params: RawPathParams,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let named = gate.syntax(&params, &request)?;
    let who = identify::caller(&gate.app, request.headers(), named.as_ref()).await;
    let caller = match who {
        Ok(caller) => caller,
        Err(Unidentified::Unavailable) => return Err(Problem::busy("who is calling cannot be told now")),
        Err(Unidentified::Refused(reason)) => {
            tracing::info!(evt = "http.unauthenticated", reason, route = gate.path);
            gate.note(named.as_ref(), Note::Denied("unauthenticated"), None);
            return Err(Problem::unauthenticated());
        }
    };
    let tenant = gate.admit(&caller, named.as_ref()).await?;
    if let Some(id) = &named
        && let Err(wait) = gate.app.gatekeeper.buckets.take(id, gate.method != Method::GET)
    {
        gate.note(named.as_ref(), Note::Denied("too-many-requests"), Some(&caller));
        return Err(Problem::too_many(wait));
    }
    let path = request.uri().path().to_owned();
    let mut request = gate.body(request).await?;
    request.extensions_mut().insert(caller.clone());
    let response = next.run(request).await;
    if response.extensions().get::<NotADelegate>().is_some() {
        gate.note(named.as_ref(), Note::Denied("not-a-delegate"), Some(&caller));
    }
    if let Some(tenant) = tenant.filter(|tenant| response.status().is_success() && gate.audits(tenant)) {
        gate.note(Some(&tenant.id), Note::Read(path), Some(&caller));
    }
    Ok(response)
}

/// Marks an answer: the caller named an actor for whom it may not speak.
#[derive(Debug, Clone, Copy)]
pub(super) struct NotADelegate;

impl Gate {
    /// The path and the headers, and nothing about who may: the tenant that the path names.
    fn syntax(&self, params: &RawPathParams, request: &Request) -> Result<Option<TenantId>, Problem> {
        if request.uri().path().len() > MAX_PATH {
            return Err(Problem::new(StatusCode::URI_TOO_LONG, "path-too-long", "the path is too long"));
        }
        let size: usize =
            request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if size > MAX_HEADERS {
            let detail = "the headers are too long";
            return Err(Problem::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "headers-too-long",
                detail,
            ));
        }
        let mut tenant = None;
        for (name, value) in params {
            match name {
                "tenant" => tenant = Some(extract::tenant_id(value)?),
                "category" => drop(Category::parse(links::from_segment("category", value)?)?),
                other => drop(links::from_segment(other, value)?),
            }
        }
        Ok(tenant)
    }

    /// Lets a caller through, or says why not; gives the tenant where there is one.
    async fn admit(&self, caller: &Caller, named: Option<&TenantId>) -> Result<Option<Arc<Tenant>>, Problem> {
        let may = match (self.need, named) {
            (Need::Tenant(role), Some(tenant)) => caller.has(tenant, role),
            (Need::Either(one, other), Some(tenant)) => caller.has(tenant, one) || caller.has(tenant, other),
            (Need::Settings, Some(tenant)) => caller.has(tenant, Role::Admin),
            (Need::Operator, _) => caller.is_operator(),
            // A route of a tenant without one in its path is a mistake, and lets nobody in.
            _ => false,
        };
        if !may {
            self.note(named, Note::Denied("forbidden"), Some(caller));
            return Err(Problem::forbidden());
        }
        let Some(id) = named else { return Ok(None) };
        match self.app.store.registry().get(id).await? {
            Some(tenant) => Ok(Some(tenant)),
            // A role in a tenant that does not exist is no news about it.
            None if !caller.is_operator() => Err(Problem::forbidden()),
            None if self.need == Need::Settings && self.method == Method::PUT => Ok(None),
            None => Err(Problem::not_found("unknown-tenant", "tenant")),
        }
    }

    /// Takes the body whole: one that is too large is refused, one that does not arrive cut off.
    async fn body(&self, request: Request) -> Result<Request, Problem> {
        if self.method == Method::GET {
            return Ok(request);
        }
        let too_large = || {
            let detail = format!("a body is at most {MAX_BODY} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail)
        };
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        if length.and_then(|text| text.parse::<usize>().ok()).is_some_and(|length| length > MAX_BODY) {
            return Err(too_large());
        }
        let (parts, body) = request.into_parts();
        match timeout(BODY_PATIENCE, to_bytes(body, MAX_BODY)).await {
            Ok(Ok(bytes)) => Ok(Request::from_parts(parts, Body::from(bytes))),
            Ok(Err(_)) => Err(too_large()),
            Err(_) => {
                let detail = "the body did not arrive in time";
                Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", detail))
            }
        }
    }

    /// Whether a read through this route leaves an event. A route that readers may use reads, whatever
    /// its method: some questions are too confidential for a URL.
    fn audits(&self, tenant: &Tenant) -> bool {
        let reads = match self.need {
            Need::Tenant(Role::Reader | Role::Auditor) => self.method == Method::GET,
            Need::Either(one, _) => one == Role::Reader,
            _ => false,
        };
        let export = self.path.ends_with("/export");
        match tenant.settings.read_audit {
            ReadAudit::Off => false,
            ReadAudit::Exports => export,
            ReadAudit::All => export || reads,
        }
    }

    fn note(&self, tenant: Option<&TenantId>, note: Note, caller: Option<&Caller>) {
        if let Some(tenant) = tenant {
            let now = self.app.store.clock().now().to_micros();
            let known = self.app.store.registry().remembers(tenant);
            self.app.gatekeeper.ledger.note((tenant, known), note, caller, self.path, now);
        }
    }
}

/// The value of a header that may come once; `Err` when it comes more often or cannot be read.
pub(super) fn only<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, ()> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(());
    }
    first.to_str().map(|text| Some(text.trim())).map_err(drop)
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Response;

    /// The caller that the gate let through.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        // Every route has the gate before it; without one nobody gets in.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::unauthenticated().into_response())
    }
}

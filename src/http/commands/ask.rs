//! Asking something of a command: six operations, one way.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::future::BoxFuture;
use serde::Deserialize;
use tokio::time::Instant;

use super::{command_id, views::ReceiptView};
use crate::{
    access::Caller,
    domain::{
        event::{Actor, MAX_DATA},
        ids::{CausationId, CorrelationId, Invalid, StreamId},
        json,
        timestamp::Timestamp,
    },
    host::App,
    http::{extract, problem::Problem},
    journal::{
        self, ClaimBody, Context, DispatchBody, GivenBody, Order, OutcomeBody, RenewBody, SealError,
        WithdrawBody, content, main_identity, members, parse,
    },
    links,
    store::{Delivery, registry::Tenant},
    telemetry::trace::Trace,
};

/// How long an operation may take before it is answered 503.
const PATIENCE: Duration = Duration::from_secs(20);

/// What every operation may say beside its own members.
const COMMON: &[&str] = &["id", "actor", "causationId", "correlationId", "occurredAt"];

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Common {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    actor: Option<Actor>,
    #[serde(default)]
    causation_id: Option<CausationId>,
    #[serde(default)]
    correlation_id: Option<CorrelationId>,
    #[serde(default)]
    occurred_at: Option<Timestamp>,
}

/// The operations, as they are told apart in identities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Kind {
    /// `POST …/commands`.
    Dispatch,
    /// `POST …/outcome`.
    Outcome,
    /// `POST …/approvals`.
    Approval,
    /// `POST …/claim`.
    Claim,
    /// `POST …/claim/renew`.
    Renew,
    /// `POST …/withdraw`.
    Withdraw,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Dispatch => "dispatch",
            Self::Outcome => "outcome",
            Self::Approval => "approval",
            Self::Claim => "claim",
            Self::Renew => "renew",
            Self::Withdraw => "withdraw",
        }
    }

    /// The operation's id where the caller gives none: there is one dispatch, one outcome and one
    /// withdrawal of a command, but anybody may decide or claim again.
    fn default_id(self) -> String {
        match self {
            Self::Dispatch | Self::Outcome | Self::Withdraw => String::new(),
            Self::Approval | Self::Claim | Self::Renew => uuid::Uuid::new_v4().to_string(),
        }
    }
}

/// A request, so far as all operations are alike.
struct Asked<'a> {
    app: &'a Arc<App>,
    caller: &'a Caller,
    tenant: Arc<Tenant>,
    headers: &'a HeaderMap,
    text: &'a str,
    context: Context,
}

impl<'a> Asked<'a> {
    async fn read(
        (app, caller, headers): (&'a Arc<App>, &'a Caller, &'a HeaderMap),
        kind: Kind,
        path: &InPath,
        body: &'a Bytes,
    ) -> Result<Self, Problem> {
        let named = path.id.as_deref().map(command_id).transpose()?;
        let tenant = extract::tenant(app, &path.tenant).await?;
        extract::check_length(headers)?;
        if body.len() > MAX_DATA {
            let detail = format!("what a command carries is at most {MAX_DATA} bytes");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "data-too-large", detail));
        }
        let text = json::text(body)?;
        let text = if text.is_empty() { "{}" } else { text };
        json::check_depth("body", text)?;
        let common: Common = serde_json::from_str(text).map_err(|error| {
            let rule = format!(
                "must be a JSON object with members of the right kind: see line {}, column {}",
                error.line(),
                error.column()
            );
            Invalid::new("body", rule)
        })?;
        let actor = Some(caller.acting(&tenant.id, common.actor)?);
        let content = content(&tenant, kind.as_str(), actor.as_ref(), text)?;
        let (command, operation) = match named {
            Some(command) => (command, operation_id(common.id)?.unwrap_or_else(|| kind.default_id())),
            None => (new_id(common.id)?, kind.default_id()),
        };
        let context = Context {
            identity: main_identity(kind.as_str(), &command, &operation),
            command,
            content,
            actor,
            time: common.occurred_at,
            correlation: common.correlation_id,
            causation: common.causation_id,
            // A message on the queue carries it on; what is appended at once would get it anyway.
            traceparent: Trace::current().traceparent().map(str::to_owned),
            extensions: BTreeMap::new(),
        };
        Ok(Self { app, caller, tenant, headers, text, context })
    }

    fn body<T: serde::de::DeserializeOwned>(&self, members: &[&str]) -> Result<T, Invalid> {
        parse(self.text, &[COMMON, members])
    }

    fn order(&self, kind: Kind) -> Result<Order, Invalid> {
        let (tenant, context) = (&self.tenant, self.context.clone());
        match kind {
            Kind::Dispatch => self.body::<DispatchBody>(members::DISPATCH)?.order(tenant, context),
            Kind::Outcome => self.body::<OutcomeBody>(members::OUTCOME)?.order(tenant, context),
            Kind::Approval => self.body::<GivenBody>(members::GIVEN)?.order(tenant, context),
            Kind::Claim => self.body::<ClaimBody>(members::CLAIM)?.order(tenant, context),
            Kind::Renew => self.body::<RenewBody>(members::RENEW)?.order(context),
            Kind::Withdraw => self.body::<WithdrawBody>(members::WITHDRAW)?.order(tenant, context),
        }
    }

    /// Carries the operation out, or puts it on the queue where the caller will not wait. A queue that
    /// would refuse it is no place to put it: then the caller waits.
    async fn answer(&self, order: &Order) -> Result<Response, Problem> {
        let queued = order.may_wait() && self.app.queue_serves(&self.tenant.id);
        if queued && prefers_async(self.headers) {
            return self.enqueue(order).await;
        }
        let delivery = Delivery::direct(self.caller.recorded_by());
        let until = Instant::now() + PATIENCE;
        let receipt = self.app.journal.run(&self.tenant, order, &delivery, until).await?;
        let status = if receipt.repeated { StatusCode::OK } else { StatusCode::CREATED };
        let view = ReceiptView::of(&order.command, &receipt);
        Ok(self.located(&order.command, (status, Json(view)).into_response()))
    }

    /// Answers before anything is durable but a message.
    async fn enqueue(&self, order: &Order) -> Result<Response, Problem> {
        let message = journal::message(&self.tenant, order, &self.caller.recorded_by());
        let message = message.map_err(|error| {
            let (status, code) = match error {
                SealError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "message-too-large"),
                SealError::Secret(_) => (StatusCode::BAD_REQUEST, "holds-secret"),
                SealError::Forged => (StatusCode::BAD_REQUEST, "not-queueable"),
            };
            Problem::new(status, code, error.to_string())
        })?;
        let put = self.app.queues.put(&self.app.ingest_queue, &message).await;
        put.map_err(|error| Problem::unavailable(&error))?;
        let body = serde_json::json!({ "id": order.command.as_str(), "status": "queued" });
        let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
        response.headers_mut().insert("preference-applied", HeaderValue::from_static("respond-async"));
        Ok(self.located(&order.command, response))
    }

    fn located(&self, command: &StreamId, mut response: Response) -> Response {
        let path = format!("/api/tenants/{}/commands/{}", self.tenant.id, links::segment(command.as_str()));
        if let Ok(location) = HeaderValue::from_str(&path) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

/// The id of a new command: the caller's, or one of ours.
fn new_id(given: Option<String>) -> Result<StreamId, Problem> {
    let id = given.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    StreamId::parse(id).map_err(|invalid| Invalid { field: "id".to_owned(), ..invalid }.into())
}

/// The id of an operation, under which it happens once.
fn operation_id(given: Option<String>) -> Result<Option<String>, Problem> {
    match given {
        Some(id) if id.is_empty() || id.len() > 512 => {
            Err(Invalid::new("id", "must be 1 to 512 bytes").into())
        }
        given => Ok(given),
    }
}

/// RFC 7240: `Prefer: respond-async`.
fn prefers_async(headers: &HeaderMap) -> bool {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split(','));
    preferences.any(|one| {
        one.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("respond-async"))
    })
}

/// The tenant in the path, and the command unless it is new.
#[derive(Debug, Deserialize)]
pub(in crate::http) struct InPath {
    tenant: String,
    #[serde(default)]
    id: Option<String>,
}

type Answering = BoxFuture<'static, Result<Response, Problem>>;

/// `POST tenants/{tenant}/commands` and `POST …/commands/{id}/…`: one way for all operations.
pub(in crate::http) fn ask(
    kind: Kind,
) -> impl Fn(State<Arc<App>>, Caller, Path<InPath>, HeaderMap, Bytes) -> Answering + Clone + Send + Sync + 'static
{
    move |State(app), caller, Path(path), headers, body| {
        Box::pin(async move {
            let asked = Asked::read((&app, &caller, &headers), kind, &path, &body).await?;
            asked.answer(&asked.order(kind)?).await
        })
    }
}

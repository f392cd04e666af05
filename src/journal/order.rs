//! What somebody wants of a command, from whichever door, read once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Serialize;
use serde_json::Number;

use super::{
    bodies::{Approver, ClaimBody, DispatchBody, GivenBody, OutcomeBody, RenewBody, WithdrawBody},
    identity::person,
    secrets,
};
use crate::{
    domain::{
        command::{Fact, Ignored, Operation, Person, Policy},
        event::{Actor, Attribute, Data},
        ids::{CausationId, CorrelationId, Identity, Invalid, StreamId},
        timestamp::Timestamp,
    },
    store::registry::Tenant,
};

/// Longest time limit, lease or wait for approval that can be asked for, in seconds.
const LONGEST: f64 = 400.0 * 86_400.0;
/// Longest comment and error reason, in bytes.
const MAX_TEXT: usize = 8 * 1024;

/// Where an operation comes from, and what it says of itself.
#[derive(Debug, Clone)]
pub struct Context {
    /// The command.
    pub command: StreamId,
    /// The identity of the operation's event.
    pub identity: Identity,
    /// What the sender said, as a digest.
    pub content: [u8; 32],
    /// Who acts.
    pub actor: Option<Actor>,
    /// When it happened, if the sender says.
    pub time: Option<Timestamp>,
    /// Correlation id.
    pub correlation: Option<CorrelationId>,
    /// Causation id.
    pub causation: Option<CausationId>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Other attributes of the event.
    pub extensions: BTreeMap<String, Attribute>,
}

/// An operation that can be decided and put on record.
#[derive(Debug, Clone)]
pub struct Order {
    /// The command.
    pub command: StreamId,
    /// What the state machine is asked.
    pub operation: Operation,
    /// The identity of its event.
    pub identity: Identity,
    pub(super) content: [u8; 32],
    pub(super) actor: Option<Actor>,
    pub(super) time: Option<Timestamp>,
    pub(super) correlation: Option<CorrelationId>,
    pub(super) causation: Option<CausationId>,
    pub(super) traceparent: Option<String>,
    pub(super) extensions: BTreeMap<String, Attribute>,
    /// The type of the command, where the operation says it.
    pub(super) kind: Option<String>,
    payload: Payload,
}

/// What is kept of an operation beside its fact: everything that may hold people or secrets.
#[derive(Debug, Clone)]
enum Payload {
    None,
    Dispatch(Box<DispatchBody>),
    Outcome(Box<OutcomeBody>),
    Given(GivenBody),
    Claim,
    Withdraw(WithdrawBody),
}

impl DispatchBody {
    /// To have the command on record.
    ///
    /// # Errors
    /// [`Invalid`] when it has no type, or its policy can never be met.
    pub fn order(self, tenant: &Tenant, context: Context) -> Result<Order, Invalid> {
        if self.kind.is_empty() || self.kind.len() > 512 || self.kind.chars().any(char::is_control) {
            return Err(Invalid::new("type", "must be 1 to 512 bytes without control characters"));
        }
        let limit = seconds("timeLimit", self.time_limit.as_ref().and_then(Number::as_f64))?;
        let requester = context.actor.as_ref().and_then(|actor| person(tenant, actor));
        let approval = match &self.approval {
            None => None,
            Some(_) if requester.is_none() => {
                let rule = "must name who asks: whoever asks for a command may not approve it";
                return Err(Invalid::new("actor.id", rule));
            }
            Some(body) => {
                let listed = body.approvers.as_ref().map(|all| people(tenant, all)).transpose()?;
                let policy = Policy::new(body.required, listed, body.allow_requester, requester.as_ref())?;
                Some((policy, body.expires_at.map(Timestamp::to_micros)))
            }
        };
        let kind = Some(self.kind.clone());
        let operation = Operation::Dispatch { requester, limit, approval };
        Ok(Order { kind, ..Order::new(context, operation, Payload::Dispatch(Box::new(self))) })
    }
}

fn people(tenant: &Tenant, approvers: &[Approver]) -> Result<BTreeSet<Person>, Invalid> {
    let one = |approver: &Approver| {
        let actor = match approver {
            Approver::Id(id) => Actor { kind: "user".to_owned(), id: Some(id.clone()) },
            Approver::Actor(actor) => actor.clone(),
        };
        person(tenant, &actor).ok_or_else(|| Invalid::new("approval.approvers", "must have ids"))
    };
    approvers.iter().map(one).collect()
}

impl OutcomeBody {
    /// To tell how the work ended.
    ///
    /// # Errors
    /// [`Invalid`] when it does not say how, or a pointer leads nowhere.
    pub fn order(mut self, tenant: &Tenant, context: Context) -> Result<Order, Invalid> {
        let outcome =
            self.status.ok_or_else(|| Invalid::new("status", "must be succeeded, failed or forbidden"))?;
        if self.events.len() > 100 || self.events.iter().any(|id| id.is_empty() || id.len() > 1024) {
            return Err(Invalid::new("events", "must be at most 100 ids of 1 to 1024 bytes"));
        }
        if let Some(result) = &self.result
            && !self.secret_once.is_empty()
        {
            let (concealed, revealed) =
                secrets::conceal(&tenant.key, &context.command, result, &self.secret_once)?;
            self.result = Some(concealed);
            self.once_revealed = revealed;
        } else if !self.secret_once.is_empty() {
            return Err(Invalid::new("secretOnce", "must point into `result`"));
        }
        let operation = Operation::Conclude { outcome, fence: self.fence };
        Ok(Order::new(context, operation, Payload::Outcome(Box::new(self))))
    }
}

impl GivenBody {
    /// To approve or deny.
    ///
    /// # Errors
    /// [`Invalid`] when nobody in particular does.
    pub fn order(self, tenant: &Tenant, context: Context) -> Result<Order, Invalid> {
        check_text("comment", self.comment.as_deref())?;
        let person = somebody(tenant, &context)?;
        let operation = Operation::Decide { person, verdict: self.decision };
        Ok(Order::new(context, operation, Payload::Given(self)))
    }
}

impl ClaimBody {
    /// To run the command.
    ///
    /// # Errors
    /// [`Invalid`] when nobody in particular does.
    pub fn order(self, tenant: &Tenant, context: Context) -> Result<Order, Invalid> {
        let (holder, lease) = (somebody(tenant, &context)?, seconds("lease", self.lease)?);
        Ok(Order::new(context, Operation::Claim { holder, lease }, Payload::Claim))
    }
}

impl RenewBody {
    /// To keep running it.
    ///
    /// # Errors
    /// [`Invalid`] when the lease is no time.
    pub fn order(self, context: Context) -> Result<Order, Invalid> {
        let lease = seconds("lease", self.lease)?;
        Ok(Order::new(context, Operation::Renew { fence: self.fence, lease }, Payload::Claim))
    }
}

impl WithdrawBody {
    /// To take the command back.
    ///
    /// # Errors
    /// [`Invalid`] when the comment is too long.
    pub fn order(self, tenant: &Tenant, context: Context) -> Result<Order, Invalid> {
        check_text("comment", self.comment.as_deref())?;
        let person = context.actor.as_ref().and_then(|actor| person(tenant, actor));
        Ok(Order::new(context, Operation::Withdraw { person }, Payload::Withdraw(self)))
    }
}

fn somebody(tenant: &Tenant, context: &Context) -> Result<Person, Invalid> {
    let person = context.actor.as_ref().and_then(|actor| person(tenant, actor));
    person.ok_or_else(|| Invalid::new("actor.id", "must say who acts"))
}

fn check_text(field: &str, text: Option<&str>) -> Result<(), Invalid> {
    match text {
        Some(text) if text.len() > MAX_TEXT => {
            Err(Invalid::new(field, format!("must be at most {MAX_TEXT} bytes")))
        }
        _ => Ok(()),
    }
}

fn seconds(field: &str, given: Option<f64>) -> Result<Option<Duration>, Invalid> {
    let Some(seconds) = given else { return Ok(None) };
    if !(0.001..=LONGEST).contains(&seconds) {
        return Err(Invalid::new(field, "must be a number of seconds, from 0.001 to 400 days"));
    }
    let duration = Duration::try_from_secs_f64(seconds).map_err(|_| Invalid::new(field, "must be a time"))?;
    Ok(Some(Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))))
}

impl Order {
    fn new(context: Context, operation: Operation, payload: Payload) -> Self {
        let Context {
            command,
            identity,
            content,
            actor,
            time,
            correlation,
            causation,
            traceparent,
            extensions,
        } = context;
        Self {
            command,
            operation,
            identity,
            content,
            actor,
            time,
            correlation,
            causation,
            traceparent,
            extensions,
            kind: None,
            payload,
        }
    }

    /// Whether the operation can be put on the queue: an answer to it tells nothing that the caller
    /// needs at once. A claim is such an answer.
    pub fn may_wait(&self) -> bool {
        !matches!(self.operation, Operation::Claim { .. } | Operation::Renew { .. })
    }

    /// An order of nobody in particular.
    pub(super) fn bare(command: StreamId, operation: Operation, identity: Identity) -> Self {
        let context = Context {
            command,
            identity,
            content: [0; 32],
            actor: None,
            time: None,
            correlation: None,
            causation: None,
            traceparent: None,
            extensions: BTreeMap::new(),
        };
        Self::new(context, operation, Payload::None)
    }

    /// The data of the operation's event, once it is decided.
    pub(super) fn data_of(&self, fact: &Fact, version: u64) -> Data {
        #[derive(Serialize)]
        struct Given<'a> {
            #[serde(flatten)]
            given: &'a GivenBody,
            #[serde(skip_serializing_if = "Option::is_none")]
            ignored: Option<Ignored>,
        }
        #[derive(Serialize)]
        struct Claimed {
            #[serde(skip_serializing_if = "Option::is_none")]
            fence: Option<u64>,
            until: Timestamp,
        }
        match (&self.payload, fact) {
            (Payload::Given(given), Fact::Given { ignored, .. }) => json(&Given { given, ignored: *ignored }),
            (_, Fact::Claimed { until, .. }) => json(&Claimed { fence: Some(version), until: *until }),
            (_, Fact::Renewed { until }) => json(&Claimed { fence: None, until: *until }),
            _ => self.request(),
        }
    }

    /// What the operation says, before it is decided: the data of a message that asks for it.
    pub(super) fn request(&self) -> Data {
        match &self.payload {
            Payload::Dispatch(body) => json(body),
            Payload::Outcome(body) => json(body),
            Payload::Given(body) => json(body),
            Payload::Withdraw(body) => json(body),
            Payload::None | Payload::Claim => Data::None,
        }
    }
}

fn json(value: &impl Serialize) -> Data {
    Data::Json(serde_json::to_string(value).expect("members with string names serialise").into())
}

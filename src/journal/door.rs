//! The queue's door: an event of the journal's types is a request, judged like any other.

use super::{
    Context, DispatchBody, GivenBody, Order, OutcomeBody, WithdrawBody,
    bodies::{self, members},
    seal,
};
use crate::{
    domain::{
        command::Outcome,
        event::{Data, NewEvent, RecordedBy, Target},
        ids::Invalid,
    },
    store::registry::Tenant,
};

/// Why a message is no request. It never becomes one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRequest {
    /// Its type says what the journal concludes, which nobody can send.
    #[error("`type` is one that only the journal itself records: send what happened, not what follows")]
    Concluded,
    /// It claims to come from us.
    #[error(transparent)]
    Forged(#[from] seal::SealError),
    /// It does not hold what it should.
    #[error("{0}")]
    Invalid(#[from] Invalid),
}

impl NoRequest {
    /// Its stable code, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Concluded => "not-a-request",
            Self::Forged(_) => "forged-source",
            Self::Invalid(_) => "invalid-command-message",
        }
    }
}

/// Reads a request, and who handed it over where that is sealed into it.
///
/// # Errors
/// [`NoRequest`].
pub fn request(tenant: &Tenant, mut event: NewEvent) -> Result<(Order, Option<RecordedBy>), NoRequest> {
    if !seal::may_be_asked_for(&event.event_type) {
        return Err(NoRequest::Concluded);
    }
    let sealed = seal::unseal(tenant, &mut event)?;
    let (by, content) = sealed.map_or((None, event.content), |(by, content)| (Some(by), content));
    let Target::Stream(name) = &event.target else { return Err(NoRequest::Concluded) };
    let context = Context { content, ..seal::context(&event, name.id.clone()) };
    let text = match &event.data {
        Data::Json(text) => text.as_ref(),
        Data::None => "{}",
        Data::Binary(_) => return Err(Invalid::new("data", "must be a JSON object").into()),
    };
    Ok((order(tenant, context, event.event_type.as_str(), text, by.is_some())?, by))
}

fn order(
    tenant: &Tenant,
    context: Context,
    event_type: &str,
    text: &str,
    sealed: bool,
) -> Result<Order, Invalid> {
    let name = event_type.rsplit_once('.').map_or(event_type, |(_, name)| name);
    match name {
        "dispatched" => bodies::parse::<DispatchBody>(text, &[members::DISPATCH])?.order(tenant, context),
        "given" => bodies::parse::<GivenBody>(text, &[members::GIVEN])?.order(tenant, context),
        "withdrawn" => bodies::parse::<WithdrawBody>(text, &[members::WITHDRAW])?.order(tenant, context),
        status => {
            let outcome = match status {
                "succeeded" => Outcome::Succeeded,
                "failed" => Outcome::Failed,
                _ => Outcome::Forbidden,
            };
            let allowed: &[&[&str]] = match sealed {
                true => &[members::OUTCOME, members::SEALED_OUTCOME],
                false => &[members::OUTCOME],
            };
            let mut body: OutcomeBody = bodies::parse(text, allowed)?;
            if body.status.is_some_and(|said| said != outcome) {
                return Err(Invalid::new("status", "must be what the event's type says"));
            }
            body.status = Some(outcome);
            body.order(tenant, context)
        }
    }
}

//! Operations that travel over the queue on behalf of a caller that we verified.
//!
//! Whoever may send to the queue may say anything. What *we* put there carries who handed it over, under
//! an HMAC of the tenant's key, and a source that nobody else may use.

use subtle::ConstantTimeEq;

use super::{Context, Order, identity::SOURCE};
use crate::{
    domain::{
        canonical,
        cloud_event::CloudEvent,
        command::{Operation, Outcome},
        event::{Attribute, NewEvent, RecordedBy},
        ids::{EventType, Identity},
    },
    store::{digest, registry::Tenant},
};

/// Largest message: the queue ends at 64 KiB, and base64 or a poison queue must not break it.
pub const MAX_MESSAGE: usize = 60 * 1024;

const RECORDED_BY: &str = "recordedby";
const CONTENT: &str = "annalscontent";
const SEAL: &str = "annalsseal";

/// Why a message is not what it claims, or cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It claims to come from us, and does not.
    #[error("`source` is {SOURCE}, which only the journal itself may use")]
    Forged,
    /// It is too large for the queue.
    #[error("the message would be {0} bytes: send it without `Prefer: respond-async`")]
    TooLarge(usize),
    /// It holds a secret where nothing can be redacted.
    #[error("`{0}` holds what looks like a secret")]
    Secret(&'static str),
}

/// Writes an operation as a message: redacted, and sealed with who handed it over.
///
/// # Errors
/// [`SealError`] when it is too large, or holds a secret that cannot be taken out.
pub fn message(tenant: &Tenant, order: &Order, by: &RecordedBy) -> Result<Vec<u8>, SealError> {
    let mut event = request(order);
    tenant.redactor.event(&mut event).map_err(|secret| SealError::Secret(secret.0))?;
    event.redacted.clear();
    let mut put = |name: &str, value: String| {
        event.extensions.insert(name.to_owned(), Attribute::Str(value));
    };
    put(RECORDED_BY, by.as_str().to_owned());
    put(CONTENT, hex::encode(order.content));
    let seal = seal(tenant, &event).ok_or(SealError::Forged)?;
    event.extensions.insert(SEAL.to_owned(), Attribute::Str(seal));
    // No part of the seal, which is the tenant's own.
    event.tenant = Some(tenant.id.clone());
    let message = CloudEvent::from(&event);
    let bytes = serde_json::to_vec(&message).expect("maps with string keys and valid JSON serialise");
    if bytes.len() > MAX_MESSAGE { Err(SealError::TooLarge(bytes.len())) } else { Ok(bytes) }
}

/// Takes the seal off a message from the queue.
///
/// Gives who handed it over and its content digest; `None` for a message that does not claim to be ours.
///
/// # Errors
/// [`SealError::Forged`] when it claims to and is not, or was changed on the way.
pub(crate) fn unseal(
    tenant: &Tenant,
    event: &mut NewEvent,
) -> Result<Option<(RecordedBy, [u8; 32])>, SealError> {
    if event.source.as_str() != SOURCE {
        return Ok(None);
    }
    let mut take = |name: &str| match event.extensions.remove(name) {
        Some(Attribute::Str(text)) => Ok(text),
        _ => Err(SealError::Forged),
    };
    let given = take(SEAL)?;
    // The seal covers all else.
    if seal(tenant, event).is_none_or(|wanted| !bool::from(wanted.as_bytes().ct_eq(given.as_bytes()))) {
        return Err(SealError::Forged);
    }
    let mut take = |name: &str| match event.extensions.remove(name) {
        Some(Attribute::Str(text)) => Ok(text),
        _ => Err(SealError::Forged),
    };
    let (by, content) = (take(RECORDED_BY)?, take(CONTENT)?);
    let mut digest = [0; 32];
    hex::decode_to_slice(content, &mut digest).map_err(|_| SealError::Forged)?;
    Ok(Some((RecordedBy::new(by), digest)))
}

fn seal(tenant: &Tenant, event: &NewEvent) -> Option<String> {
    let content = canonical::digest(&CloudEvent::from(event)).ok()?;
    let message = [b"sealed message\0".as_slice(), &content].concat();
    Some(hex::encode(digest::hmac(&tenant.key.0, &message)))
}

/// The operation as an event that asks for it.
fn request(order: &Order) -> NewEvent {
    let event_type = match &order.operation {
        Operation::Conclude { outcome: Outcome::Succeeded, .. } => "annals.command.succeeded",
        Operation::Conclude { outcome: Outcome::Failed, .. } => "annals.command.failed",
        Operation::Conclude { outcome: Outcome::Forbidden, .. } => "annals.command.forbidden",
        Operation::Decide { .. } => "annals.approval.given",
        Operation::Withdraw { .. } => "annals.command.withdrawn",
        _ => "annals.command.dispatched",
    };
    let identity: Identity = order.identity.clone();
    let mut event = super::events::plain(order, identity, event_type);
    event.extensions = order.extensions.clone();
    event.time = order.time;
    event.actor.clone_from(&order.actor);
    event.causation.clone_from(&order.causation);
    event.traceparent.clone_from(&order.traceparent);
    event.data = order.request();
    event
}

/// What a message from the queue says of itself.
pub(crate) fn context(event: &NewEvent, command: crate::domain::ids::StreamId) -> Context {
    Context {
        command,
        identity: event.identity(),
        content: event.content,
        actor: event.actor.clone(),
        time: event.time,
        correlation: event.correlation.clone(),
        causation: event.causation.clone(),
        traceparent: event.traceparent.clone(),
        extensions: event.extensions.clone(),
    }
}

/// Whether a type can be asked for over the queue.
pub(crate) fn may_be_asked_for(event_type: &EventType) -> bool {
    const ASKED: [&str; 6] = [
        "annals.command.dispatched",
        "annals.command.succeeded",
        "annals.command.failed",
        "annals.command.forbidden",
        "annals.command.withdrawn",
        "annals.approval.given",
    ];
    ASKED.contains(&event_type.as_str())
}

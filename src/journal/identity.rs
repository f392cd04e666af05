//! The identities of a command's events, fixed before anything is decided, so that a repeated call
//! meets its first.

use sha2::{Digest, Sha256};

use super::Order;
use crate::{
    domain::{
        canonical::canonical_json,
        cloud_event::DecodeError,
        command::{Command, Fact, Person, Stage},
        event::Actor,
        ids::{EventId, Identity, Source, StreamId},
        own,
        timestamp::Timestamp,
    },
    store::{digest, registry::Tenant},
};

/// The source of events that the journal makes. Nobody else may use it.
pub(crate) const SOURCE: &str = own::JOURNAL_SOURCE;

fn hashed(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::encode(&hash.finalize()[..16])
}

fn ours(kind: &str, parts: &[&str]) -> Identity {
    Identity { source: our_source(), id: our_id(format!("{kind}-{}", hashed(parts))) }
}

/// The identity of an operation that came over HTTP under this id of its own.
pub(crate) fn main_identity(kind: &str, command: &StreamId, operation: &str) -> Identity {
    ours(kind, &[command.as_str(), operation])
}

/// The identity of what follows from an operation.
pub(super) fn follows(order: &Order, fact: &Fact) -> Identity {
    let Identity { source, id } = &order.identity;
    ours(name(fact), &[order.command.as_str(), source.as_str(), id.as_str()])
}

/// The identity of what fell due: the same whoever notices it.
pub(super) fn due(order: &Order, fact: &Fact, command: Option<&Command>) -> Identity {
    let fence = match command.map(|command| &command.stage) {
        Some(Stage::Claimed(claim)) => claim.fence,
        _ => 0,
    };
    ours(name(fact), &[order.command.as_str(), &fence.to_string()])
}

/// The identity of a look at what is due. Never stored: what falls due has one of its own.
pub(super) fn sweep(command: &StreamId, now: Timestamp) -> Identity {
    ours("sweep", &[command.as_str(), &now.to_string()])
}

/// What is made here always parses.
fn our_source() -> Source {
    Source::parse(SOURCE).expect("the constant is a source")
}

fn our_id(text: String) -> EventId {
    EventId::parse(text).expect("hexadecimal is an id")
}

fn name(fact: &Fact) -> &'static str {
    let event_type = fact.event_type();
    event_type.rsplit_once('.').map_or(event_type, |(_, name)| name)
}

/// The content of an event that nobody sent: its identity says it all.
pub(super) fn own_content(identity: &Identity) -> [u8; 32] {
    Sha256::digest(format!("annals journal\0{}", identity.id)).into()
}

/// What an operation over HTTP says, as one keyed digest: a body whose secrets are not stored may
/// still be compared with its repetition. Travels with a message, so it must not be guessable.
///
/// # Errors
/// [`DecodeError`] when the body is not JSON, nests too deeply, or holds a name twice.
pub(crate) fn content(
    tenant: &Tenant,
    kind: &str,
    actor: Option<&Actor>,
    body: &str,
) -> Result<[u8; 32], DecodeError> {
    let who = actor.map(|actor| hashed(&[&actor.kind, actor.id.as_deref().unwrap_or_default()]));
    let mut message = format!("operation\0{kind}\0{}\0", who.unwrap_or_default()).into_bytes();
    message.extend(canonical_json(body)?);
    Ok(digest::hmac(&tenant.key.0, &message))
}

/// The person behind an actor: its id alone, so that nobody becomes two by being called a user
/// once and an account once. `None` without an id.
pub(crate) fn person(tenant: &Tenant, actor: &Actor) -> Option<Person> {
    let id = actor.id.as_deref().filter(|id| !id.is_empty())?;
    let hash = digest::hmac(&tenant.key.0, format!("person\0{id}").as_bytes());
    Some(Person::new(hex::encode(&hash[..16])))
}

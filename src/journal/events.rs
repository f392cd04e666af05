//! From facts to events: what is the sender's stays the sender's, and what we add says so.

use std::collections::BTreeMap;

use super::{Order, Record, identity, stream};
use crate::domain::{
    command::{Command, FACT_ATTRIBUTE, Fact},
    event::{Attribute, Data, Expected, NewEvent, Ruling, Target},
    ids::{CorrelationId, EventType, Identity, Status},
    known::put_essential,
    timestamp::Timestamp,
};

/// The events of these facts, each expecting the one before it.
pub(super) fn of(record: &Record, order: &Order, facts: &[Fact], now: Timestamp) -> Vec<NewEvent> {
    let mut command = record.command.clone();
    let mut events = Vec::with_capacity(facts.len());
    for (version, fact) in (record.version..).zip(facts) {
        command = Command::evolve(command, version + 1, fact);
        let mut event = match (fact.fell_due(), fact.follows()) {
            (true, _) => own_event(order, identity::due(order, fact, record.command.as_ref()), fact),
            (_, true) => own_event(order, identity::follows(order, fact), fact),
            _ => main_event(order, fact, version + 1),
        };
        event.time = event.time.or(Some(now));
        event.correlation = event.correlation.or_else(|| record.correlation());
        event.expected = Expected::Exact(version);
        if let Some(command) = &command {
            event.status = Status::parse(command.stage.status()).ok();
            event.ruling = Some(Ruling { due: command.stage.due() });
            essentials(&mut event, order, record, command);
        }
        events.push(event);
    }
    events
}

fn fact_attribute(fact: &Fact) -> Attribute {
    Attribute::Str(serde_json::to_string(fact).expect("facts have string keys"))
}

/// The event that carries the operation itself: who, when and what of it are the sender's.
fn main_event(order: &Order, fact: &Fact, version: u64) -> NewEvent {
    let mut event = bare_event(order, order.identity.clone(), fact);
    event.extensions = order.extensions.clone();
    event.extensions.insert(FACT_ATTRIBUTE.to_owned(), fact_attribute(fact));
    event.time = order.time;
    event.actor.clone_from(&order.actor);
    event.causation.clone_from(&order.causation);
    event.traceparent.clone_from(&order.traceparent);
    event.data = order.data_of(fact, version);
    event.content = order.content;
    event
}

/// An event that we add: it follows from others and is nobody's act.
fn own_event(order: &Order, identity: Identity, fact: &Fact) -> NewEvent {
    let content = identity::own_content(&identity);
    NewEvent { content, ..bare_event(order, identity, fact) }
}

fn bare_event(order: &Order, identity: Identity, fact: &Fact) -> NewEvent {
    let mut event = plain(order, identity, fact.event_type());
    event.extensions.insert(FACT_ATTRIBUTE.to_owned(), fact_attribute(fact));
    event
}

/// An event of the command, of one of our own types.
pub(super) fn plain(order: &Order, identity: Identity, event_type: &str) -> NewEvent {
    NewEvent {
        id: identity.id,
        source: identity.source,
        event_type: EventType::parse(event_type).expect("the constants are event types"),
        subject: Some(order.command.as_str().to_owned()),
        time: None,
        content_type: Some("application/json".to_owned()),
        data_schema: None,
        data: Data::None,
        tenant: None,
        target: Target::Stream(stream(&order.command)),
        correlation: order.correlation.clone(),
        causation: None,
        actor: None,
        recorded_by: None,
        redacted: Vec::new(),
        traceparent: None,
        expected: Expected::Any,
        extensions: BTreeMap::new(),
        status: None,
        ruling: None,
        state: None,
        essentials: BTreeMap::new(),
        starts_stream: false,
        content: [0; 32],
    }
}

/// What the change feed says of a command's event: which command, of which kind, and where it
/// stands now. Never a person, never data.
fn essentials(event: &mut NewEvent, order: &Order, record: &Record, command: &Command) {
    let kind = order.kind.clone().or_else(|| record.kind());
    put_essential(&mut event.essentials, "commandId", Some(order.command.as_str()));
    put_essential(&mut event.essentials, "commandType", kind.as_deref());
    put_essential(&mut event.essentials, "newStatus", Some(command.stage.status()));
    if let Some(policy) = command.policy() {
        put_essential(&mut event.essentials, "approvals", Some(&command.approvals().to_string()));
        put_essential(&mut event.essentials, "approvalsRequired", Some(&policy.required().to_string()));
    }
}

impl Record {
    fn correlation(&self) -> Option<CorrelationId> {
        self.dispatched().and_then(|entry| entry.event.envelope.correlation.clone())
    }
}

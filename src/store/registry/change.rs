//! Changes of the registry, as events.
//!
//! A change and the note that it has to be audited are one transaction; the event is written after,
//! under an id that the change has, so that writing it twice is harmless and forgetting it impossible.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    access::Caller,
    domain::{
        event::{Actor, Data, NewEvent, RecordedBy, Target},
        ids::{EventId, EventType, Source},
        timestamp::Timestamp,
    },
};

/// `source` of the events about the registry. Nobody else may use it.
pub const REGISTRY_SOURCE: &str = "/annals/registry";
/// `source` of the events about access. Nobody else may use it.
pub const ACCESS_SOURCE: &str = "/annals/access";

/// Who changes something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Author {
    /// As it was verified.
    pub recorded_by: RecordedBy,
    /// Who acted.
    pub actor: Actor,
}

impl Author {
    /// Whoever holds the storage role and uses the command line.
    pub fn command_line() -> Self {
        let actor = Actor { kind: "system".to_owned(), id: Some("command-line".to_owned()) };
        Self { recorded_by: RecordedBy::new("command-line"), actor }
    }

    /// Annals itself.
    pub fn annals() -> Self {
        let actor = Actor { kind: "system".to_owned(), id: Some("annals".to_owned()) };
        Self { recorded_by: RecordedBy::annals(), actor }
    }
}

impl From<&Caller> for Author {
    fn from(caller: &Caller) -> Self {
        Self { recorded_by: caller.recorded_by(), actor: caller.actor().clone() }
    }
}

/// A change that has happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Unique within the tenant.
    pub id: String,
    /// Type of the event.
    #[serde(rename = "type")]
    pub kind: String,
    /// When.
    pub time: Timestamp,
    /// Who.
    pub author: Author,
    /// What. Never a secret.
    pub data: Value,
}

impl Change {
    /// The event that tells of it.
    pub fn event(&self) -> NewEvent {
        own_event(REGISTRY_SOURCE, &self.id, &self.kind, self.time, self.author.actor.clone(), &self.data)
    }
}

/// An event of our own in a tenant's audit stream.
pub fn own_event(
    source: &str,
    id: &str,
    kind: &str,
    time: Timestamp,
    actor: Actor,
    data: &Value,
) -> NewEvent {
    let valid = "our own ids, sources and types are valid";
    let content = json!([source, id, kind, time, actor, data]).to_string();
    NewEvent {
        id: EventId::parse(id).expect(valid),
        source: Source::parse(source).expect(valid),
        event_type: EventType::parse(kind).expect(valid),
        subject: None,
        time: Some(time),
        content_type: Some("application/json".to_owned()),
        data_schema: None,
        data: Data::Json(data.to_string().into()),
        tenant: None,
        target: Target::TenantAudit,
        correlation: None,
        causation: None,
        actor: Some(actor),
        recorded_by: None,
        redacted: Vec::new(),
        traceparent: None,
        expected: crate::domain::event::Expected::Any,
        extensions: BTreeMap::new(),
        status: None,
        ruling: None,
        state: None,
        essentials: BTreeMap::new(),
        starts_stream: false,
        content: Sha256::digest(content).into(),
    }
}

//! An event on its way in: what a sender said, and what Annals understood of it.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{
    ids::{
        CausationId, CorrelationId, EventId, EventType, Identity, Invalid, Source, Status, StreamName,
        TenantId,
    },
    timestamp::Timestamp,
};

/// Most bytes of `data`, as it is stored.
pub const MAX_DATA: usize = 512 * 1024;
/// Most bytes of everything else in an event: names and values of all attributes.
pub const MAX_ENVELOPE: usize = 8 * 1024;

/// The payload of an event. Annals keeps the bytes and never interprets more than it must.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Data {
    /// The event carries none.
    #[default]
    None,
    /// JSON text exactly as it was sent: key order and number tokens included.
    Json(Arc<str>),
    /// Bytes that are not JSON (`data_base64`, or a binary-mode body of another content type).
    Binary(Bytes),
}

impl Data {
    /// The bytes that are stored.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Json(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// The value of an extension attribute: the CloudEvents types that survive JSON unchanged.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum Attribute {
    /// Boolean.
    Bool(bool),
    /// Integer: 32 bits by the specification.
    Int(i32),
    /// Any other type, in its string form.
    Str(String),
}

/// Who acted, as the CloudEvents "auth context" extension says it. Claimed, not verified.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Actor {
    /// `authtype`: `user`, `service_account`, `system`, … `unknown` when only an id was given.
    #[serde(rename = "type")]
    pub kind: String,
    /// `authid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Who handed us an event, as we verified it: never what the event says of itself. It names an
/// account (`key:…`, `entra:…`), not a person.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct RecordedBy(String);

impl RecordedBy {
    /// A caller that has been verified under this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The ingest queue: whoever may send to it. The queue is one trust domain.
    pub fn queue() -> Self {
        Self::new("queue")
    }

    /// Annals itself, for the events that it adds on its own account.
    pub fn annals() -> Self {
        Self::new("annals")
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Optimistic concurrency: what the sender believes about the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// Nothing.
    #[default]
    Any,
    /// It has no events.
    NoStream,
    /// It has at least one event.
    StreamExists,
    /// Its last event has this version (0: it has none).
    #[serde(untagged)]
    Exact(u64),
}

impl Expected {
    /// Parses `expectedversion`: a number, `any`, `no-stream` or `stream-exists`.
    ///
    /// # Errors
    /// [`Invalid`] when it is anything else.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "any" => Ok(Self::Any),
            "no-stream" => Ok(Self::NoStream),
            "stream-exists" => Ok(Self::StreamExists),
            number
                if !number.is_empty() && number.len() <= 12 && number.bytes().all(|b| b.is_ascii_digit()) =>
            {
                number.parse().map(Self::Exact).map_err(|_| Self::invalid())
            }
            _ => Err(Self::invalid()),
        }
    }

    fn invalid() -> Invalid {
        Invalid::new(
            "expectedversion",
            "must be a number of at most 12 digits, `any`, `no-stream` or `stream-exists`",
        )
    }

    /// Whether a stream at `actual` (0: no stream) is what the sender expected.
    pub fn holds(self, actual: u64) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => actual == 0,
            Self::StreamExists => actual > 0,
            Self::Exact(version) => actual == version,
        }
    }
}

/// Which stream an event belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The tenant's audit stream: `tenant/audit`, or one of `tenant/audit-pNN` where the tenant has
    /// several partitions.
    TenantAudit,
    /// A stream of its own name.
    Stream(StreamName),
}

/// That a state machine decided the status of the event's stream: it holds whatever the times of
/// its events say, and comes with the time at which the stream falls due by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ruling {
    /// When the stream falls due next, if it does.
    pub due: Option<Timestamp>,
}

/// An event that is not stored yet: every attribute parsed, its stream and effect known.
///
/// What is a member here stands nowhere else: `extensions` holds only the attributes that Annals
/// knows nothing about.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// CloudEvents `id`.
    pub id: EventId,
    /// CloudEvents `source`.
    pub source: Source,
    /// CloudEvents `type`.
    pub event_type: EventType,
    /// CloudEvents `subject`, as it was sent.
    pub subject: Option<String>,
    /// CloudEvents `time`: when it happened.
    pub time: Option<Timestamp>,
    /// CloudEvents `datacontenttype`.
    pub content_type: Option<String>,
    /// CloudEvents `dataschema`.
    pub data_schema: Option<String>,
    /// CloudEvents `data` or `data_base64`.
    pub data: Data,
    /// `tenantid` or `maraintenantid`, or the `tenantId` of a Marain envelope.
    pub tenant: Option<TenantId>,
    /// Where it goes.
    pub target: Target,
    /// `correlationid`.
    pub correlation: Option<CorrelationId>,
    /// `causationid`.
    pub causation: Option<CausationId>,
    /// `authtype` and `authid`.
    pub actor: Option<Actor>,
    /// Who handed it to us. Set by the store from the delivery, never by a sender; not part of the
    /// content digest, since we add it.
    pub recorded_by: Option<RecordedBy>,
    /// JSON pointers to what was redacted before storage. Set by the store as well.
    pub redacted: Vec<String>,
    /// `traceparent`, if it is well-formed.
    pub traceparent: Option<String>,
    /// `expectedversion`. A condition on the append, not part of the event.
    pub expected: Expected,
    /// All other extension attributes.
    pub extensions: BTreeMap<String, Attribute>,
    /// The status that the stream has after this event, where the type says so.
    pub status: Option<Status>,
    /// Set where a state machine decided `status`. Never by a sender.
    pub ruling: Option<Ruling>,
    /// The state that the stream has after this event, where the type says so.
    pub state: Option<String>,
    /// What of `data` may leave on the change feed, by the allow-list of the type.
    pub essentials: BTreeMap<&'static str, String>,
    /// True when the type says that this event is the first of its stream.
    pub starts_stream: bool,
    /// SHA-256 over the canonical form of all that the sender sent but `expectedversion`: equal
    /// exactly when two deliveries say the same. Never stored as it is (see `store::digest`).
    pub content: [u8; 32],
}

impl NewEvent {
    /// The identity of the event.
    pub fn identity(&self) -> Identity {
        Identity { source: self.source.clone(), id: self.id.clone() }
    }
}

//! The essentials of a stored event: all of it that may leave the tenant's table unasked.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use super::{
    ids::{
        Category, CausationId, CorrelationId, EventId, EventType, Identity, Source, Status, StreamId,
        StreamName,
    },
    timestamp::Timestamp,
};

/// What a commit says of each of its events, and what the change feed is made from.
///
/// MUST NOT hold context, parameters or any other `data` but the allow-listed members of the type,
/// nor any person: the actor appears only as a hash under the tenant's key. The commit's digest
/// covers these bytes, so they can never be erased: nothing that may have to be belongs here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Essentials {
    /// Place in the partition.
    pub sequence: u64,
    /// CloudEvents `id`.
    pub id: EventId,
    /// CloudEvents `source`.
    pub source: Source,
    /// CloudEvents `type`.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// Category of the stream.
    pub category: Category,
    /// Id of the stream.
    pub stream: StreamId,
    /// Version of the event in its stream.
    pub version: u64,
    /// When it happened, if the sender said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// The status that the event asks for, if its type has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Correlation id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<CorrelationId>,
    /// Causation id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<CausationId>,
    /// W3C trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Keyed hash of the actor: says "the same person", never who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Allow-listed members of `data`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<Cow<'static, str>, String>,
    /// True when the event came through `ingest`, whose own answer publishes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ingest: bool,
    /// Salted digest of the event's row, in hexadecimal.
    pub digest: String,
    /// Keyed hash of the data subject, where the sender named one: under it erasure finds the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Digest of the stream's row as this event left it, in hexadecimal.
    pub stream_row: String,
    /// The same as this event found it; none when the stream begins with it. So each event takes back
    /// what the one before said, and what all say together is the newest row of every stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_row_before: Option<String>,
}

impl Essentials {
    /// The event's identity.
    pub fn identity(&self) -> Identity {
        Identity { source: self.source.clone(), id: self.id.clone() }
    }

    /// The event's stream.
    pub fn stream_name(&self) -> StreamName {
        StreamName::new(self.category.clone(), self.stream.clone())
    }
}

//! Events in full.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{BadRow, Reader, SCHEMA, binary, chunks, json, number, text, time, with_chunks};
use crate::{
    domain::{
        event::{Actor, Attribute, Data, RecordedBy},
        ids::{CausationId, CorrelationId, EventId, EventType, Source, StreamName},
        position::{PartitionId, Position},
        timestamp::Timestamp,
    },
    store::{
        digest::{self, Digest, Salt},
        keys,
        table::{Row, Value},
    },
};

/// The attributes of an event as they are stored: everything but data and actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the members are those of `NewEvent`")]
pub struct Envelope {
    pub id: EventId,
    pub source: Source,
    #[serde(rename = "type")]
    pub event_type: EventType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_schema: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<CorrelationId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<CausationId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_by: Option<RecordedBy>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redacted: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: BTreeMap<String, Attribute>,
}

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedEvent {
    /// Its attributes.
    pub envelope: Envelope,
    /// Who acted.
    pub actor: Option<Actor>,
    /// Its payload.
    pub data: Data,
    /// Its stream.
    pub stream: StreamName,
    /// Its version there.
    pub version: u64,
    /// Its place in the tenant.
    pub position: Position,
    /// When it was recorded.
    pub recorded: Timestamp,
    /// Salt and keyed content digest, by which a later delivery of the same identity is compared;
    /// `None` once the event is erased.
    pub fingerprint: Option<Fingerprint>,
    /// What was erased of it, if anything was.
    pub erased: Option<ErasedMark>,
}

/// Says on an event's row that it was erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErasedMark {
    /// When.
    pub time: Timestamp,
    /// Id of the erasure event, of the source `annals`, that says who did it and why.
    pub event: String,
    /// What was blanked, as JSON pointers into the data; none: all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pointers: Vec<String>,
}

/// How two deliveries of one identity are compared without keeping what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// The event's salt.
    pub salt: Salt,
    /// HMAC of the content digest under that salt.
    pub content: [u8; 32],
}

impl Fingerprint {
    /// The fingerprint of a content digest under a salt.
    pub fn of(salt: Salt, content: &[u8; 32]) -> Self {
        Self { salt, content: digest::hmac(&salt.0, content) }
    }

    /// Whether a delivery with this content digest says what the stored event said.
    pub fn matches(&self, content: &[u8; 32]) -> bool {
        *self == Self::of(self.salt, content)
    }
}

impl RecordedEvent {
    /// Writes the row, digest included, and gives the digest as well.
    pub fn row(&self, fingerprint: &Fingerprint) -> (Row, Digest) {
        self.write(fingerprint.salt, Some(fingerprint.content))
    }

    /// Writes the row of an event that was erased, under a salt of its own: of what it was,
    /// nothing is left to test a guess with.
    pub fn erased_row(&self, salt: Salt) -> (Row, Digest) {
        self.write(salt, None)
    }

    fn write(&self, salt: Salt, content: Option<[u8; 32]>) -> (Row, Digest) {
        let kind = match self.data {
            Data::None => "none",
            Data::Json(_) => "json",
            Data::Binary(_) => "binary",
        };
        // In the order in which the digest takes them, so that it has nothing to sort.
        let actor = self.actor.as_ref().map(|actor| binary(json(actor)));
        let row = Row::new(keys::event(&self.stream, self.version))
            .with_some("Actor", actor)
            .with("Category", text(self.stream.category.as_str()))
            .with_some("Content", content.map(binary));
        let row = with_chunks(row, "Data", self.data.as_bytes())
            .with("DataKind", text(kind))
            .with("Envelope", binary(json(&self.envelope)))
            .with_some("Erased", self.erased.as_ref().map(|erased| binary(json(erased))))
            .with("Recorded", time(self.recorded))
            .with("Schema", Value::Int(SCHEMA))
            .with("Sequence", number(self.position.sequence))
            .with("Stream", text(self.stream.id.as_str()))
            .with("Version", number(self.version));
        let digest = digest::event(self.position.partition, &row, &salt);
        let row = row.with("Salt", binary(salt.0)).with("Digest", binary(digest.0));
        (row, digest)
    }

    /// Reads the row.
    ///
    /// # Errors
    /// [`BadRow`] when a property is missing or malformed.
    pub fn read(partition: PartitionId, row: &Row) -> Result<Self, BadRow> {
        let r = Reader(row);
        let envelope = row.bin("Envelope").ok_or_else(|| r.bad("Envelope"))?;
        let actor = match row.bin("Actor") {
            None => None,
            Some(json) => Some(r.parsed("Actor", serde_json::from_slice(json))?),
        };
        let data = match r.str("DataKind")? {
            "json" => Data::Json(r.parsed("Data0", String::from_utf8(chunks(row, "Data")))?.into()),
            "binary" => Data::Binary(chunks(row, "Data").into()),
            "none" => Data::None,
            _ => return Err(r.bad("DataKind")),
        };
        Ok(Self {
            envelope: r.parsed("Envelope", serde_json::from_slice(envelope))?,
            actor,
            data,
            stream: r.stream()?,
            version: r.number("Version")?,
            position: Position { partition, sequence: r.number("Sequence")? },
            recorded: r.time("Recorded")?,
            fingerprint: Self::fingerprint(row),
            erased: match row.bin("Erased") {
                None => None,
                Some(json) => Some(r.parsed("Erased", serde_json::from_slice(json))?),
            },
        })
    }

    fn fingerprint(row: &Row) -> Option<Fingerprint> {
        let salt = Salt(row.bin("Salt")?.as_ref().try_into().ok()?);
        let content = row.bin("Content")?.as_ref().try_into().ok()?;
        Some(Fingerprint { salt, content })
    }
}

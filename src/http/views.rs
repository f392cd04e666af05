//! What answers look like: JSON in camelCase, times in RFC 3339 UTC.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    domain::{
        event::{Actor, Attribute, Data, RecordedBy},
        ids::StreamName,
        position::Position,
        timestamp::Timestamp,
    },
    feed::all_stream::Item,
    store::{
        append::Answer,
        history::ListedStream,
        registry::{Settings, Tenant},
        rows::{ErasedMark, RecordedEvent, Stream},
    },
};

/// An event that was appended.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AppendedView<'a> {
    id: &'a str,
    source: &'a str,
    stream: String,
    version: u64,
    position: Position,
    recorded_time: Timestamp,
    duplicate: bool,
}

impl<'a> AppendedView<'a> {
    pub(super) fn of(answer: &'a Answer) -> Self {
        let essentials = &answer.stored.essentials;
        Self {
            id: essentials.id.as_str(),
            source: essentials.source.as_str(),
            stream: essentials.stream_name().to_string(),
            version: essentials.version,
            position: answer.stored.position(),
            recorded_time: answer.stored.recorded,
            duplicate: answer.duplicate,
        }
    }
}

/// An event in full. Attributes that Annals knows nothing about stand under `extensions`, so that
/// none of them can be mistaken for one of ours.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventView<'a> {
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    stream: String,
    version: u64,
    position: Position,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
    recorded_time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a Actor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_by: Option<&'a RecordedBy>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    redacted: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extensions: &'a BTreeMap<String, Attribute>,
    #[serde(rename = "datacontenttype", skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(rename = "dataschema", skip_serializing_if = "Option::is_none")]
    data_schema: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(rename = "data_base64", skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    erased: Option<&'a ErasedMark>,
}

impl<'a> EventView<'a> {
    pub(super) fn of(event: &'a RecordedEvent) -> Self {
        let envelope = &event.envelope;
        let (data, data_base64) = match &event.data {
            // What was erased whole says so: there was data.
            Data::None => (event.erased.is_some().then(|| RawValue::NULL.to_owned()), None),
            // It was JSON when it was stored; what is no longer is served as bytes.
            Data::Json(text) => match RawValue::from_string(text.to_string()) {
                Ok(json) => (Some(json), None),
                Err(_) => (None, Some(STANDARD.encode(text.as_bytes()))),
            },
            Data::Binary(bytes) => (None, Some(STANDARD.encode(bytes))),
        };
        Self {
            id: envelope.id.as_str(),
            source: envelope.source.as_str(),
            event_type: envelope.event_type.as_str(),
            stream: event.stream.to_string(),
            version: event.version,
            position: event.position,
            subject: envelope.subject.as_deref(),
            time: envelope.time,
            recorded_time: event.recorded,
            actor: event.actor.as_ref(),
            recorded_by: envelope.recorded_by.as_ref(),
            redacted: &envelope.redacted,
            correlation_id: envelope.correlation.as_ref().map(|id| id.as_str()),
            causation_id: envelope.causation.as_ref().map(|id| id.as_str()),
            traceparent: envelope.traceparent.as_deref(),
            extensions: &envelope.extensions,
            content_type: envelope.content_type.as_deref(),
            data_schema: envelope.data_schema.as_deref(),
            data,
            data_base64,
            erased: event.erased.as_ref(),
        }
    }
}

/// An event of the all-stream: its essentials, or all of it.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ItemView<'a> {
    Whole(Box<EventView<'a>>),
    Essentials(Box<EssentialsView<'a>>),
}

impl<'a> ItemView<'a> {
    pub(super) fn of(item: &'a Item) -> Self {
        match &item.event {
            Some(event) => Self::Whole(Box::new(EventView::of(event))),
            None => Self::Essentials(Box::new(EssentialsView::of(item))),
        }
    }
}

/// What the log says of an event without its data.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EssentialsView<'a> {
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    stream: String,
    version: u64,
    position: Position,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
    recorded_time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    /// Keyed hash: the same for the same actor.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_hash: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    essentials: &'a BTreeMap<Cow<'static, str>, String>,
    digest: &'a str,
}

impl<'a> EssentialsView<'a> {
    fn of(item: &'a Item) -> Self {
        let essentials = &item.essentials;
        Self {
            id: essentials.id.as_str(),
            source: essentials.source.as_str(),
            event_type: essentials.event_type.as_str(),
            stream: essentials.stream_name().to_string(),
            version: essentials.version,
            position: item.position,
            time: essentials.time,
            recorded_time: item.recorded,
            status: essentials.status.as_ref().map(|status| status.as_str()),
            actor_hash: essentials.actor.as_deref(),
            correlation_id: essentials.correlation.as_ref().map(|id| id.as_str()),
            causation_id: essentials.causation.as_ref().map(|id| id.as_str()),
            traceparent: essentials.traceparent.as_deref(),
            essentials: &essentials.data,
            digest: &essentials.digest,
        }
    }
}

/// A stream.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StreamView<'a> {
    category: &'a str,
    id: &'a str,
    stream: String,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_event_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_time: Option<Timestamp>,
}

impl<'a> StreamView<'a> {
    pub(super) fn of(name: &'a StreamName, stream: &'a Stream) -> Self {
        let set = stream.status.as_ref();
        Self {
            category: name.category.as_str(),
            id: name.id.as_str(),
            stream: name.to_string(),
            version: stream.version,
            status: set.map(|set| set.status.as_str()),
            status_time: set.map(|set| set.since),
            status_event_id: set.map(|set| set.event.as_str()),
            state: stream.state.as_deref(),
            first_time: stream.times.map(|(first, _)| first),
            last_time: stream.times.map(|(_, last)| last),
        }
    }

    pub(super) fn listed(listed: &'a ListedStream) -> Self {
        Self::of(&listed.name, &listed.stream)
    }
}

/// A tenant.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TenantView<'a> {
    id: &'a str,
    #[serde(flatten)]
    settings: &'a Settings,
    created_time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_time: Option<Timestamp>,
}

impl<'a> TenantView<'a> {
    pub(crate) fn of(tenant: &'a Tenant) -> Self {
        Self {
            id: tenant.id.as_str(),
            settings: &tenant.settings,
            created_time: tenant.created,
            closed_time: tenant.closed,
        }
    }
}

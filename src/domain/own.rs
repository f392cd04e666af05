//! Events of our own: what Annals itself puts on record.

use std::collections::BTreeMap;

use super::{
    canonical,
    cloud_event::{CloudEvent, DecodeError},
    event::{Actor, Data, Expected, NewEvent, Target},
    ids::{EventId, EventType, Source, StreamName},
};

/// Category of the streams that hold checkpoints.
pub const CHECKPOINT: &str = "checkpoint";
/// Type of the event that carries a checkpoint.
pub const CHECKPOINT_SIGNED: &str = "annals.checkpoint.signed";
/// The source of our own events.
pub const SOURCE: &str = "annals";
/// Categories and types that senders cannot use: their events are proof.
const RESERVED: ([&str; 2], [&str; 2]) =
    (["erasure", "checkpoint"], ["annals.erasure.", "annals.checkpoint."]);

/// Whether only Annals itself may write events of this type, category or source.
pub(crate) fn is_reserved(event_type: &EventType, category: Option<&str>, source: &Source) -> bool {
    source.as_str() == SOURCE
        || RESERVED.1.iter().any(|prefix| event_type.as_str().starts_with(prefix))
        || category.is_some_and(|category| RESERVED.0.contains(&category))
}

/// An event of our own.
///
/// # Errors
/// [`DecodeError`] when the type, the id or the data is not what it should be.
pub fn event(
    id: &str,
    event_type: &str,
    stream: StreamName,
    actor: Option<Actor>,
    data: String,
    essentials: BTreeMap<&'static str, String>,
) -> Result<NewEvent, DecodeError> {
    let event = CloudEvent {
        id: EventId::parse(id)?,
        source: Source::parse(SOURCE)?,
        event_type: EventType::parse(event_type)?,
        subject: Some(stream.id.as_str().to_owned()),
        time: None,
        content_type: Some("application/json".to_owned()),
        data_schema: None,
        extensions: BTreeMap::new(),
        data: Data::Json(data.into()),
    };
    let content = canonical::digest(&event)?;
    Ok(NewEvent {
        id: event.id,
        source: event.source,
        event_type: event.event_type,
        subject: event.subject,
        time: None,
        content_type: event.content_type,
        data_schema: None,
        data: event.data,
        tenant: None,
        target: Target::Stream(stream),
        correlation: None,
        causation: None,
        actor,
        recorded_by: None,
        redacted: Vec::new(),
        traceparent: None,
        expected: Expected::Any,
        extensions: BTreeMap::new(),
        status: None,
        ruling: None,
        state: None,
        essentials,
        starts_stream: false,
        content,
    })
}

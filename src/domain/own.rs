//! Events of our own: what Annals itself puts on record.

use std::collections::BTreeMap;

use super::{
    canonical,
    cloud_event::{CloudEvent, DecodeError},
    event::{Actor, Data, Expected, NewEvent, Target},
    ids::{EventId, EventType, Source, StreamName},
    known,
};

/// Category of the streams that hold checkpoints.
pub const CHECKPOINT: &str = "checkpoint";
/// Type of the event that carries a checkpoint.
pub const CHECKPOINT_SIGNED: &str = "annals.checkpoint.signed";
/// The source of our own events.
pub const SOURCE: &str = "annals";
/// The source of events that the command journal makes. What travels under it is sealed.
pub(crate) const JOURNAL_SOURCE: &str = "urn:annals:journal";
/// Categories and types that senders cannot use: their events are proof.
const RESERVED: ([&str; 2], [&str; 2]) =
    (["erasure", "checkpoint"], ["annals.erasure.", "annals.checkpoint."]);

/// Whether only Annals itself may write events of this type, category or source.
///
/// The journal's own source is left to its types, whose seal the journal looks at. Under any other type
/// somebody could take the identity that an event of a command will have, and so keep it from ever being
/// written.
pub(crate) fn is_reserved(event_type: &EventType, category: Option<&str>, source: &Source) -> bool {
    source.as_str() == SOURCE
        || source.as_str() == JOURNAL_SOURCE && !known::is_journal(event_type)
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

//! What one event makes of its stream, and what is written of it.

use std::borrow::Cow;

use crate::{
    domain::{essentials::Essentials, position::Position, timestamp::Timestamp},
    store::{
        append::{Candidate, Origin},
        digest,
        rows::{Envelope, RecordedEvent, Stream, StreamStatus},
    },
};

/// What a stream is after one more event.
pub(super) fn advance(stream: &mut Stream, candidate: &Candidate, recorded: Timestamp) {
    let event = &candidate.event;
    let happened = event.time.unwrap_or(recorded);
    stream.version += 1;
    stream.times = Some(match stream.times {
        None => (happened, happened),
        Some((first, last)) => (first.min(happened), last.max(happened)),
    });
    if let Some(ruling) = event.ruling {
        stream.due = ruling.due;
    }
    let Some(status) = &event.status else { return };
    // Queues invert: an event that happened before the one which set the status never changes it,
    // unless a state machine has ruled.
    let later = event.ruling.is_some()
        || stream.status.as_ref().is_none_or(|set| (happened, &event.id) > (set.since, &set.event));
    if later {
        stream.status =
            Some(StreamStatus { status: status.clone(), since: happened, event: event.id.clone() });
        stream.attention = candidate.attention.then(|| status.clone());
        if event.state.is_some() {
            stream.state.clone_from(&event.state);
        }
    }
}

pub(super) fn recorded(
    candidate: &Candidate,
    position: Position,
    version: u64,
    recorded: Timestamp,
) -> RecordedEvent {
    let event = &candidate.event;
    RecordedEvent {
        envelope: Envelope {
            id: event.id.clone(),
            source: event.source.clone(),
            event_type: event.event_type.clone(),
            subject: event.subject.clone(),
            time: event.time,
            content_type: event.content_type.clone(),
            data_schema: event.data_schema.clone(),
            correlation: event.correlation.clone(),
            causation: event.causation.clone(),
            traceparent: event.traceparent.clone(),
            recorded_by: event.recorded_by.clone(),
            redacted: event.redacted.clone(),
            extensions: event.extensions.clone(),
        },
        actor: event.actor.clone(),
        data: event.data.clone(),
        stream: candidate.stream.clone(),
        version,
        position,
        recorded,
        fingerprint: Some(candidate.fingerprint),
        erased: None,
    }
}

pub(super) fn essentials(
    candidate: &Candidate,
    origin: Origin,
    sequence: u64,
    version: u64,
    (event_digest, stream_row, stream_row_before): (digest::Digest, String, Option<String>),
) -> Essentials {
    let event = &candidate.event;
    Essentials {
        sequence,
        id: event.id.clone(),
        source: event.source.clone(),
        event_type: event.event_type.clone(),
        category: candidate.stream.category.clone(),
        stream: candidate.stream.id.clone(),
        version,
        time: event.time,
        status: event.status.clone(),
        correlation: event.correlation.clone(),
        causation: event.causation.clone(),
        traceparent: event.traceparent.clone(),
        actor: candidate.actor.clone(),
        data: event.essentials.iter().map(|(name, value)| (Cow::Borrowed(*name), value.clone())).collect(),
        ingest: origin == Origin::Ingest,
        digest: digest::hexadecimal(&event_digest.0),
        subject: candidate.subject.clone(),
        stream_row,
        stream_row_before,
    }
}

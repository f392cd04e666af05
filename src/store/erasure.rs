//! Erasure: blanking what an event says, in place, in the same commit as the event that says so.
//!
//! What MUST hold:
//!
//! - The row and the erasure event change together, or neither does. The erasure event carries the
//!   salted digest of what remains, so `verify` demands exactly that row from then on.
//! - Nothing of what was erased is left: not in the row, not in its salt (no guess can be tested),
//!   not in the digest of its content, not in what this process remembers.
//! - Doing it again changes nothing: what is erased already is answered as such.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Delivery, Store, StoreError,
    append::{Amendment, Refusal},
    digest::Salt,
    history::HistoryError,
    keys,
    registry::Tenant,
    rows::{BadRow, ErasedMark, IdentityRow, RecordedEvent},
};
use crate::domain::{
    erasure::{self, CATEGORY, ERASED, Erased, Nowhere},
    event::{Actor, Data, RecordedBy},
    ids::{Category, Identity, StreamId, StreamName},
    own,
    position::{PartitionId, Position},
};

/// Times that a row is read again when somebody else erases it too.
const TRIES: usize = 4;

/// What to erase of an event, and why.
#[derive(Debug, Clone)]
pub struct Erasure {
    /// What of its data: JSON pointers; none: all of it.
    pub pointers: Vec<String>,
    /// Also who acted, for an actor of this id (`*`: whoever it is).
    pub actor: Option<String>,
    /// Why. Stands in the erasure event for ever.
    pub reason: String,
    /// Who erases.
    pub by: Actor,
    /// Who handed it to us.
    pub recorded_by: RecordedBy,
}

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasedEvent {
    /// The event's place.
    pub position: Position,
    /// Id of the erasure event; that of an earlier one when there was nothing left to erase.
    pub erasure: String,
    /// True when it had been erased before.
    pub already: bool,
}

/// Why nothing was erased.
#[derive(Debug, thiserror::Error)]
pub enum ErasureError {
    /// A pointer leads nowhere.
    #[error("the data cannot be blanked there")]
    Nowhere(#[from] Nowhere),
    /// The erasure event was not stored.
    #[error("the erasure was not stored")]
    Store(#[from] StoreError),
    /// Storage or a row failed.
    #[error("the event cannot be read")]
    History(#[from] HistoryError),
}

impl From<BadRow> for ErasureError {
    fn from(bad: BadRow) -> Self {
        Self::History(bad.into())
    }
}

impl Store {
    /// Erases one event by its identity; `None` when there is no such event.
    ///
    /// # Errors
    /// [`ErasureError`]; doing it again is then safe.
    pub async fn erase(
        &self,
        tenant: &Arc<Tenant>,
        identity: &Identity,
        erasure: &Erasure,
        deadline: Instant,
    ) -> Result<Option<ErasedEvent>, ErasureError> {
        let log = self.log(tenant);
        for partition in tenant.partitions() {
            let row = log.get(partition, &keys::identity(identity)).await.map_err(HistoryError::from)?;
            if let Some(stored) = row {
                let place = IdentityRow::read(&stored.row)?;
                return self
                    .erase_at(tenant, partition, &place.stream, place.version, erasure, deadline)
                    .await
                    .map(Some);
            }
        }
        Ok(None)
    }

    /// Erases the event at this version of a stream.
    ///
    /// # Errors
    /// As [`Store::erase`].
    pub async fn erase_at(
        &self,
        tenant: &Arc<Tenant>,
        partition: PartitionId,
        stream: &StreamName,
        version: u64,
        erasure: &Erasure,
        deadline: Instant,
    ) -> Result<ErasedEvent, ErasureError> {
        let log = self.log(tenant);
        for _ in 0..TRIES {
            let key = keys::event(stream, version);
            let stored = log.get(partition, &key).await.map_err(HistoryError::from)?;
            let stored = stored.ok_or(BadRow { key, property: "RowKey" })?;
            let event = RecordedEvent::read(partition, &stored.row)?;
            let id = uuid::Uuid::new_v4().to_string();
            let now = self.clock().now().to_micros();
            let subject = event.envelope.extensions.get(super::DATA_SUBJECT);
            let subject = subject.map(|subject| super::subject_hash(tenant, &subject.to_text()));
            let Some(blanked) =
                blanked(&event, erasure, ErasedMark { time: now, event: id.clone(), pointers: Vec::new() })?
            else {
                let erasure = event.erased.map(|mark| mark.event).unwrap_or_default();
                return Ok(ErasedEvent { position: event.position, erasure, already: true });
            };
            // The link goes with the last that it leads to.
            let subject = subject.filter(|_| !blanked.envelope.extensions.contains_key(super::DATA_SUBJECT));
            let (row, digest) = blanked.erased_row(Salt(rand::random()));
            let before = stored.row.bin("Digest").map(hex::encode).unwrap_or_default();
            let said = Erased {
                identity: Identity { source: event.envelope.source.clone(), id: event.envelope.id.clone() },
                stream: stream.clone(),
                version,
                sequence: event.position.sequence,
                before,
                after: hex::encode(digest.0),
                subject: subject.clone(),
            };
            let amendment = Amendment {
                row,
                etag: stored.etag,
                removed: subject.iter().map(|s| keys::subject(s, event.position.sequence)).collect(),
                identity: said.identity.clone(),
            };
            let own = own_event(&id, partition, &said, erasure);
            let delivery = Delivery::direct(erasure.recorded_by.clone());
            match self.amend(tenant, vec![own], vec![amendment], delivery, deadline).await {
                Ok(_) => return Ok(ErasedEvent { position: event.position, erasure: id, already: false }),
                // Somebody else erased it too, or this very call did and its answer was lost.
                Err(StoreError::Refused(Refusal::AmendmentStale)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Unavailable { reason: "the event kept changing".to_owned() }.into())
    }

    /// Puts on record that a dead letter is erased, before it is. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`ErasureError`].
    pub async fn record_letter_erasure(
        &self,
        tenant: &Arc<Tenant>,
        letter: &str,
        erasure: &Erasure,
        deadline: Instant,
    ) -> Result<(), ErasureError> {
        let Some(partition) = PartitionId::new(0) else { return Ok(()) };
        let data = serde_json::json!({ "reason": erasure.reason, "deadLetter": letter });
        let essentials = [("erasedDeadLetter", letter.to_owned())].into();
        let event = own::event(
            &format!("dead-letter-{letter}"),
            erasure::LETTER_ERASED,
            stream(partition),
            Some(erasure.by.clone()),
            data.to_string(),
            essentials,
        );
        let event = event.expect("a dead letter's name is a valid id");
        let delivery = Delivery::direct(erasure.recorded_by.clone()).again();
        match self.amend(tenant, vec![event], Vec::new(), delivery, deadline).await {
            // It was recorded before, perhaps with another reason.
            Ok(_) | Err(StoreError::Refused(Refusal::IdentityReused { .. })) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The event without what is to be erased; `None` when nothing of that is left.
fn blanked(
    event: &RecordedEvent,
    erasure: &Erasure,
    mark: ErasedMark,
) -> Result<Option<RecordedEvent>, ErasureError> {
    let mut left = event.clone();
    let earlier = event.erased.as_ref();
    if erasure.pointers.is_empty() {
        left.data = Data::None;
        left.envelope.extensions.remove(super::DATA_SUBJECT);
    } else {
        left.data = match &event.data {
            Data::Json(text) => Data::Json(erasure::blank(text, &erasure.pointers)?.into()),
            Data::None if earlier.is_some() => Data::None,
            _ => return Err(Nowhere.into()),
        };
    }
    let theirs = |actor: &Actor| {
        erasure.actor.as_deref().is_some_and(|id| id == "*" || actor.id.as_deref() == Some(id))
    };
    if left.actor.as_ref().is_some_and(theirs) {
        left.actor = None;
    }
    let whole = earlier.is_some_and(|mark| mark.pointers.is_empty());
    let same = left.data == event.data && left.actor == event.actor && left.envelope == event.envelope;
    if same && (earlier.is_some() && (whole || !erasure.pointers.is_empty())) {
        return Ok(None);
    }
    let mut pointers = erasure.pointers.clone();
    if !pointers.is_empty() {
        if whole {
            pointers.clear();
        } else {
            pointers.extend(earlier.into_iter().flat_map(|mark| mark.pointers.iter().cloned()));
            pointers.sort();
            pointers.dedup();
        }
    }
    left.erased = Some(ErasedMark { pointers, ..mark });
    left.fingerprint = None;
    Ok(Some(left))
}

fn stream(partition: PartitionId) -> StreamName {
    let valid = "a constant that is a valid id";
    StreamName::new(
        Category::parse(CATEGORY).expect(valid),
        StreamId::parse(partition.to_string()).expect(valid),
    )
}

fn own_event(
    id: &str,
    partition: PartitionId,
    said: &Erased,
    erasure: &Erasure,
) -> crate::domain::event::NewEvent {
    let data = serde_json::json!({
        "reason": erasure.reason,
        "pointers": erasure.pointers,
        "event": {
            "id": said.identity.id, "source": said.identity.source,
            "stream": said.stream.to_string(), "version": said.version,
            "position": Position { partition, sequence: said.sequence },
        },
    });
    let event = own::event(
        id,
        ERASED,
        stream(partition),
        Some(erasure.by.clone()),
        data.to_string(),
        said.essentials(),
    );
    event.expect("a UUID and our own JSON make an event")
}

//! How appends come to the store, and why they may not get in.

use super::append::{AppendError, Origin, Refusal};
use crate::domain::event::RecordedBy;

/// How an append came here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The door.
    pub origin: Origin,
    /// True when the queue has delivered it before.
    pub redelivered: bool,
    /// Who handed it to us.
    pub recorded_by: RecordedBy,
}

impl Delivery {
    /// From the ingest queue, delivered this often.
    pub fn queue(dequeue_count: u32) -> Self {
        Self { origin: Origin::Ingest, redelivered: dequeue_count > 1, recorded_by: RecordedBy::queue() }
    }

    /// From a caller that has been verified, or from Annals itself.
    pub fn direct(recorded_by: RecordedBy) -> Self {
        Self { origin: Origin::Direct, redelivered: false, recorded_by }
    }

    /// The same, of events that may have come before: identities are looked up first.
    #[must_use]
    pub fn again(self) -> Self {
        Self { redelivered: true, ..self }
    }
}

/// Why events were not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// They never will be as they are.
    #[error("the append is refused")]
    Refused(#[source] Refusal),
    /// One holds a secret where none can be taken out.
    #[error("an event holds what looks like a secret in `{field}`, and cannot be stored without it")]
    HoldsSecret {
        /// Place of the event in the append.
        index: usize,
        /// The attribute.
        field: &'static str,
    },
    /// One uses what only Annals itself may use: a source of its own, or the system tenant.
    #[error("this source or tenant is reserved for the events of Annals itself")]
    Reserved {
        /// Place of the event in the append.
        index: usize,
    },
    /// The tenant is closed, and the events are new.
    #[error("the tenant is closed: what it has can be read, and nothing is added")]
    Closed,
    /// Their streams lie in different partitions: no one commit can hold them.
    #[error("the events belong to streams in different partitions")]
    SpansPartitions,
    /// They were not stored, or may have been: send them again later, as they are.
    #[error("storage is not available ({reason})")]
    Unavailable {
        /// What happened, without addresses or secrets.
        reason: String,
    },
}

impl StoreError {
    /// Its stable code, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::HoldsSecret { .. } => "holds-secret",
            Self::Reserved { .. } => "reserved",
            Self::Closed => "tenant-closed",
            Self::SpansPartitions => "spans-partitions",
            Self::Unavailable { .. } => "unavailable",
        }
    }
}

impl From<AppendError> for StoreError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Refused(refusal) => Self::Refused(refusal),
            AppendError::Unavailable { reason } => Self::Unavailable { reason },
        }
    }
}

//! Append: the heart. One committer for each partition turns concurrent appends into commits.
//!
//! - `plan` decides, purely, what one batch does.
//! - `committer` sends it and finds out what became of it.
//! - `state` is what the process believes about the partition, and how it learns better.
//!
//! The head's ETag stands in every batch: it proves that the beliefs were true when the batch was
//! committed. It never proves a refusal, which therefore waits for a look at storage.

mod amend;
mod committer;
mod news;
mod plan;
mod read;
mod rule;
#[cfg(test)]
mod sim;
mod state;

use std::sync::Arc;

pub use self::{
    amend::Amendment,
    committer::{Committer, CommitterContext, Debtor},
};
use super::rows::Fingerprint;
use crate::domain::{
    essentials::Essentials,
    event::{Expected, NewEvent},
    ids::StreamName,
    position::{PartitionId, Position},
    timestamp::Timestamp,
};

/// Through which door an append came in: it decides who publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A queue function whose own answer publishes the events.
    Ingest,
    /// Any other door: the commit carries feed debt.
    Direct,
}

/// An event ready to be placed: its stream known, its salt drawn.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The event.
    pub event: Arc<NewEvent>,
    /// Its stream.
    pub stream: StreamName,
    /// Its salt, and the content digest under it.
    pub fingerprint: Fingerprint,
    /// Keyed hash of its actor.
    pub actor: Option<String>,
    /// Keyed hash of its data subject.
    pub subject: Option<String>,
    /// Whether streams of its status want attention in its tenant.
    pub attention: bool,
}

impl Candidate {
    /// Whether a delivery says what the stored event said. Of an erased event nothing is left to
    /// compare with: then every delivery is a duplicate, and its body is dropped.
    fn agrees_with(&self, stored: &Stored) -> bool {
        stored.fingerprint.is_none_or(|first| first.matches(&self.event.content))
    }
}

/// Events of one partition that are stored in one commit or not at all.
#[derive(Debug, Clone)]
pub struct Append {
    /// The events, at least one.
    pub events: Vec<Candidate>,
    /// The door.
    pub origin: Origin,
    /// Whether the tenant's change feed is on.
    pub feed: bool,
    /// True when the queue delivered this before: its identities are looked up before planning.
    pub redelivered: bool,
    /// Rows of earlier events that change with it.
    pub amendments: Vec<Amendment>,
}

/// A stored event: where, when, and what the change feed says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its partition.
    pub partition: PartitionId,
    /// When it was recorded.
    pub recorded: Timestamp,
    /// Its essentials.
    pub essentials: Arc<Essentials>,
    /// What later deliveries are compared with; `None` once erased.
    pub fingerprint: Option<Fingerprint>,
}

impl Stored {
    /// Where it stands.
    pub fn position(&self) -> Position {
        Position { partition: self.partition, sequence: self.essentials.sequence }
    }
}

/// The answer for one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The event as it is stored: the same for every delivery, for ever.
    pub stored: Stored,
    /// True when an earlier delivery had stored it.
    pub duplicate: bool,
}

/// Why an append is refused. It names the event by its place in the append.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The stream is not where the sender expected it.
    #[error("the stream {stream} is at version {actual}")]
    VersionConflict {
        /// Place of the event in the append.
        index: usize,
        /// The stream.
        stream: StreamName,
        /// What was expected.
        expected: Expected,
        /// Version of the stream's last event; 0 when there is none.
        actual: u64,
    },
    /// The identity belongs to an event that says something else.
    #[error("this source and id belong to another event, stored at {}", first.position())]
    IdentityReused {
        /// Place of the event in the append.
        index: usize,
        /// The event that has the identity.
        first: Box<Stored>,
    },
    /// The append itself holds the identity twice, with different content.
    #[error("this source and id appear twice, with different content")]
    IdentityRepeated {
        /// Place of the second event in the append.
        index: usize,
    },
    /// The events do not fit into one commit.
    #[error("the events do not fit into one commit")]
    BatchTooLarge,
    /// A row that it amends is not what it was when it was read: read it again.
    #[error("the event has changed since it was read")]
    AmendmentStale,
    /// Storage calls the append wrong even on its own.
    #[error("storage does not take this append ({code})")]
    NotStorable {
        /// The service's error code.
        code: String,
    },
}

impl Refusal {
    /// Its stable code, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::VersionConflict { .. } => "version-conflict",
            Self::IdentityReused { .. } | Self::IdentityRepeated { .. } => "identity-reused",
            Self::BatchTooLarge => "batch-too-large",
            Self::AmendmentStale => "amendment-stale",
            Self::NotStorable { .. } => "not-storable",
        }
    }
}

/// Why an append has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// It will never be stored as it is.
    #[error("the append is refused")]
    Refused(#[from] Refusal),
    /// It was not stored, or may have been: send it again later, as it is.
    #[error("storage is not available ({reason})")]
    Unavailable {
        /// What happened, without addresses or secrets.
        reason: String,
    },
}

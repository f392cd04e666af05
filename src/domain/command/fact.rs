//! What the events of a command say to the state machine.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};

use crate::domain::{ids::Invalid, timestamp::Timestamp};

/// A person, as far as quorums go: a keyed hash of an id, the same for the same person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Person(Box<str>);

impl Person {
    /// The person behind this hash.
    pub fn new(hash: impl Into<String>) -> Self {
        Self(hash.into().into())
    }

    /// The hash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who must agree before a command may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    required: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approvers: Option<BTreeSet<Person>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    allow_requester: bool,
}

impl Policy {
    /// Most approvals that a policy asks for, and most people that it lists.
    pub const MAX: usize = 50;

    /// A policy that can be met.
    ///
    /// # Errors
    /// [`Invalid`] when nobody, or more people than there are, would have to agree.
    pub fn new(
        required: usize,
        approvers: Option<BTreeSet<Person>>,
        allow_requester: bool,
        requester: Option<&Person>,
    ) -> Result<Self, Invalid> {
        if !(1..=Self::MAX).contains(&required) {
            let rule = format!("must be a number from 1 to {}", Self::MAX);
            return Err(Invalid::new("approval.required", rule));
        }
        if let Some(listed) = &approvers {
            if listed.len() > Self::MAX {
                let rule = format!("must name at most {} people", Self::MAX);
                return Err(Invalid::new("approval.approvers", rule));
            }
            let excluded = |person: &&Person| !allow_requester && requester == Some(*person);
            let able = listed.iter().filter(|person| !excluded(person)).count();
            if able < required {
                let rule = format!("must name {required} people who may decide, and names {able}");
                return Err(Invalid::new("approval.approvers", rule));
            }
        }
        Ok(Self { required, approvers, allow_requester })
    }

    /// How many must agree.
    pub fn required(&self) -> usize {
        self.required
    }

    /// Whether somebody who asked for the command may decide on it.
    pub fn allows_requester(&self) -> bool {
        self.allow_requester
    }

    /// Whether the policy lets this person decide, the requester apart.
    pub fn lists(&self, person: &Person) -> bool {
        self.approvers.as_ref().is_none_or(|listed| listed.contains(person))
    }
}

/// How the work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It did what was asked.
    Succeeded,
    /// It did not.
    Failed,
    /// It was not allowed to.
    Forbidden,
}

impl Outcome {
    /// Its name, which is also the status of the command.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Forbidden => "forbidden",
        }
    }
}

/// What somebody who is asked for approval says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Yes.
    Approve,
    /// No: one is enough.
    Deny,
}

/// Why a decision is on record and counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ignored {
    /// The command was no longer waiting for approval.
    Late,
    /// The person had decided before.
    Repeated,
}

impl Ignored {
    /// The rule, in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Repeated => "repeated",
        }
    }
}

/// One event of a command. Kept in an extension attribute, which no erasure blanks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Fact {
    /// It was asked for.
    Dispatched {
        /// By whom, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        requester: Option<Person>,
        /// How long the work may take: until it is in doubt, or until a claim ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit_ms: Option<u64>,
        /// When it falls into doubt or, with a policy, when approval can no longer be given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<Timestamp>,
        /// Who must agree first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<Policy>,
    },
    /// Its time limit passed without an outcome.
    InDoubt,
    /// The work ended.
    Concluded {
        /// How.
        outcome: Outcome,
    },
    /// Somebody decided.
    Given {
        /// Who.
        person: Person,
        /// What.
        verdict: Verdict,
        /// Why it counts for nothing, if it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ignored: Option<Ignored>,
    },
    /// The quorum was reached.
    Approved,
    /// Somebody said no.
    Denied,
    /// Nobody is waiting for approval any more.
    Expired,
    /// The requester took it back.
    Withdrawn,
    /// Somebody took the work on. The version of this event is the fencing number.
    Claimed {
        /// Who.
        holder: Person,
        /// Until when.
        until: Timestamp,
    },
    /// The holder needs more time.
    Renewed {
        /// Until when.
        until: Timestamp,
    },
    /// The lease ended without an outcome: somebody else may take the work on.
    LeaseEnded,
}

/// Every event type of the journal.
pub const JOURNAL_TYPES: [&str; 13] = [
    super::DISPATCHED,
    "annals.command.in-doubt",
    "annals.command.succeeded",
    "annals.command.failed",
    "annals.command.forbidden",
    "annals.approval.given",
    "annals.command.approved",
    "annals.command.denied",
    "annals.command.expired",
    "annals.command.withdrawn",
    "annals.command.claimed",
    "annals.command.claim-renewed",
    "annals.command.lease-ended",
];

impl Fact {
    /// The type of the event.
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::Dispatched { .. } => super::DISPATCHED,
            Self::InDoubt => "annals.command.in-doubt",
            Self::Concluded { outcome: Outcome::Succeeded } => "annals.command.succeeded",
            Self::Concluded { outcome: Outcome::Failed } => "annals.command.failed",
            Self::Concluded { outcome: Outcome::Forbidden } => "annals.command.forbidden",
            Self::Given { .. } => "annals.approval.given",
            Self::Approved => "annals.command.approved",
            Self::Denied => "annals.command.denied",
            Self::Expired => "annals.command.expired",
            Self::Withdrawn => "annals.command.withdrawn",
            Self::Claimed { .. } => "annals.command.claimed",
            Self::Renewed { .. } => "annals.command.claim-renewed",
            Self::LeaseEnded => "annals.command.lease-ended",
        }
    }

    /// Whether the fact comes of time passing alone.
    pub fn fell_due(&self) -> bool {
        matches!(self, Self::InDoubt | Self::Expired | Self::LeaseEnded)
    }

    /// Whether the fact follows from the one before it.
    pub fn follows(&self) -> bool {
        matches!(self, Self::Approved | Self::Denied)
    }
}

/// Whole milliseconds, as facts keep durations.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! What a command is, folded from the facts of its stream.

use std::{collections::BTreeMap, time::Duration};

use super::{Fact, Outcome, Person, Policy, Verdict};
use crate::domain::timestamp::Timestamp;

/// A claim on an approved command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who runs it.
    pub holder: Person,
    /// The version of the event that gave the claim: what an outcome must repeat.
    pub fence: u64,
    /// When the claim ends by itself.
    pub until: Timestamp,
}

/// Where a command stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Somebody runs it and will tell.
    Dispatched {
        /// When it falls into doubt.
        due: Option<Timestamp>,
    },
    /// Nobody told in time. An outcome is still taken.
    InDoubt,
    /// It waits for people.
    Pending {
        /// When they can no longer decide.
        due: Option<Timestamp>,
    },
    /// It may run.
    Approved {
        /// The fence of the claim that ended, if there was one: its holder may still tell.
        last: Option<u64>,
    },
    /// Somebody has taken it on.
    Claimed(Claim),
    /// The work ended.
    Concluded(Outcome),
    /// Somebody said no.
    Denied,
    /// Approval did not come in time.
    Expired,
    /// The requester took it back.
    Withdrawn,
}

impl Stage {
    /// The status under which the command is listed.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Dispatched { .. } => "dispatched",
            Self::InDoubt => "in-doubt",
            Self::Pending { .. } => "pending-approval",
            Self::Approved { .. } => "approved",
            Self::Claimed(_) => "claimed",
            Self::Concluded(outcome) => outcome.as_str(),
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Whether nothing can change it any more.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Concluded(_) | Self::Denied | Self::Expired | Self::Withdrawn)
    }

    /// When time alone changes it.
    pub fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Dispatched { due } | Self::Pending { due } => *due,
            Self::Claimed(claim) => Some(claim.until),
            _ => None,
        }
    }
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Version of its stream.
    pub version: u64,
    /// Where it stands.
    pub stage: Stage,
    pub(super) requester: Option<Person>,
    pub(super) limit: Option<Duration>,
    pub(super) policy: Option<Policy>,
    /// The decisions that count: one a person.
    pub(super) given: BTreeMap<Person, Verdict>,
    pub(super) counts: Counts,
}

/// How much is on record of what could be repeated for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    /// Decisions that count for nothing.
    pub(super) ignored: usize,
    /// Claims.
    pub(super) claims: usize,
    /// Renewals of claims.
    pub(super) renewals: usize,
}

impl Counts {
    fn add(&mut self, fact: &Fact) {
        match fact {
            Fact::Given { ignored: Some(_), .. } => self.ignored += 1,
            Fact::Claimed { .. } => self.claims += 1,
            Fact::Renewed { .. } => self.renewals += 1,
            _ => {}
        }
    }
}

impl Command {
    /// What a stream is after one more fact, the event of which has this version.
    ///
    /// Total: a fact that does not fit (a stream edited by hand) moves the version and nothing else.
    #[must_use]
    pub fn evolve(command: Option<Self>, version: u64, fact: &Fact) -> Option<Self> {
        let Some(mut command) = command else { return Self::dispatched(version, fact) };
        command.version = version;
        command.counts.add(fact);
        let next = match (&command.stage, fact) {
            (Stage::Pending { .. }, Fact::Given { person, verdict, ignored: None }) => {
                command.given.entry(person.clone()).or_insert(*verdict);
                None
            }
            (Stage::Dispatched { .. }, Fact::InDoubt) => Some(Stage::InDoubt),
            (Stage::Pending { .. }, Fact::Approved) => Some(Stage::Approved { last: None }),
            (Stage::Pending { .. }, Fact::Denied) => Some(Stage::Denied),
            (Stage::Pending { .. }, Fact::Expired) => Some(Stage::Expired),
            (Stage::Pending { .. } | Stage::Approved { last: None }, Fact::Withdrawn) => {
                Some(Stage::Withdrawn)
            }
            (Stage::Approved { .. }, Fact::Claimed { holder, until }) => {
                Some(Stage::Claimed(Claim { holder: holder.clone(), fence: version, until: *until }))
            }
            (Stage::Claimed(claim), Fact::Renewed { until }) => {
                Some(Stage::Claimed(Claim { until: *until, ..claim.clone() }))
            }
            (Stage::Claimed(claim), Fact::LeaseEnded) => Some(Stage::Approved { last: Some(claim.fence) }),
            (
                Stage::Dispatched { .. } | Stage::InDoubt | Stage::Approved { .. } | Stage::Claimed(_),
                Fact::Concluded { outcome },
            ) => Some(Stage::Concluded(*outcome)),
            _ => None,
        };
        if let Some(stage) = next {
            command.stage = stage;
        }
        Some(command)
    }

    fn dispatched(version: u64, fact: &Fact) -> Option<Self> {
        let Fact::Dispatched { requester, limit_ms, due, policy } = fact else { return None };
        let stage = match policy {
            Some(_) => Stage::Pending { due: *due },
            None => Stage::Dispatched { due: *due },
        };
        Some(Self {
            version,
            stage,
            requester: requester.clone(),
            limit: limit_ms.map(Duration::from_millis),
            policy: policy.clone(),
            given: BTreeMap::new(),
            counts: Counts::default(),
        })
    }

    /// What the command is when facts are added to it.
    #[must_use]
    pub fn after(command: Option<&Self>, version: u64, facts: &[Fact]) -> Option<Self> {
        (version + 1..)
            .zip(facts)
            .fold(command.cloned(), |command, (version, fact)| Self::evolve(command, version, fact))
    }

    /// The policy, where approval is needed.
    pub fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref()
    }

    /// How many people have agreed.
    pub fn approvals(&self) -> usize {
        self.given.values().filter(|verdict| **verdict == Verdict::Approve).count()
    }

    /// What has come to pass by `now` without anybody saying so: at most one fact.
    pub fn fallen_due(&self, now: Timestamp) -> Option<Fact> {
        if self.stage.due()? > now {
            return None;
        }
        match self.stage {
            Stage::Dispatched { .. } => Some(Fact::InDoubt),
            Stage::Pending { .. } => Some(Fact::Expired),
            Stage::Claimed(_) => Some(Fact::LeaseEnded),
            _ => None,
        }
    }

    /// The stage at `now`, whether or not what fell due is on record yet.
    pub fn stage_at(&self, now: Timestamp) -> Stage {
        let fallen =
            self.fallen_due(now).and_then(|fact| Self::evolve(Some(self.clone()), self.version + 1, &fact));
        fallen.map_or_else(|| self.stage.clone(), |command| command.stage)
    }
}

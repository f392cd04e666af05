//! The judge: what comes of an operation.

use std::time::Duration;

use super::{Command, Fact, Ignored, Outcome, Person, Policy, Rule, Stage, Verdict, fact::millis};
use crate::domain::timestamp::Timestamp;

/// How long a claim lasts where neither the caller nor the command says.
const LEASE: Duration = Duration::from_secs(300);

/// Most decisions on record that count for nothing. Those that count need no limit: one a person, and
/// the last ends the waiting.
pub(super) const MOST_IGNORED: usize = 200;
/// Most claims of one command, each of which may leave a lease behind that ended.
pub(super) const MOST_CLAIMS: usize = 500;
/// Most renewals, of all its claims together. Who needs more asks for longer leases.
pub(super) const MOST_RENEWALS: usize = 1_000;

/// What somebody wants of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// To have it on record before it runs, or before people are asked.
    Dispatch {
        /// Who asks.
        requester: Option<Person>,
        /// How long the work may take.
        limit: Option<Duration>,
        /// Who must agree first, and until when they can.
        approval: Option<(Policy, Option<Timestamp>)>,
    },
    /// To tell how the work ended.
    Conclude {
        /// How.
        outcome: Outcome,
        /// The fence of the claim under which it ran.
        fence: Option<u64>,
    },
    /// To approve or deny.
    Decide {
        /// Who decides.
        person: Person,
        /// What.
        verdict: Verdict,
    },
    /// To run it.
    Claim {
        /// Who.
        holder: Person,
        /// For how long.
        lease: Option<Duration>,
    },
    /// To keep running it.
    Renew {
        /// The fence of the claim.
        fence: u64,
        /// For how long from now.
        lease: Option<Duration>,
    },
    /// To take it back.
    Withdraw {
        /// Who.
        person: Option<Person>,
    },
    /// To put on record what has come to pass by itself.
    FallDue,
}

/// Decides what comes of an operation at `now`: facts that become events in this order, in one commit.
///
/// What has fallen due comes first, so that a decision never rests on a time limit, an approval
/// or a lease that has ended and that no timer has seen yet. Only [`Operation::FallDue`] may give none.
///
/// # Errors
/// The [`Rule`] that forbids it. Nothing is then recorded.
pub fn decide(command: Option<&Command>, operation: &Operation, now: Timestamp) -> Result<Vec<Fact>, Rule> {
    let Some(command) = command else {
        return match operation {
            Operation::Dispatch { requester, limit, approval } => {
                Ok(vec![dispatch(requester.as_ref(), *limit, approval.as_ref(), now)])
            }
            _ => Err(Rule::Unknown),
        };
    };
    let mut facts: Vec<Fact> = command.fallen_due(now).into_iter().collect();
    let stage = command.stage_at(now);
    match operation {
        Operation::Dispatch { .. } => return Err(Rule::Exists),
        Operation::Conclude { outcome, fence } => facts.push(conclude(&stage, *outcome, *fence)?),
        Operation::Decide { person, verdict } => facts.extend(give(command, &stage, person, *verdict)?),
        Operation::Claim { holder, lease } => {
            let until = now.plus(lease.or(command.limit).unwrap_or(LEASE));
            facts.push(claim(&stage, holder, until)?);
            room("claims", command.counts.claims, MOST_CLAIMS)?;
        }
        Operation::Renew { fence, lease } => {
            let until = now.plus(lease.or(command.limit).unwrap_or(LEASE));
            facts.push(renew(&stage, *fence, until)?);
            room("renewals", command.counts.renewals, MOST_RENEWALS)?;
        }
        Operation::Withdraw { person } => facts.push(withdraw(command, &stage, person.as_ref())?),
        Operation::FallDue => {}
    }
    Ok(facts)
}

fn dispatch(
    requester: Option<&Person>,
    limit: Option<Duration>,
    approval: Option<&(Policy, Option<Timestamp>)>,
    now: Timestamp,
) -> Fact {
    let due = match approval {
        Some((_, expires)) => *expires,
        None => limit.map(|limit| now.plus(limit)),
    };
    Fact::Dispatched {
        requester: requester.cloned(),
        limit_ms: limit.map(millis),
        due,
        policy: approval.map(|(policy, _)| policy.clone()),
    }
}

fn conclude(stage: &Stage, outcome: Outcome, fence: Option<u64>) -> Result<Fact, Rule> {
    let claimed = match stage {
        Stage::Dispatched { .. } | Stage::InDoubt => None,
        Stage::Pending { .. } => return Err(Rule::AwaitingApproval),
        Stage::Approved { last: None } => return Err(Rule::NotClaimed),
        // The lease ended and nobody else took over: better a late outcome than a second run.
        Stage::Approved { last: Some(last) } => Some(*last),
        Stage::Claimed(claim) => Some(claim.fence),
        ended => return Err(Rule::Final { status: ended.status() }),
    };
    match (claimed, fence) {
        (Some(_), None) => Err(Rule::FenceRequired),
        (claimed, fence) if claimed == fence => Ok(Fact::Concluded { outcome }),
        _ => Err(Rule::StaleFence),
    }
}

/// A decision is recorded even where it changes nothing, except by those who have no say at all.
fn give(command: &Command, stage: &Stage, person: &Person, verdict: Verdict) -> Result<Vec<Fact>, Rule> {
    let policy = command.policy.as_ref().ok_or(Rule::NoApprovalNeeded)?;
    if !policy.lists(person) {
        return Err(Rule::NotAnApprover);
    }
    if command.requester.as_ref() == Some(person) && !policy.allows_requester() {
        return Err(Rule::RequesterExcluded);
    }
    let ignored = match stage {
        _ if command.given.contains_key(person) => Some(Ignored::Repeated),
        Stage::Pending { .. } => None,
        _ => Some(Ignored::Late),
    };
    if ignored.is_some() {
        room("decisions that count for nothing", command.counts.ignored, MOST_IGNORED)?;
    }
    let mut facts = vec![Fact::Given { person: person.clone(), verdict, ignored }];
    match (ignored, verdict) {
        (Some(_), _) => {}
        (None, Verdict::Deny) => facts.push(Fact::Denied),
        (None, Verdict::Approve) if command.approvals() + 1 >= policy.required() => {
            facts.push(Fact::Approved);
        }
        (None, Verdict::Approve) => {}
    }
    Ok(facts)
}

/// What repeats itself ends somewhere. An outcome, a withdrawal, a decision that counts and what falls due
/// are never refused for it: of each there are as many as the machine has room for.
fn room(what: &'static str, count: usize, most: usize) -> Result<(), Rule> {
    if count < most { Ok(()) } else { Err(Rule::Full { what, most }) }
}

fn claim(stage: &Stage, holder: &Person, until: Timestamp) -> Result<Fact, Rule> {
    match stage {
        Stage::Approved { .. } => Ok(Fact::Claimed { holder: holder.clone(), until }),
        Stage::Claimed(held) => Err(Rule::Held { fence: held.fence, until: held.until }),
        ended if ended.is_final() => Err(Rule::Final { status: ended.status() }),
        other => Err(Rule::NotApproved { status: other.status() }),
    }
}

fn renew(stage: &Stage, fence: u64, until: Timestamp) -> Result<Fact, Rule> {
    match stage {
        // A shorter renewal does not cut a claim short.
        Stage::Claimed(held) if held.fence == fence => Ok(Fact::Renewed { until: until.max(held.until) }),
        ended if ended.is_final() => Err(Rule::Final { status: ended.status() }),
        _ => Err(Rule::StaleFence),
    }
}

fn withdraw(command: &Command, stage: &Stage, person: Option<&Person>) -> Result<Fact, Rule> {
    if person.is_none() || command.requester.as_ref() != person {
        return Err(Rule::NotTheRequester);
    }
    match stage {
        Stage::Pending { .. } | Stage::Approved { last: None } => Ok(Fact::Withdrawn),
        ended if ended.is_final() => Err(Rule::Final { status: ended.status() }),
        _ => Err(Rule::Running),
    }
}

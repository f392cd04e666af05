//! Random interleavings of 2 to 6 actors on one command: they read, wait, decide on what they read
//! (which may be out of date), append under the version they read, crash, and say things twice.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::domain::timestamp::Timestamp;

const REQUIRED: usize = 2;

#[derive(Debug, Clone)]
enum Step {
    /// Time passes, in seconds.
    Wait(u16),
    /// An actor reads the stream.
    Read(usize),
    /// An actor acts on what it last read.
    Act(usize, Act),
    /// An actor forgets everything: what it read, and its claim.
    Crash(usize),
    /// The timer.
    Sweep,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Approve,
    Deny,
    Claim,
    Renew,
    Conclude(Outcome),
    Withdraw,
    Again,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Approve),
        1 => Just(Act::Deny),
        4 => Just(Act::Claim),
        2 => Just(Act::Renew),
        3 => prop_oneof![Just(Outcome::Succeeded), Just(Outcome::Failed)].prop_map(Act::Conclude),
        1 => Just(Act::Withdraw),
        3 => Just(Act::Again),
    ]
}

fn step(actors: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1_u16..40).prop_map(Step::Wait),
        6 => (0..actors).prop_map(Step::Read),
        9 => ((0..actors), act()).prop_map(|(actor, act)| Step::Act(actor, act)),
        1 => (0..actors).prop_map(Step::Crash),
        1 => Just(Step::Sweep),
    ]
}

#[derive(Debug, Default, Clone)]
struct Actor {
    read: usize,
    fence: Option<u64>,
    last: Option<(u64, Operation)>,
}

/// A stream as storage keeps it: facts with the time and the operation that made them, and the status
/// beside it.
struct World {
    now: Timestamp,
    log: Vec<(Timestamp, u64, Fact)>,
    status: &'static str,
    operations: u64,
    actors: Vec<Actor>,
}

impl World {
    fn fold(&self, upto: usize) -> Option<Command> {
        let facts: Vec<Fact> = self.log[..upto].iter().map(|(_, _, fact)| fact.clone()).collect();
        Command::after(None, 0, &facts)
    }

    /// As the service does it: what is on record is answered, what was read decides, and the
    /// append lands only if nothing came in between.
    fn attempt(&mut self, read: usize, id: u64, operation: &Operation) -> Result<Option<Vec<Fact>>, Rule> {
        if self.log[..read].iter().any(|(_, by, _)| *by == id) {
            return Ok(Some(Vec::new()));
        }
        let command = self.fold(read);
        let facts = decide(command.as_ref(), operation, self.now)?;
        if read != self.log.len() {
            return Ok(None);
        }
        self.log.extend(facts.iter().map(|fact| (self.now, id, fact.clone())));
        if let Some(after) = Command::after(command.as_ref(), read as u64, &facts) {
            self.status = after.stage.status();
        }
        Ok(Some(facts))
    }

    fn act(&mut self, index: usize, act: Act) -> Result<(), TestCaseError> {
        let actor = self.actors[index].clone();
        let me = Person::new(format!("p{index}"));
        let lease = Some(Duration::from_secs(30));
        let operation = match act {
            Act::Approve => Operation::Decide { person: me, verdict: Verdict::Approve },
            Act::Deny => Operation::Decide { person: me, verdict: Verdict::Deny },
            Act::Claim => Operation::Claim { holder: me, lease },
            Act::Renew => Operation::Renew { fence: actor.fence.unwrap_or(3), lease },
            Act::Conclude(outcome) => Operation::Conclude { outcome, fence: actor.fence },
            Act::Withdraw => Operation::Withdraw { person: Some(me) },
            Act::Again => match actor.last.clone() {
                Some((id, operation)) => {
                    let before = self.log.iter().filter(|(_, by, _)| *by == id).count();
                    let (read, _) = (self.log.len(), self.attempt(self.log.len(), id, &operation));
                    let after = self.log.iter().filter(|(_, by, _)| *by == id).count();
                    prop_assert!(before == 0 || after == before, "{operation:?} happened twice, at {read}");
                    return Ok(());
                }
                None => return Ok(()),
            },
        };
        self.operations += 1;
        let id = self.operations;
        self.actors[index].last = Some((id, operation.clone()));
        match self.attempt(actor.read, id, &operation) {
            Ok(Some(facts)) => {
                if let Some(at) = facts.iter().position(|fact| matches!(fact, Fact::Claimed { .. })) {
                    self.actors[index].fence = Some((actor.read + at + 1) as u64);
                }
            }
            Ok(None) => self.actors[index].read = self.log.len(),
            // A refusal says why: its code and its sentence are never empty.
            Err(rule) => prop_assert!(!rule.code().is_empty() && rule.to_string().len() > 10),
        }
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Wait(seconds) => self.now = self.now.plus(Duration::from_secs(seconds.into())),
            Step::Read(actor) => self.actors[actor].read = self.log.len(),
            Step::Crash(actor) => self.actors[actor] = Actor { read: self.log.len(), ..Actor::default() },
            Step::Sweep => {
                self.operations += 1;
                let swept = self.attempt(self.log.len(), self.operations, &Operation::FallDue);
                prop_assert!(swept.is_ok());
            }
            Step::Act(actor, act) => self.act(actor, act)?,
        }
        Ok(())
    }

    /// What must be true of the log, told from the facts and their times alone.
    fn check(&self) -> Result<(), TestCaseError> {
        let folded = self.fold(self.log.len()).unwrap();
        prop_assert_eq!(folded.stage.status(), self.status, "the fold is not the stored status");
        let mut people = BTreeSet::new();
        let mut held: Option<Timestamp> = None;
        let (mut approved, mut ends) = (0, 0);
        for (time, _, fact) in &self.log {
            prop_assert!(
                ends == 0 || matches!(fact, Fact::Given { ignored: Some(_), .. }),
                "{fact:?} after the end"
            );
            match fact {
                Fact::Given { person, verdict: Verdict::Approve, ignored: None } => {
                    prop_assert!(person.as_str() != "p0", "the requester decided");
                    prop_assert!(people.insert(person.clone()), "{person:?} counted twice");
                }
                Fact::Approved => {
                    approved += 1;
                    prop_assert_eq!(people.len(), REQUIRED);
                }
                Fact::Claimed { until, .. } => {
                    prop_assert!(approved == 1, "claimed before it was approved");
                    prop_assert!(held.is_none_or(|until| until <= *time), "two hold it");
                    held = Some(*until);
                }
                Fact::Renewed { until } => held = Some(*until),
                Fact::LeaseEnded => {
                    prop_assert!(held.is_some_and(|until| until <= *time), "taken away too early");
                }
                Fact::Concluded { .. } => {
                    prop_assert!(held.is_some(), "an outcome of what nobody ran");
                    ends += 1;
                }
                Fact::Denied | Fact::Expired | Fact::Withdrawn => ends += 1,
                _ => {}
            }
        }
        prop_assert!(approved <= 1 && ends <= 1);
        Ok(())
    }
}

fn world(actors: usize, expires: Option<u16>) -> World {
    let now = Timestamp::from_unix_nanos(1_700_000_000_000_000_000);
    let requester = Some(Person::new("p0"));
    let policy = Policy::new(REQUIRED, None, false, requester.as_ref()).unwrap();
    let expires = expires.map(|seconds| now.plus(Duration::from_secs(seconds.into())));
    let dispatch = Operation::Dispatch { requester, limit: None, approval: Some((policy, expires)) };
    let mut world =
        World { now, log: Vec::new(), status: "", operations: 0, actors: vec![Actor::default(); actors] };
    world.attempt(0, 0, &dispatch).unwrap();
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_races_one_runs_it_and_it_ends_once(
        (actors, steps) in (2_usize..=6).prop_flat_map(|n| (Just(n), prop::collection::vec(step(n), 1..60))),
        expires in prop::option::of(20_u16..400),
    ) {
        let mut world = world(actors, expires);
        for step in steps {
            world.step(step)?;
            world.check()?;
        }
    }
}

#[test]
fn the_interleavings_reach_every_status() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _ in 0..3_000 {
        let steps = prop::collection::vec(step(4), 1..60).new_tree(&mut runner).unwrap().current();
        let mut world = world(4, Some(300));
        for step in steps {
            world.step(step).unwrap();
            seen.insert(world.status);
        }
    }
    let all =
        ["approved", "claimed", "denied", "expired", "failed", "pending-approval", "succeeded", "withdrawn"];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
}

use std::time::Duration;

use super::*;
use crate::domain::timestamp::Timestamp;

/// Seconds after an arbitrary start.
fn at(seconds: i128) -> Timestamp {
    Timestamp::from_unix_nanos((1_700_000_000 + seconds) * 1_000_000_000)
}

fn person(name: &str) -> Person {
    Person::new(name)
}

fn policy(required: usize) -> Policy {
    Policy::new(required, None, false, Some(&person("ann"))).unwrap()
}

fn dispatch(limit: Option<u64>, approval: Option<(Policy, Option<Timestamp>)>) -> Operation {
    Operation::Dispatch { requester: Some(person("ann")), limit: limit.map(Duration::from_secs), approval }
}

fn give(name: &str, verdict: Verdict) -> Operation {
    Operation::Decide { person: person(name), verdict }
}

fn approve(name: &str) -> Operation {
    give(name, Verdict::Approve)
}

fn claim(name: &str) -> Operation {
    Operation::Claim { holder: person(name), lease: Some(Duration::from_secs(60)) }
}

fn conclude(fence: Option<u64>) -> Operation {
    Operation::Conclude { outcome: Outcome::Succeeded, fence }
}

fn withdraw(name: &str) -> Operation {
    Operation::Withdraw { person: Some(person(name)) }
}

/// The command after these operations, each of which must be taken.
fn given(operations: &[(i128, Operation)]) -> Option<Command> {
    operations.iter().fold(None, |command, (seconds, operation)| {
        let facts = decide(command.as_ref(), operation, at(*seconds)).unwrap();
        let version = command.as_ref().map_or(0, |command: &Command| command.version);
        Command::after(command.as_ref(), version, &facts)
    })
}

/// What the last operation comes to: the types of its events, or the code of the rule.
fn outcome(
    given_: &[(i128, Operation)],
    seconds: i128,
    operation: &Operation,
) -> Result<Vec<&'static str>, &'static str> {
    let facts = decide(given(given_).as_ref(), operation, at(seconds)).map_err(|rule| rule.code())?;
    Ok(facts.iter().map(|fact| fact.event_type().rsplit_once('.').unwrap().1).collect())
}

#[test]
fn a_command_without_approval_is_dispatched_and_ends_once() {
    let running = [(0, dispatch(Some(10), None))];
    assert_eq!(given(&running).unwrap().stage.status(), "dispatched");
    assert_eq!(outcome(&running, 1, &conclude(None)), Ok(vec!["succeeded"]));
    assert_eq!(outcome(&running, 1, &conclude(Some(1))), Err("stale-fence"));
    assert_eq!(outcome(&running, 1, &claim("bob")), Err("not-approved"));
    assert_eq!(outcome(&running, 1, &approve("bob")), Err("no-approval-needed"));
    assert_eq!(outcome(&running, 1, &withdraw("ann")), Err("command-running"));
    assert_eq!(outcome(&running, 1, &dispatch(None, None)), Err("command-exists"));
    let ended = [running[0].clone(), (1, conclude(None))];
    assert_eq!(outcome(&ended, 2, &conclude(None)), Err("command-ended"));
    assert_eq!(outcome(&[], 0, &conclude(None)), Err("unknown-command"));
}

#[test]
fn without_an_outcome_it_is_in_doubt_and_a_late_one_is_still_taken() {
    let running = [(0, dispatch(Some(10), None))];
    let command = given(&running).unwrap();
    assert_eq!(command.stage_at(at(9)).status(), "dispatched");
    assert_eq!(command.stage_at(at(10)).status(), "in-doubt");
    assert_eq!(outcome(&running, 9, &Operation::FallDue), Ok(vec![]));
    assert_eq!(outcome(&running, 10, &Operation::FallDue), Ok(vec!["in-doubt"]));
    // Whether or not a timer has seen it.
    assert_eq!(outcome(&running, 11, &conclude(None)), Ok(vec!["in-doubt", "succeeded"]));
    let doubted = [running[0].clone(), (10, Operation::FallDue)];
    assert_eq!(outcome(&doubted, 11, &conclude(None)), Ok(vec!["succeeded"]));
}

#[test]
fn the_nth_person_approves_and_nobody_counts_twice() {
    let asked = [(0, dispatch(None, Some((policy(2), None))))];
    assert_eq!(given(&asked).unwrap().stage.status(), "pending-approval");
    assert_eq!(outcome(&asked, 1, &approve("ann")), Err("requester-excluded"));
    assert_eq!(outcome(&asked, 1, &conclude(None)), Err("awaiting-approval"));
    assert_eq!(outcome(&asked, 1, &claim("bob")), Err("not-approved"));
    let once = [asked[0].clone(), (1, approve("bob"))];
    assert_eq!(outcome(&once, 2, &approve("cid")), Ok(vec!["given", "approved"]));
    assert_eq!(outcome(&once, 2, &approve("bob")), Ok(vec!["given"]));
    let twice = [once[0].clone(), once[1].clone(), (2, approve("bob"))];
    assert_eq!(given(&twice).unwrap().approvals(), 1);
    assert_eq!(given(&twice).unwrap().stage.status(), "pending-approval");
    assert_eq!(outcome(&twice, 3, &give("cid", Verdict::Deny)), Ok(vec!["given", "denied"]));
}

#[test]
fn late_decisions_are_recorded_and_change_nothing() {
    let expiring = [(0, dispatch(None, Some((policy(1), Some(at(10))))))];
    assert_eq!(outcome(&expiring, 10, &approve("bob")), Ok(vec!["expired", "given"]));
    let ended = [expiring[0].clone(), (10, approve("bob"))];
    assert_eq!(given(&ended).unwrap().stage, Stage::Expired);
    assert_eq!(outcome(&ended, 11, &approve("cid")), Ok(vec!["given"]));
    let approved = [expiring[0].clone(), (1, approve("bob")), (2, give("cid", Verdict::Deny))];
    assert_eq!(given(&approved).unwrap().stage.status(), "approved");
}

#[test]
fn only_listed_approvers_decide_and_a_policy_that_cannot_be_met_is_refused() {
    let listed = |names: &[&str]| Some(names.iter().map(|name| person(name)).collect());
    let requester = person("ann");
    let some = Policy::new(2, listed(&["bob", "cid", "ann"]), false, Some(&requester)).unwrap();
    let asked = [(0, dispatch(None, Some((some, None))))];
    assert_eq!(outcome(&asked, 1, &approve("dan")), Err("not-an-approver"));
    assert_eq!(outcome(&asked, 1, &approve("ann")), Err("requester-excluded"));
    assert_eq!(outcome(&asked, 1, &approve("bob")), Ok(vec!["given"]));
    assert!(Policy::new(2, listed(&["bob", "ann"]), false, Some(&requester)).is_err());
    assert!(Policy::new(2, listed(&["bob", "ann"]), true, Some(&requester)).is_ok());
    assert!(Policy::new(0, None, false, None).is_err());
}

#[test]
fn one_executor_holds_the_claim_and_its_fence_is_asked_for() {
    let approved = [(0, dispatch(None, Some((policy(1), None)))), (1, approve("bob"))];
    assert_eq!(outcome(&approved, 2, &conclude(None)), Err("not-claimed"));
    let claimed = [approved[0].clone(), approved[1].clone(), (2, claim("x"))];
    let command = given(&claimed).unwrap();
    assert!(matches!(&command.stage, Stage::Claimed(claim) if claim.fence == 4 && claim.until == at(62)));
    assert_eq!(outcome(&claimed, 3, &claim("y")), Err("claimed-by-another"));
    // The same account is not the same process.
    assert_eq!(outcome(&claimed, 3, &claim("x")), Err("claimed-by-another"));
    assert_eq!(outcome(&claimed, 3, &conclude(None)), Err("fence-required"));
    assert_eq!(outcome(&claimed, 3, &conclude(Some(3))), Err("stale-fence"));
    assert_eq!(outcome(&claimed, 3, &conclude(Some(4))), Ok(vec!["succeeded"]));
    assert_eq!(outcome(&claimed, 3, &withdraw("ann")), Err("command-running"));
}

#[test]
fn a_lease_that_ends_gives_the_command_back() {
    let claimed = [(0, dispatch(None, Some((policy(1), None)))), (1, approve("bob")), (2, claim("x"))];
    assert_eq!(outcome(&claimed, 62, &Operation::FallDue), Ok(vec!["lease-ended"]));
    assert_eq!(outcome(&claimed, 62, &claim("y")), Ok(vec!["lease-ended", "claimed"]));
    // The crashed executor was not dead after all: nobody else has taken over, so its word counts.
    assert_eq!(outcome(&claimed, 62, &conclude(Some(4))), Ok(vec!["lease-ended", "succeeded"]));
    let taken_over = [claimed.to_vec(), vec![(62, claim("y"))]].concat();
    assert_eq!(outcome(&taken_over, 63, &conclude(Some(4))), Err("stale-fence"));
    assert_eq!(outcome(&taken_over, 63, &Operation::Renew { fence: 4, lease: None }), Err("stale-fence"));
    assert_eq!(outcome(&taken_over, 63, &conclude(Some(6))), Ok(vec!["succeeded"]));
    let renewed =
        [claimed.to_vec(), vec![(50, Operation::Renew { fence: 4, lease: Some(Duration::from_secs(60)) })]]
            .concat();
    assert_eq!(outcome(&renewed, 100, &claim("y")), Err("claimed-by-another"));
    assert_eq!(outcome(&renewed, 110, &claim("y")), Ok(vec!["lease-ended", "claimed"]));
}

#[test]
fn only_the_requester_withdraws_and_only_what_nobody_has_begun() {
    let asked = [(0, dispatch(None, Some((policy(1), None))))];
    assert_eq!(outcome(&asked, 1, &withdraw("bob")), Err("not-the-requester"));
    assert_eq!(outcome(&asked, 1, &Operation::Withdraw { person: None }), Err("not-the-requester"));
    assert_eq!(outcome(&asked, 1, &withdraw("ann")), Ok(vec!["withdrawn"]));
    let begun = [asked[0].clone(), (1, approve("bob")), (2, claim("x"))];
    assert_eq!(outcome(&begun, 62, &withdraw("ann")), Err("command-running"));
    let withdrawn = [asked[0].clone(), (1, withdraw("ann"))];
    assert_eq!(outcome(&withdrawn, 2, &claim("x")), Err("command-ended"));
    assert_eq!(outcome(&withdrawn, 2, &approve("bob")), Ok(vec!["given"]));
}

#[test]
fn every_fact_survives_its_json_and_has_a_type_of_the_journal() {
    let until = at(1);
    let facts = [
        Fact::Dispatched {
            requester: Some(person("a")),
            limit_ms: Some(5),
            due: Some(until),
            policy: Some(policy(2)),
        },
        Fact::Dispatched { requester: None, limit_ms: None, due: None, policy: None },
        Fact::InDoubt,
        Fact::Concluded { outcome: Outcome::Forbidden },
        Fact::Given { person: person("a"), verdict: Verdict::Deny, ignored: Some(Ignored::Late) },
        Fact::Approved,
        Fact::Denied,
        Fact::Expired,
        Fact::Withdrawn,
        Fact::Claimed { holder: person("a"), until },
        Fact::Renewed { until },
        Fact::LeaseEnded,
    ];
    for fact in facts {
        let json = serde_json::to_string(&fact).unwrap();
        assert_eq!(serde_json::from_str::<Fact>(&json).unwrap(), fact, "{json}");
        assert!(JOURNAL_TYPES.contains(&fact.event_type()), "{}", fact.event_type());
    }
}

/// The command after an operation was carried out as often as it is taken, and the rule that ended it.
fn filled(given_: &[(i128, Operation)], each: impl Fn(usize, &Command) -> (i128, Operation)) -> Command {
    let mut command = given(given_).unwrap();
    for n in 0.. {
        let (seconds, operation) = each(n, &command);
        match decide(Some(&command), &operation, at(seconds)) {
            Ok(facts) => command = Command::after(Some(&command), command.version, &facts).unwrap(),
            Err(rule) => {
                assert_eq!(rule.code(), "command-full", "{rule}");
                break;
            }
        }
    }
    command
}

fn taken(command: &Command, seconds: i128, operation: &Operation) -> Vec<&'static str> {
    let facts = decide(Some(command), operation, at(seconds)).unwrap();
    facts.iter().map(|fact| fact.event_type().rsplit_once('.').unwrap().1).collect()
}

#[test]
fn decisions_that_count_for_nothing_end_somewhere_and_keep_nobody_from_deciding() {
    let asked = [(0, dispatch(None, Some((policy(2), Some(at(900)))))), (1, approve("bob"))];
    let full = filled(&asked, |_, _| (2, approve("bob")));
    assert_eq!(full.version, 2 + 200);
    assert_eq!(taken(&full, 3, &approve("cid")), ["given", "approved"]);
    assert_eq!(taken(&full, 3, &give("cid", Verdict::Deny)), ["given", "denied"]);
    assert_eq!(taken(&full, 3, &withdraw("ann")), ["withdrawn"]);
    assert_eq!(taken(&full, 900, &Operation::FallDue), ["expired"]);
    // Nor from running what was approved.
    let approved = [asked.to_vec(), vec![(2, approve("cid"))]].concat();
    let full = filled(&approved, |n, _| (3, approve(&format!("late-{n}"))));
    assert_eq!(taken(&full, 4, &claim("x")), ["claimed"]);
}

#[test]
fn claims_and_renewals_end_somewhere_and_keep_nobody_from_telling_the_outcome() {
    let fence = |command: &Command| match &command.stage {
        Stage::Claimed(claim) => claim.fence,
        other => panic!("{other:?} is no claim"),
    };
    let claimed = [(0, dispatch(None, Some((policy(1), None)))), (1, approve("bob")), (2, claim("x"))];
    let renew = |command: &Command| Operation::Renew { fence: fence(command), lease: None };
    let full = filled(&claimed, |_, command| (3, renew(command)));
    assert_eq!(full.version, 4 + 1_000);
    assert_eq!(taken(&full, 4, &conclude(Some(fence(&full)))), ["succeeded"]);
    assert_eq!(taken(&full, 900, &Operation::FallDue), ["lease-ended"]);
    assert_eq!(taken(&full, 900, &claim("y")), ["lease-ended", "claimed"]);
    // Executors that crash again and again: the word of the last one still counts.
    let full = filled(&claimed, |n, _| (62 + 60 * i128::try_from(n).unwrap(), claim("y")));
    assert_eq!(full.version, 4 + 2 * 499);
    let end = 62 + 60 * 500;
    assert_eq!(taken(&full, end, &conclude(Some(fence(&full)))), ["lease-ended", "succeeded"]);
    assert_eq!(taken(&full, end, &Operation::FallDue), ["lease-ended"]);
}

//! The seeds.

use std::time::Duration;

use super::{capture, draw, draw_choking, draw_torn, play, world::Plan};
use crate::store::append::rule::Rule;

/// A profile: what a seed decides in it.
type Profile = fn(u64) -> Plan;

/// Plays seeds, and names every one that breaks a promise.
fn all_hold(draw: Profile, seeds: impl Iterator<Item = u64>) {
    let broken: Vec<String> = seeds
        .filter_map(|seed| {
            play(draw(seed), false).verdict.err().map(|broken| format!("seed {seed}: {broken}"))
        })
        .collect();
    assert!(broken.is_empty(), "{} seeds break a promise:\n{}", broken.len(), broken.join("\n"));
}

/// Ten thousand seeds, in parts that run at the same time.
macro_rules! ten_thousand_seeds_keep_every_promise {
    ($($part:ident: $from:literal;)+) => {
        mod ten_thousand_seeds_keep_every_promise {
            $(#[test]
            fn $part() {
                super::all_hold(super::draw, $from..$from + 1_250);
            })+
        }
    };
}

ten_thousand_seeds_keep_every_promise! {
    part_1: 0;
    part_2: 1_250;
    part_3: 2_500;
    part_4: 3_750;
    part_5: 5_000;
    part_6: 6_250;
    part_7: 7_500;
    part_8: 8_750;
}

#[test]
fn an_append_that_storage_chokes_on_holds_nobody_up() {
    all_hold(draw_choking, 0..500);
}

#[test]
fn writers_who_rely_on_versions_are_told_the_truth_by_torn_scans() {
    all_hold(draw_torn, 0..1_000);
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..50 {
        assert_eq!(play(draw(seed), false).trace, play(draw(seed), false).trace, "seed {seed}");
    }
}

#[test]
fn one_seed_on_demand_with_its_trace() {
    let Ok(seed) = std::env::var("ANNALS_SIM_SEED") else { return };
    let draw = match std::env::var("ANNALS_SIM_PROFILE").as_deref() {
        Ok("choking") => draw_choking,
        Ok("torn") => draw_torn,
        _ => draw,
    };
    let outcome = play(draw(seed.parse().unwrap()), true);
    assert_eq!(outcome.verdict, Ok(()));
}

/// Seeds that once broke a promise, each with what it showed.
const KEPT: [(u64, &str); 2] = [
    (4249, "refused by a version that its own event, delivered elsewhere, had made"),
    (1160, "the same, after its own first attempt had landed late"),
];

#[test]
fn seeds_that_once_broke_a_promise_keep_it_now() {
    for (seed, what) in KEPT {
        assert_eq!(play(draw(seed), false).verdict, Ok(()), "seed {seed}: {what}");
    }
}

/// Each rule with the profile that shows best what it is for. A change of the committer changes
/// every schedule, so the case is the first seed that shows it, not one number for ever.
#[test]
fn without_a_rule_a_seed_breaks_a_promise_that_it_keeps_with_it() {
    let rules: [(Rule, Profile); 4] = [
        (Rule::SettledRefresh, draw_torn),
        (Rule::EvictForeign, draw),
        (Rule::AttemptId, draw),
        (Rule::IdentityFirst, draw),
    ];
    for (rule, draw) in rules {
        let breaks = |seed: &u64| rule.without(|| play(draw(*seed), false).verdict.is_err());
        let seed = (0..200).find(breaks).unwrap_or_else(|| panic!("no schedule needs {rule:?}"));
        println!("{rule:?}: seed {seed}");
        assert_eq!(play(draw(seed), false).verdict, Ok(()), "seed {seed} with {rule:?}");
    }
}

#[test]
fn nobody_starves_beside_other_saturated_processes() {
    for seed in 0..3 {
        for processes in 2..=8 {
            assert_eq!(capture::nobody_starves(seed, processes), Ok(()));
        }
    }
}

#[test]
fn somebody_starves_unless_the_winner_rests() {
    let starved =
        (0..3).find_map(|seed| Rule::WinnerRests.without(|| capture::nobody_starves(seed, 2).err()));
    println!("{starved:?}");
    assert!(starved.is_some(), "nobody needs the winner to rest");
}

/// Thirty-two senders, each of which waits for its answer. A transaction has room for twenty-four to
/// thirty-two of these events; in two groups that take turns they would be sixteen a commit.
fn events_a_commit(seed: u64) -> usize {
    let (busy, pause) = (Duration::from_secs(1), Duration::ZERO);
    shared(seed, capture::Crowd { processes: 1, in_flight: 32, busy, pause })
}

fn shared(seed: u64, crowd: capture::Crowd) -> usize {
    let outcome = capture::keep_busy(seed, crowd).unwrap();
    println!("seed {seed}: {} events in {} commits", outcome.events, outcome.commits);
    outcome.events / outcome.commits
}

/// The same of sixteen senders who come all at once, and then no more for half a second: what the
/// Functions host takes off a queue.
fn events_a_burst(seed: u64) -> usize {
    let (busy, pause) = (Duration::from_secs(10), Duration::from_millis(500));
    shared(seed, capture::Crowd { processes: 1, in_flight: 16, busy, pause })
}

#[test]
fn a_crowd_that_comes_after_a_pause_shares_a_commit_and_takes_two_where_nobody_waits_for_it() {
    for seed in 0..3 {
        let (shared, alone) = (events_a_burst(seed), Rule::CrowdsShare.without(|| events_a_burst(seed)));
        assert!(shared >= 13 && alone <= 8, "seed {seed}: {shared} events a commit, {alone} without a wait");
    }
}

#[test]
fn a_crowd_that_comes_back_shares_a_commit() {
    for seed in 0..3 {
        assert!(events_a_commit(seed) >= 22, "seed {seed}: the crowd takes turns");
    }
}

#[test]
fn a_crowd_takes_turns_unless_the_committer_waits_for_it() {
    for seed in 0..3 {
        let alone = Rule::CrowdsShare.without(|| events_a_commit(seed));
        assert!(alone < 20, "seed {seed}: {alone} events a commit without a wait");
    }
}

//! The seeds.

use super::{draw, play};

/// Plays a range of seeds, and names every one that breaks a promise.
fn all_hold(seeds: impl Iterator<Item = u64>) {
    let broken: Vec<String> = seeds
        .filter_map(|seed| play(draw(seed), false).verdict.err().map(|broken| format!("seed {seed}: {broken}")))
        .collect();
    assert!(broken.is_empty(), "{} seeds break a promise:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn ten_thousand_seeds_keep_every_promise_first_half() {
    all_hold(0..5_000);
}

#[test]
fn ten_thousand_seeds_keep_every_promise_second_half() {
    all_hold(5_000..10_000);
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
    let outcome = play(draw(seed.parse().unwrap()), true);
    assert_eq!(outcome.verdict, Ok(()));
}

//! What goes wrong in a world, and how often.

use std::time::Duration;

use rand::{Rng, rngs::SmallRng};

use super::table::unknown;
use crate::store::table::{CommitError, ReadError};

/// How storage answers a batch that holds an append it chokes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Poison {
    /// With a 400.
    Refused,
    /// With a 500.
    ServerError,
}

/// Probabilities, and the latency of a way to storage or back, in milliseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Weather {
    pub(super) latency: (u64, u64),
    /// A slow way: seconds.
    pub(super) slow: f64,
    /// A commit that fails before anything is done.
    pub(super) fails: f64,
    /// A commit whose reply is lost, or made up.
    pub(super) lost: f64,
    /// A commit that lands after its sender was told of a time-out.
    pub(super) late: f64,
    /// A call that hangs for minutes.
    pub(super) paused: f64,
    pub(super) read_fails: f64,
    /// A scan whose head is read later than its commits.
    pub(super) torn: f64,
    /// A page that ends early.
    pub(super) short: f64,
    pub(super) poison: Option<Poison>,
}

/// What becomes of a commit.
pub(super) enum Fate {
    Fine,
    Fails(CommitError),
    Lost(CommitError),
    Late { lands: Duration, replies: Duration },
    Paused(Duration),
}

/// What becomes of a read.
pub(super) enum ReadFate {
    Fine,
    Fails(ReadError),
    Paused(Duration),
}

/// Longest time after which a batch that was sent still lands.
pub(super) const LATEST: Duration = Duration::from_secs(240);

impl Weather {
    /// A weather of its own for every seed: each trouble is absent in half of the worlds.
    pub(super) fn draw(random: &mut SmallRng) -> Self {
        let mut some = |most: f64| if random.random() { random.random_range(0.0..most) } else { 0.0 };
        let (slow, fails, lost, late, paused) = (some(0.05), some(0.2), some(0.3), some(0.2), some(0.03));
        let (read_fails, torn, short) = (some(0.15), some(0.9), some(0.1));
        let poison = match random.random_range(0..4) {
            0 => Some(Poison::Refused),
            1 => Some(Poison::ServerError),
            _ => None,
        };
        let fastest = random.random_range(1..5);
        let latency = (fastest, fastest + random.random_range(0..30));
        Self { latency, slow, fails, lost, late, paused, read_fails, torn, short, poison }
    }

    /// The same place with nothing going wrong, but for what storage chokes on.
    pub(super) fn calm(&self) -> Self {
        Self { latency: self.latency, poison: self.poison, ..Self::default() }
    }

    pub(super) fn way(&self, random: &mut SmallRng) -> Duration {
        if random.random_bool(self.slow) {
            return millis(random, 100..6_000);
        }
        Duration::from_millis(random.random_range(self.latency.0..=self.latency.1))
    }

    pub(super) fn fate(&self, random: &mut SmallRng) -> Fate {
        let mut roll: f64 = random.random();
        let mut falls = |chance: f64| {
            roll -= chance;
            roll < 0.0
        };
        if falls(self.fails) {
            Fate::Fails(failure(random))
        } else if falls(self.lost) {
            Fate::Lost(made_up(random))
        } else if falls(self.late) {
            Fate::Late { lands: late(random), replies: millis(random, 5..12_000) }
        } else if falls(self.paused) {
            Fate::Paused(millis(random, 30_000..200_000))
        } else {
            Fate::Fine
        }
    }

    pub(super) fn read_fate(&self, random: &mut SmallRng) -> ReadFate {
        if random.random_bool(self.read_fails) {
            let reason = "503".to_owned();
            return ReadFate::Fails(ReadError::Unavailable { reason, retry_after: retry_after(random) });
        }
        if random.random_bool(self.paused) {
            return ReadFate::Paused(millis(random, 1_000..120_000));
        }
        ReadFate::Fine
    }
}

pub(super) fn millis(random: &mut SmallRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(random.random_range(range))
}

/// Most late batches land soon: within the time in which the sender is still trying.
fn late(random: &mut SmallRng) -> Duration {
    match random.random_range(0..4) {
        0 => millis(random, 10_000..200_000),
        1 => millis(random, 500..10_000),
        _ => millis(random, 1..200),
    }
}

fn retry_after(random: &mut SmallRng) -> Option<Duration> {
    random.random_bool(0.3).then(|| millis(random, 100..5_000))
}

fn failure(random: &mut SmallRng) -> CommitError {
    let retry_after = retry_after(random);
    match random.random_range(0..4) {
        0 => CommitError::Denied { code: "429".to_owned(), retry_after },
        1 => CommitError::Denied { code: "403".to_owned(), retry_after: None },
        2 => unknown("503", retry_after),
        _ => unknown("500", None),
    }
}

/// The answer to a commit that did happen.
fn made_up(random: &mut SmallRng) -> CommitError {
    match random.random_range(0..6) {
        0 => CommitError::Changed { index: None },
        1 => CommitError::Exists { index: None },
        _ => unknown("connection lost", None),
    }
}

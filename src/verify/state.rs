//! Where a run stands, between two calls: small enough to travel in a cursor.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    facts::{Fact, Kind},
    report::Report,
};
use crate::{
    domain::{position::PartitionId, timestamp::Timestamp},
    store::digest,
};

/// Where a run stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// Drawn for each run: nobody can prepare rows whose sums agree.
    pub(super) key: [u8; 16],
    /// The partition at work; `None` when all are done.
    pub(super) partition: Option<PartitionId>,
    pub(super) work: Option<Work>,
    pub(super) report: Report,
}

impl State {
    /// The beginning of a run.
    pub(super) fn new() -> Self {
        Self { key: rand::random(), partition: PartitionId::new(0), work: None, report: Report::default() }
    }
}

impl State {
    /// Gives what was found so far, so that it need not travel on: a request line holds 8 KiB, and a
    /// tenant may have 64 partitions. That something was wrong is not forgotten.
    pub fn hand_over(&mut self) -> Report {
        let report = std::mem::take(&mut self.report);
        self.report.earlier = report.earlier + report.differences.len();
        report
    }

    /// How far the run has come: the partition, and events or rows done in it.
    pub fn progress(&self) -> serde_json::Value {
        let (done, total) = self.work.as_ref().map_or((0, 0), |work| match work.rows_at {
            None => (work.at, work.end),
            Some(_) => (work.rows, work.events.saturating_mul(3)),
        });
        serde_json::json!({ "partition": self.partition, "done": done, "total": total })
    }
}

/// What is known of the partition at work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Work {
    /// The end of the log when the run came here: nothing behind it is judged.
    pub(super) end: u64,
    pub(super) at: u64,
    /// Digest at `at`; `None` while the run began in the middle and has seen none.
    pub(super) digest: Option<String>,
    pub(super) recorded: Timestamp,
    pub(super) commits: u64,
    pub(super) events: u64,
    pub(super) erasures: u64,
    pub(super) rows: u64,
    pub(super) sums: Sums,
    /// Sum over the streams' rows, each as its last event left it.
    pub(super) streams: u128,
    /// Sum over the rows that stream rows say they own.
    pub(super) owned: u128,
    /// The rows pass: which kind, and from which key. `None` in the chain pass.
    pub(super) rows_at: Option<(usize, Option<String>)>,
    /// The furthest sequence that any row names, and that row.
    pub(super) furthest: (u64, String),
}

/// Sums by kind of row: those that commits imply, less those that are there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sums(BTreeMap<Kind, u128>);

impl Sums {
    pub(super) fn change(&mut self, key: &[u8; 16], add: bool, fact: &Fact) {
        let sum = self.0.entry(fact.kind).or_default();
        let value = weigh(key, &fact.key, &fact.says);
        *sum = if add { sum.wrapping_add(value) } else { sum.wrapping_sub(value) };
    }

    pub(super) fn balance(&self, kind: Kind) -> bool {
        self.0.get(&kind).is_none_or(|sum| *sum == 0)
    }
}

/// A stream's row as a number: its version, and the digest of all of it.
pub(super) fn weigh_stream(key: &[u8; 16], row: &str, version: u64, digest: &str) -> u128 {
    weigh(key, row, &format!("{version} {digest}"))
}

/// A row as a number. Keyed, so that rows cannot be chosen to cancel out.
pub(super) fn weigh(key: &[u8; 16], row: &str, says: &str) -> u128 {
    let mac = digest::hmac(key, format!("{row}\0{says}").as_bytes());
    u128::from_be_bytes(std::array::from_fn(|index| mac[index]))
}

//! What stands in a batch so far, and what may be added to it.

use std::collections::HashMap;

use super::StreamNow;
use crate::{
    domain::ids::{Identity, StreamName},
    store::{append::Stored, table::Op},
};

/// A stream as it will be, and the operations that bring its own rows there.
pub(super) struct Touched {
    pub(super) now: StreamNow,
    pub(super) ops: Vec<Op>,
    pub(super) bytes: usize,
}

/// What operations take of a batch.
#[derive(Default, Clone, Copy)]
pub(super) struct Cost {
    pub(super) ops: usize,
    pub(super) bytes: usize,
}

/// What has been added so far, by the batch or by one append on trial.
#[derive(Default)]
pub(super) struct Trial {
    pub(super) ops: Vec<Op>,
    pub(super) essentials: Vec<Vec<u8>>,
    pub(super) streams: HashMap<StreamName, Touched>,
    pub(super) stored: HashMap<Identity, Stored>,
    /// What the streams' own rows take, once an append on trial is merged.
    pub(super) streams_cost: Cost,
    pub(super) bytes: usize,
    pub(super) debt: bool,
}

impl Trial {
    /// What the touched streams take once `trial` is merged: each once, however often it is touched.
    pub(super) fn streams_cost_with(&self, trial: &Self) -> Cost {
        let mut cost = self.streams_cost;
        for (name, after) in &trial.streams {
            cost.ops += after.ops.len();
            cost.bytes += after.bytes;
            if let Some(before) = self.streams.get(name) {
                cost.ops -= before.ops.len();
                cost.bytes -= before.bytes;
            }
        }
        cost
    }

    /// Takes over what was on trial.
    pub(super) fn merge(&mut self, trial: Self) {
        self.streams_cost = trial.streams_cost;
        self.ops.extend(trial.ops);
        self.essentials.extend(trial.essentials);
        self.streams.extend(trial.streams);
        self.stored.extend(trial.stored);
        self.bytes += trial.bytes;
        self.debt |= trial.debt;
    }
}

/// Bytes that operations take in a batch body, counted so as never to be too low.
pub(super) fn encoded_len(ops: &[Op]) -> usize {
    ops.iter().map(Op::encoded_len).sum()
}

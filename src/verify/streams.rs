//! Streams: the last version of each and its row, as the commits have it.

use std::collections::HashMap;

use super::state::weigh;
use crate::{
    domain::{essentials::Essentials, position::PartitionId},
    store::{digest, keys, rows::Stream, table::Row},
};

/// What the commits say of one stream, in little room: there may be many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Last {
    pub(super) version: u64,
    pub(super) sequence: u64,
    row: u64,
    seen: bool,
}

/// All streams of a partition, known by a hash of their row's key.
#[derive(Debug, Default)]
pub(super) struct Streams {
    last: HashMap<u64, Last>,
    /// Rows that were not as expected when they were read: perhaps of a later commit.
    pub(super) doubtful: Vec<(String, Row)>,
}

impl Streams {
    fn name(key: &[u8; 16], row: &str) -> u64 {
        u64::try_from(weigh(key, row, "") >> 64).unwrap_or_default()
    }

    /// Notes an event. `Err` names the version that should have come.
    pub(super) fn note(&mut self, key: &[u8; 16], essentials: &Essentials) -> Result<(), u64> {
        let name = Self::name(key, &keys::stream(&essentials.stream_name()));
        let before = self.last.get(&name).map_or(0, |last| last.version);
        let row = short(&essentials.stream_row);
        let last = Last { version: essentials.version, sequence: essentials.sequence, row, seen: false };
        self.last.insert(name, last);
        if essentials.version == before + 1 { Ok(()) } else { Err(before + 1) }
    }

    /// Compares a stored row; keeps it for a second look when it differs.
    pub(super) fn see(&mut self, key: &[u8; 16], partition: PartitionId, row: &Row) {
        let says = short(&digest::row(partition, row));
        match self.last.get_mut(&Self::name(key, &row.key)) {
            Some(last) => {
                last.seen = true;
                if last.row != says {
                    self.doubtful.push((row.key.clone(), row.clone()));
                }
            }
            None => self.doubtful.push((row.key.clone(), row.clone())),
        }
    }

    /// What is known of the stream whose row has this key.
    pub(super) fn get(&self, key: &[u8; 16], row: &str) -> Option<&Last> {
        self.last.get(&Self::name(key, row))
    }

    /// The last events of streams without a row.
    pub(super) fn missing(&self) -> Vec<u64> {
        let mut missing: Vec<_> =
            self.last.values().filter(|last| !last.seen).map(|last| last.sequence).collect();
        missing.sort_unstable();
        missing
    }
}

impl Last {
    /// Whether the row is the one that the stream's last event left.
    pub(super) fn left(&self, partition: PartitionId, row: &Row) -> bool {
        self.row == short(&digest::row(partition, row))
    }
}

fn short(digest: &str) -> u64 {
    digest.get(..16).and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or_default()
}

/// The attention row that a stream's row says it has.
pub(super) fn attention_of(row: &Row) -> Option<Row> {
    let (name, stream) = Stream::read(row).ok()?;
    let key = keys::attention(&name, stream.attention.as_ref()?.as_str());
    Some(stream.attention_row(key, &name))
}

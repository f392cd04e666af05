//! Streams: the last version of each and its row, as the commits have it.

use std::collections::HashMap;

use super::{
    run::Run,
    state::{Work, weigh, weigh_stream},
};
use crate::{
    domain::{essentials::Essentials, position::PartitionId},
    store::{digest, history::HistoryError, keys, rows::Stream, table::Row},
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

    /// Notes an event. `Err` names the version that should have come, on the row that its event left.
    pub(super) fn note(&mut self, key: &[u8; 16], essentials: &Essentials) -> Result<(), u64> {
        let name = Self::name(key, &keys::stream(&essentials.stream_name()));
        let before = self.last.get(&name).map(|last| (last.version, last.row));
        let version = before.map_or(0, |(version, _)| version);
        let found = essentials.stream_row_before.as_deref().map(short);
        let row = short(&essentials.stream_row);
        let last = Last { version: essentials.version, sequence: essentials.sequence, row, seen: false };
        self.last.insert(name, last);
        let follows = essentials.version == version + 1 && found == before.map(|(_, row)| row);
        if follows { Ok(()) } else { Err(version + 1) }
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

/// Most streams whose rows are remembered before what moved since is looked at.
const SEEN: usize = 20_000;

/// Rows of streams that were read and may be younger than the end of the run.
#[derive(Debug, Default)]
pub(super) struct Seen {
    rows: HashMap<String, (u64, String)>,
}

impl Seen {
    pub(super) fn note(&mut self, key: &str, version: u64, digest: String) {
        self.rows.insert(key.to_owned(), (version, digest));
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= SEEN
    }
}

impl Run<'_> {
    /// Takes rows that moved on since the run began back to where they were at its end: the first later
    /// event of a stream says what it found. A row and its commit are written in one transaction, so
    /// what a row shows is in the commits that are read after it.
    pub(super) async fn moved(&mut self, work: &mut Work) -> Result<(), HistoryError> {
        let mut seen = std::mem::take(&mut self.seen).rows;
        if seen.is_empty() {
            return Ok(());
        }
        let (run, mut back, mut open) = (self.key, 0_u128, HashMap::new());
        self.each_from(work.end + 1, u64::MAX, |essentials| {
            let key = keys::stream(&essentials.stream_name());
            if let Some((version, digest)) = seen.remove(&key)
                && version >= essentials.version
            {
                back = back.wrapping_add(weigh_stream(&run, &key, version, &digest));
                if let Some(before) = &essentials.stream_row_before {
                    let before = weigh_stream(&run, &key, essentials.version.saturating_sub(1), before);
                    back = back.wrapping_sub(before);
                }
                open.insert(key.clone(), (version, digest));
            }
            if open.get(&key).is_some_and(|left| *left == (essentials.version, essentials.stream_row.clone()))
            {
                open.remove(&key);
            }
        })
        .await?;
        work.streams = work.streams.wrapping_add(back);
        for (key, (version, _)) in open {
            let expected = format!("the stream as the commit of its version {version} left it");
            self.differs(self.difference(key, expected, "another row"));
        }
        Ok(())
    }
}

fn short(digest: &str) -> u64 {
    digest.get(..16).and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or_default()
}

/// The rows that a stream's row says it has: one while it wants attention, one while it falls due.
pub(super) fn owned_by(row: &Row) -> Vec<Row> {
    let Ok((name, stream)) = Stream::read(row) else { return Vec::new() };
    let attention = stream.attention.as_ref().map(|status| {
        let key = keys::attention(&name, status.as_str());
        stream.attention_row(key, &name)
    });
    let due = stream.due.map(|at| stream.due_row(keys::due(&name, at), &name));
    attention.into_iter().chain(due).collect()
}

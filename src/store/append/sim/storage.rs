//! The rows of a world, and what happened to them when.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    hash::{DefaultHasher, Hash, Hasher},
    ops::Bound,
    time::Duration,
};

use rand::{Rng, rngs::SmallRng};
use tokio::time::Instant;

use super::faults::{Fate, ReadFate, Weather, millis};
use crate::{
    domain::essentials::Essentials,
    store::{
        rows::Commit,
        table::{Batch, CommitError, ETag, Op, Row, StoredRow},
    },
};

/// A commit that landed.
#[derive(Debug)]
pub(super) struct Landed {
    pub(super) at: Instant,
    pub(super) events: Vec<Essentials>,
}

pub(super) struct Storage {
    pub(super) rows: BTreeMap<String, StoredRow>,
    pub(super) landed: Vec<Landed>,
    pub(super) weather: Weather,
    pub(super) random: SmallRng,
    pub(super) trace: Trace,
    /// A row that a batch took for there and that was not, although its head was what it should be.
    pub(super) amiss: Option<String>,
    /// Requests so far.
    pub(super) requests: u64,
    etags: u64,
}

impl Storage {
    pub(super) fn new(weather: Weather, random: SmallRng, head: Row, loud: bool) -> Self {
        let mut storage = Self {
            rows: BTreeMap::new(),
            landed: Vec::new(),
            weather,
            random,
            trace: Trace::new(loud),
            amiss: None,
            requests: 0,
            etags: 0,
        };
        storage.put(head);
        storage
    }

    pub(super) fn note(&mut self, process: usize, what: fmt::Arguments<'_>) {
        self.trace.note(process, what);
    }

    pub(super) fn latency(&mut self) -> Duration {
        self.weather.way(&mut self.random)
    }

    pub(super) fn fate(&mut self) -> Fate {
        self.requests += 1;
        self.weather.fate(&mut self.random)
    }

    pub(super) fn read_fate(&mut self) -> ReadFate {
        self.requests += 1;
        self.weather.read_fate(&mut self.random)
    }

    pub(super) fn torn(&mut self) -> Option<Duration> {
        let torn = self.random.random_bool(self.weather.torn);
        torn.then(|| millis(&mut self.random, 1..60))
    }

    pub(super) fn short(&mut self) -> bool {
        self.random.random_bool(self.weather.short)
    }

    pub(super) fn get(&self, key: &str) -> Option<StoredRow> {
        self.rows.get(key).cloned()
    }

    pub(super) fn range(&self, from: &str, to: &str) -> Vec<StoredRow> {
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        self.rows.range::<str, _>(bounds).map(|(_, stored)| stored.clone()).collect()
    }

    fn put(&mut self, row: Row) -> ETag {
        self.etags += 1;
        let etag = ETag(self.etags.to_string().into());
        self.rows.insert(row.key.clone(), StoredRow { row, etag: etag.clone() });
        etag
    }

    /// Commits a batch whole, or says which condition does not hold.
    pub(super) fn apply(&mut self, process: usize, batch: &Batch) -> Result<Option<ETag>, CommitError> {
        let broken: Vec<usize> = (0..batch.ops().len()).filter(|i| !self.holds(&batch.ops()[*i])).collect();
        if !broken.is_empty() {
            let overwrites = |index: &&usize| matches!(batch.ops()[**index], Op::Overwrite(_));
            if broken[0] != 0
                && let Some(index) = broken.iter().find(overwrites)
            {
                self.amiss = Some(batch.ops()[*index].key().to_owned());
            }
            // Several conditions may be broken: the service names one, or none.
            let which = broken[self.random.random_range(0..broken.len())];
            let index = self.random.random_bool(0.8).then_some(which);
            let op = &batch.ops()[which];
            self.note(process, format_args!("commit meets {}", op.key()));
            return Err(match op {
                Op::Insert(_) => CommitError::Exists { index },
                Op::Overwrite(_) | Op::Delete(_) => CommitError::Missing { index },
                Op::Replace(..) | Op::Upsert(_) => CommitError::Changed { index },
            });
        }
        let mut first = None;
        for (index, op) in batch.ops().iter().enumerate() {
            match op.row() {
                Some(row) => {
                    let etag = self.put(row.clone());
                    first = if index == 0 { Some(etag) } else { first };
                }
                None => drop(self.rows.remove(op.key())),
            }
        }
        self.record(process, batch);
        Ok(first)
    }

    fn holds(&self, op: &Op) -> bool {
        let stored = self.rows.get(op.key());
        match op {
            Op::Insert(_) => stored.is_none(),
            Op::Replace(_, etag) => stored.is_some_and(|stored| stored.etag == *etag),
            Op::Upsert(_) => true,
            Op::Overwrite(_) | Op::Delete(_) => stored.is_some(),
        }
    }

    fn record(&mut self, process: usize, batch: &Batch) {
        let row = batch.ops().iter().find_map(|op| match op {
            Op::Insert(row) if row.key.starts_with("c|") => Some(row),
            _ => None,
        });
        let commit = Commit::read(row.expect("every batch holds a commit")).expect("a commit can be read");
        let events = commit.events().expect("its essentials can be read");
        for event in &events {
            let name = event.stream_name();
            self.note(
                process,
                format_args!("stores {} as {} at {name}/{}", event.id, event.sequence, event.version),
            );
        }
        self.landed.push(Landed { at: Instant::now(), events });
    }
}

/// What happened, in order: a hash to compare two runs by, and lines for a reader on demand.
pub(super) struct Trace {
    began: Instant,
    hash: DefaultHasher,
    line: String,
    loud: bool,
}

impl Trace {
    fn new(loud: bool) -> Self {
        Self { began: Instant::now(), hash: DefaultHasher::new(), line: String::new(), loud }
    }

    fn note(&mut self, process: usize, what: fmt::Arguments<'_>) {
        self.line.clear();
        let _ = write!(self.line, "{:>9} p{process} {what}", self.began.elapsed().as_millis());
        self.line.hash(&mut self.hash);
        if self.loud {
            println!("{}", self.line);
        }
    }

    pub(super) fn digest(&self) -> u64 {
        self.hash.finish()
    }
}

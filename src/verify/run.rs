//! A run: partition after partition, pass after pass.

use tokio::time::Instant;

use super::{
    report::{CheckedPartition, Difference, Report},
    state::{State, Work},
    streams::Seen,
};
use crate::{
    domain::position::PartitionId,
    feed::all_stream::Places,
    store::{digest::Digest, history::HistoryError, log::Log},
};

/// Most differences that a report lists.
const MAX_DIFFERENCES: usize = 20;

/// A digest that the caller has kept from earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// The partition.
    pub partition: PartitionId,
    /// The last sequence that the digest covers.
    pub sequence: u64,
    /// The digest.
    pub digest: Digest,
}

/// What to verify.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Event rows too, with their data.
    pub data: bool,
    /// Only commits behind these places: then rows are not compared, for that takes them all.
    pub from: Option<Places>,
    /// What the log must still agree with.
    pub anchors: Vec<Anchor>,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// The partition.
    pub partition: PartitionId,
    /// Of how many events, or rows, in it.
    pub done: u64,
    /// How many there are, about.
    pub total: u64,
    /// What is being read.
    pub what: &'static str,
}

/// How a call ended.
#[derive(Debug)]
pub enum Outcome {
    /// The run is over.
    Done(Report),
    /// The time is up: go on from here.
    More(Box<State>),
}

/// A run at work on one partition.
pub(super) struct Run<'a> {
    pub(super) log: &'a Log,
    pub(super) options: &'a Options,
    pub(super) key: [u8; 16],
    pub(super) partition: PartitionId,
    pub(super) seen: Seen,
    pub(super) differences: Vec<Difference>,
    pub(super) tell: &'a (dyn Fn(Progress) + Send + Sync),
}

impl Run<'_> {
    pub(super) fn difference(
        &self,
        row: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Difference {
        Difference {
            partition: self.partition,
            row: row.into(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    pub(super) fn differs(&mut self, difference: Difference) {
        if self.differences.len() < MAX_DIFFERENCES {
            self.differences.push(difference);
        }
    }

    pub(super) fn progress(&self, done: u64, total: u64, what: &'static str) {
        (self.tell)(Progress { partition: self.partition, done, total, what });
    }

    /// Works until the partition is done (true), or the time is up.
    async fn work(&mut self, work: &mut Work, until: Option<Instant>) -> Result<bool, HistoryError> {
        if work.rows_at.is_none() {
            if !self.chain(work, until).await? {
                return Ok(false);
            }
            if !self.differences.is_empty() {
                return Ok(true);
            }
            if self.options.from.is_none() {
                work.rows_at = Some((0, None));
            }
        }
        if self.options.from.is_none() && !self.rows(work, until).await? {
            return Ok(false);
        }
        self.close(work).await?;
        Ok(true)
    }
}

/// Verifies a tenant's log, from the beginning or from where an earlier call ended, until `until`.
///
/// # Errors
/// [`HistoryError`] when storage cannot be read. What is wrong with a row is no error but a
/// [`Difference`].
pub async fn verify(
    log: &Log,
    options: &Options,
    state: Option<State>,
    until: Option<Instant>,
    tell: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Outcome, HistoryError> {
    let mut state = state.unwrap_or_else(State::new);
    let partitions = log.tenant().settings.partitions;
    while let Some(partition) = state.partition.filter(|partition| partition.number() < partitions) {
        let mut run = Run {
            log,
            options,
            key: state.key,
            partition,
            seen: Seen::default(),
            differences: Vec::new(),
            tell,
        };
        let taken = match state.work.take() {
            Some(work) => Some(work),
            None => run.begin().await?,
        };
        if let Some(mut work) = taken {
            let done = run.work(&mut work, until).await?;
            if !done {
                state.work = Some(work);
                state.report.differences.append(&mut run.differences);
                state.report.differences.truncate(MAX_DIFFERENCES);
                return Ok(Outcome::More(Box::new(state)));
            }
            state.report.partitions.push(checked(partition, &work, options));
        }
        state.report.differences.append(&mut run.differences);
        state.report.differences.truncate(MAX_DIFFERENCES);
        state.partition = PartitionId::new(partition.number() + 1);
        let more = state.partition.is_some_and(|next| next.number() < partitions);
        if more && until.is_some_and(|until| Instant::now() >= until) {
            return Ok(Outcome::More(Box::new(state)));
        }
    }
    Ok(Outcome::Done(state.report))
}

fn checked(partition: PartitionId, work: &Work, options: &Options) -> CheckedPartition {
    let mut checked = vec!["commits", "head"];
    if work.rows_at.is_some() {
        checked.extend(["identities", "links", "subjects", "attention", "due", "streams"]);
        if options.data {
            checked.push("events");
        }
    }
    CheckedPartition {
        partition,
        commits: work.commits,
        events: work.events,
        erasures: work.erasures,
        sequence: work.at,
        digest: work.digest.clone().unwrap_or_default(),
        recorded_time: work.recorded,
        rows: work.rows,
        checked: checked.into_iter().map(str::to_owned).collect(),
    }
}

//! Completeness of a span of time: is every sequence there, and every version of every stream?

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::streams::Streams;
use crate::{
    domain::{position::PartitionId, timestamp::Timestamp},
    feed::all_stream::Places,
    store::{history::HistoryError, keys, log::Log, rows::Commit},
};

/// Commits read at once.
const PAGE: usize = 500;

/// Why completeness could not be told.
#[derive(Debug, thiserror::Error)]
pub enum CompletenessError {
    /// Storage or a row failed.
    #[error("the log cannot be read")]
    History(#[from] HistoryError),
}

impl From<crate::store::table::ReadError> for CompletenessError {
    fn from(error: crate::store::table::ReadError) -> Self {
        Self::History(error.into())
    }
}

/// One partition of the span.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    partition: PartitionId,
    /// First sequence of the span.
    first: u64,
    /// Its last; below `first` when it holds nothing.
    last: u64,
    events: u64,
    /// Digest before the span, and at its end.
    digest_before: String,
    digest_after: String,
    /// A commit behind the span exists: nothing can be added to it any more.
    closed: bool,
}

/// Where the count stands.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Completeness {
    /// Partitions that were counted before those in `done`.
    passed: usize,
    done: Vec<Span>,
    at: Option<Span>,
    gaps: Vec<String>,
    /// What those held that were handed over.
    events: u64,
    open: bool,
    broken: bool,
    finished: bool,
}

impl Completeness {
    /// Whether everything was counted.
    pub fn is_done(&self) -> bool {
        self.finished
    }

    /// Gives the partitions and gaps found so far, so that they need not travel on.
    pub fn hand_over(&mut self) -> (Vec<Span>, Vec<String>) {
        let (events, open, broken) = (self.events(), !self.is_closed(), !self.is_complete());
        (self.events, self.open, self.broken) = (events, open, broken);
        self.passed += self.done.len();
        (std::mem::take(&mut self.done), std::mem::take(&mut self.gaps))
    }

    /// Whether nothing is missing, of all that was counted.
    pub fn is_complete(&self) -> bool {
        !self.broken && self.gaps.is_empty()
    }

    /// What is missing.
    pub fn gaps(&self) -> &[String] {
        &self.gaps
    }

    /// The partitions.
    pub fn partitions(&self) -> &[Span] {
        &self.done
    }

    /// Events in the span.
    pub fn events(&self) -> u64 {
        self.events + self.done.iter().map(|span| span.events).sum::<u64>()
    }

    /// Whether no event can come into the span any more.
    pub fn is_closed(&self) -> bool {
        !self.open && self.done.iter().all(|span| span.closed)
    }
}

/// The events that are counted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Recorded at this time or later.
    pub from: Option<Timestamp>,
    /// Recorded before this time.
    pub to: Option<Timestamp>,
    /// Up to the commits that hold these places: what a reader has read, whatever came since.
    pub at: Option<Places>,
}

/// Counts the events that are wanted, until `until`.
///
/// # Errors
/// [`CompletenessError`].
pub async fn completeness(
    log: &Log,
    wanted: &Wanted,
    state: Option<Completeness>,
    until: Instant,
) -> Result<Completeness, CompletenessError> {
    let mut state = state.unwrap_or_default();
    let done = state.passed + state.done.len();
    for partition in log.tenant().partitions().skip(done) {
        let mut span = match state.at.take() {
            Some(span) => span,
            None => begin(log, partition, wanted.from).await?,
        };
        if !count(log, &mut span, wanted, &mut state.gaps, until).await? {
            state.at = Some(span);
            return Ok(state);
        }
        state.done.push(span);
    }
    state.finished = true;
    Ok(state)
}

async fn begin(log: &Log, partition: PartitionId, from: Option<Timestamp>) -> Result<Span, HistoryError> {
    let first = match from {
        None => 1,
        Some(from) => log.first_at(partition, from).await?,
    };
    let before = match first {
        1 => crate::store::digest::genesis(&log.tenant().table, partition),
        _ => match log.reaching(partition, first - 1).await? {
            Some(commit) => commit.digest,
            None => log.head(partition).await?.digest,
        },
    };
    let digest = hex::encode(before.0);
    Ok(Span {
        partition,
        first,
        last: first - 1,
        events: 0,
        digest_before: digest.clone(),
        digest_after: digest,
        closed: false,
    })
}

/// Counts on; true when the span is done.
async fn count(
    log: &Log,
    span: &mut Span,
    wanted: &Wanted,
    gaps: &mut Vec<String>,
    until: Instant,
) -> Result<bool, CompletenessError> {
    // Versions are followed within one call; `verification` follows them through everything.
    let (key, mut streams) = (rand::random(), Streams::default());
    let end = wanted.at.as_ref().map(|places| places.get(span.partition).sequence);
    loop {
        let range = keys::commits_between(span.last + 1, u64::MAX);
        let page = log.scan(span.partition, &range, PAGE).await?;
        for stored in &page.rows {
            let commit = Commit::read(&stored.row).map_err(HistoryError::from)?;
            let behind = end.is_some_and(|end| commit.first > end);
            if behind || wanted.to.is_some_and(|to| commit.recorded >= to) {
                span.closed = true;
                return Ok(true);
            }
            if commit.first != span.last + 1 || hex::encode(commit.previous.0) != span.digest_after {
                gaps.push(format!("{}: nothing follows sequence {}", span.partition, span.last));
            }
            for essentials in commit.events().map_err(HistoryError::from)? {
                let known = streams.get(&key, &keys::stream(&essentials.stream_name())).is_some();
                if streams.note(&key, &essentials).is_err() && known {
                    let at = essentials.sequence;
                    gaps.push(format!(
                        "{}-{at}: a version of its stream is missing before it",
                        span.partition
                    ));
                }
                span.events += 1;
            }
            span.last = commit.last;
            span.digest_after = hex::encode(commit.digest.0);
        }
        if page.next.is_none() && page.rows.is_empty() {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
    }
}

//! The first pass: commits in order, each recomputed; then the head.

use tokio::time::Instant;

use super::{
    facts,
    report::Difference,
    run::Run,
    state::{Work, weigh_stream},
};
use crate::{
    domain::erasure::Erased,
    store::{
        digest::{self, CommitFields, Digest},
        history::HistoryError,
        keys,
        rows::{Commit, Head},
        table::Row,
    },
};

/// Commits read at once: few, for they may be large.
const PAGE: usize = 128;

impl Run<'_> {
    /// Reads the head and takes up the work of a partition.
    pub(super) async fn begin(&mut self) -> Result<Option<Work>, HistoryError> {
        let head = match self.head().await? {
            Ok(head) => head,
            Err(difference) => {
                self.differs(difference);
                return Ok(None);
            }
        };
        let tenant = self.log.tenant();
        let start = self.options.from.as_ref().map_or(0, |places| places.get(self.partition).sequence);
        let genesis = digest::genesis(&tenant.table, self.partition);
        Ok(Some(Work {
            end: head.last,
            at: start,
            digest: (start == 0).then(|| hex::encode(genesis.0)),
            recorded: tenant.created,
            commits: 0,
            events: 0,
            erasures: 0,
            rows: 0,
            sums: Default::default(),
            streams: 0,
            owned: 0,
            rows_at: None,
            furthest: (0, String::new()),
        }))
    }

    /// Recomputes commits until the end, a difference or `until`. True when the pass is over.
    pub(super) async fn chain(
        &mut self,
        work: &mut Work,
        until: Option<Instant>,
    ) -> Result<bool, HistoryError> {
        while work.at < work.end {
            let range = keys::commits_between(work.at + 1, u64::MAX);
            let page = self.log.scan(self.partition, &range, PAGE).await?;
            if page.rows.is_empty() {
                self.differs(self.difference(
                    keys::commit(work.end),
                    "the commit that the head names as the last",
                    format!("nothing behind sequence {}", work.at),
                ));
                return Ok(true);
            }
            for stored in &page.rows {
                if work.at >= work.end {
                    break;
                }
                if let Err(difference) = self.link(work, &stored.row) {
                    self.differs(difference);
                    return Ok(true);
                }
            }
            self.progress(work.at, work.end, "commits");
            if until.is_some_and(|until| Instant::now() >= until) && work.at < work.end {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One commit: does it go on from the one before, and does it say what it said?
    fn link(&mut self, work: &mut Work, row: &Row) -> Result<(), Difference> {
        let differs = |expected: String, found: String| self.difference(row.key.clone(), expected, found);
        let commit = Commit::read(row).map_err(|bad| {
            differs(format!("a property `{}`", bad.property), "none that can be read".to_owned())
        })?;
        let (first, last) = (commit.first, commit.last);
        let middle = work.digest.is_none();
        if middle && (first..=last).contains(&work.at) && first <= last {
            // The run began inside this commit.
            work.at = first.saturating_sub(1);
        }
        if row.key != keys::commit(last) || last < first {
            return Err(differs("a key that is its last sequence".to_owned(), format!("{first} to {last}")));
        }
        if first != work.at + 1 {
            return Err(differs(format!("first sequence {}", work.at + 1), first.to_string()));
        }
        let previous = work.digest.clone().unwrap_or_else(|| hex::encode(commit.previous.0));
        if hex::encode(commit.previous.0) != previous {
            return Err(differs(format!("previous digest {previous}"), hex::encode(commit.previous.0)));
        }
        let computed = recompute(self.partition, &commit);
        if computed != commit.digest {
            return Err(differs(format!("digest {}", hex::encode(computed.0)), hex::encode(commit.digest.0)));
        }
        if digest::row(self.partition, &commit.row()) != digest::row(self.partition, row) {
            return Err(differs("the properties of a commit".to_owned(), "others, or more".to_owned()));
        }
        if !middle && commit.recorded < work.recorded {
            return Err(differs(
                format!("a recorded time from {} on", work.recorded),
                commit.recorded.to_string(),
            ));
        }
        self.events(work, &commit)?;
        work.at = last;
        work.digest = Some(hex::encode(commit.digest.0));
        work.recorded = commit.recorded;
        work.commits += 1;
        self.anchored(&commit)
    }

    /// The events of a commit: contiguous, in sequence and in the versions of their streams.
    fn events(&mut self, work: &mut Work, commit: &Commit) -> Result<(), Difference> {
        let key = keys::commit(commit.last);
        let events = commit.events().map_err(|_| {
            self.difference(key.clone(), "essentials of events", "something else under a digest that agrees")
        })?;
        let mut next = commit.first;
        for essentials in &events {
            if essentials.sequence != next {
                let found = essentials.sequence.to_string();
                return Err(self.difference(key, format!("sequence {next}"), found));
            }
            next += 1;
            work.events += 1;
            work.erasures += u64::from(Erased::read(essentials).is_some());
            if self.options.from.is_some() {
                continue;
            }
            let run = self.key;
            facts::of(self.partition, essentials, &mut |add, fact| work.sums.change(&run, add, &fact));
            let row = keys::stream(&essentials.stream_name());
            let version = essentials.version;
            work.streams =
                work.streams.wrapping_add(weigh_stream(&run, &row, version, &essentials.stream_row));
            if let Some(before) = &essentials.stream_row_before {
                let before = weigh_stream(&run, &row, version.saturating_sub(1), before);
                work.streams = work.streams.wrapping_sub(before);
            }
        }
        if next != commit.last + 1 {
            let found = format!("{} events", events.len());
            return Err(self.difference(key, format!("events up to sequence {}", commit.last), found));
        }
        Ok(())
    }

    /// Holds the commit against the checkpoints that the caller has kept.
    fn anchored(&self, commit: &Commit) -> Result<(), Difference> {
        for anchor in self.options.anchors.iter().filter(|anchor| anchor.partition == self.partition) {
            if !(commit.first..=commit.last).contains(&anchor.sequence) {
                continue;
            }
            if commit.last != anchor.sequence || commit.digest != anchor.digest {
                let expected = format!(
                    "digest {} at sequence {}, as the checkpoint says",
                    hex::encode(anchor.digest.0),
                    anchor.sequence
                );
                let found = format!("digest {} at sequence {}", hex::encode(commit.digest.0), commit.last);
                return Err(self.difference(keys::commit(commit.last), expected, found));
            }
        }
        Ok(())
    }

    /// The head row, whole.
    pub(super) async fn head(&self) -> Result<Result<Head, Difference>, HistoryError> {
        let Some(stored) = self.log.get(self.partition, keys::HEAD).await? else {
            return Ok(Err(self.difference(keys::HEAD, "a head", "none")));
        };
        Ok(match Head::read(&stored.row) {
            Err(bad) => Err(self.difference(keys::HEAD, format!("a property `{}`", bad.property), "none")),
            Ok(head)
                if digest::row(self.partition, &head.row()) != digest::row(self.partition, &stored.row) =>
            {
                Err(self.difference(keys::HEAD, "the properties of a head", "others, or more"))
            }
            Ok(head) => Ok(head),
        })
    }

    /// The last look: the head is the end of the commits, and nothing lies behind it.
    pub(super) async fn close(&mut self, work: &Work) -> Result<(), HistoryError> {
        for anchor in &self.options.anchors {
            if anchor.partition == self.partition && anchor.sequence > work.end {
                let expected = format!("sequence {}, as the checkpoint says", anchor.sequence);
                self.differs(self.difference(keys::HEAD, expected, work.end.to_string()));
            }
        }
        // By its key: what it says of itself may be anything.
        let range = keys::commits_between(work.end + 1, u64::MAX);
        let beyond = self.log.scan(self.partition, &range, 1).await?.rows.pop();
        let head = match self.head().await? {
            Ok(head) => head,
            Err(difference) => {
                self.differs(difference);
                return Ok(());
            }
        };
        if head.last == work.end {
            let digest = hex::encode(head.digest.0);
            if work.digest.as_ref().is_some_and(|chain| *chain != digest) {
                let expected = format!("digest {}", work.digest.clone().unwrap_or_default());
                self.differs(self.difference(keys::HEAD, expected, digest));
            } else if work.digest.is_some() && work.recorded != head.recorded {
                let expected = format!("recorded time {}", work.recorded);
                self.differs(self.difference(keys::HEAD, expected, head.recorded.to_string()));
            }
        } else if head.last < work.end {
            let expected = format!("last sequence {} or a later one", work.end);
            self.differs(self.difference(keys::HEAD, expected, head.last.to_string()));
        }
        let further = beyond.map(|stored| {
            let sequence = stored.row.key.strip_prefix("c|").and_then(|digits| digits.parse().ok());
            (sequence.unwrap_or(u64::MAX), stored.row.key)
        });
        let furthest = further.into_iter().chain(Some(work.furthest.clone())).max();
        if let Some((sequence, row)) = furthest.filter(|(sequence, _)| *sequence > head.last) {
            let sequence = if sequence == u64::MAX {
                "a later sequence".to_owned()
            } else {
                format!("sequence {sequence}")
            };
            self.differs(self.difference(
                row,
                format!("nothing behind sequence {}, where the log ends", head.last),
                sequence,
            ));
        }
        Ok(())
    }
}

fn recompute(partition: crate::domain::position::PartitionId, commit: &Commit) -> Digest {
    digest::commit(CommitFields {
        previous: commit.previous,
        partition,
        first: commit.first,
        last: commit.last,
        recorded: &commit.recorded.to_string(),
        attempt: &commit.attempt,
        essentials: &commit.essentials,
    })
}

//! One partition of a read: commits come in, events in order go out.

use std::{collections::VecDeque, time::Duration};

use super::{
    place::{Mark, Place},
    read::{Direction, ReadFailure},
};
use crate::{
    domain::{essentials::Essentials, position::PartitionId, timestamp::Timestamp},
    store::{
        digest::Digest,
        keys,
        log::Log,
        rows::{BadRow, Commit},
    },
};

/// Most events that one commit can hold: a batch has 100 rows.
const COMMIT: u64 = 100;
/// Looks at a range whose rows do not follow each other before we believe that they never will.
const LOOKS: u32 = 8;

/// An event of the log, without its data.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) recorded: Timestamp,
    pub(super) place: Place,
    pub(super) essentials: Essentials,
}

/// A partition that is being read.
#[derive(Debug)]
pub(super) struct Lane<'a> {
    log: &'a Log,
    pub(super) partition: PartitionId,
    direction: Direction,
    /// Behind (before) the last event taken.
    pub(super) at: Place,
    /// Behind (before) the last event in the buffer.
    edge: Place,
    /// The digest of the commit at the edge, once one was read.
    digest: Option<Digest>,
    pub(super) buffer: VecDeque<Entry>,
    /// Nothing more comes out of this lane now.
    pub(super) ended: bool,
    /// Last sequence that may come out (oldest first).
    pub(super) until: Option<u64>,
}

impl<'a> Lane<'a> {
    pub(super) fn new(log: &'a Log, partition: PartitionId, direction: Direction, at: Place) -> Self {
        Self {
            log,
            partition,
            direction,
            at,
            edge: at,
            digest: None,
            buffer: VecDeque::new(),
            ended: false,
            until: None,
        }
    }

    /// The next event, which stays.
    pub(super) fn front(&self) -> Option<&Entry> {
        self.buffer.front()
    }

    /// Takes the next event.
    pub(super) fn take(&mut self) -> Option<Entry> {
        let entry = self.buffer.pop_front()?;
        self.at = entry.place;
        Some(entry)
    }

    /// Reads on, at least `wanted` events unless there are fewer now.
    pub(super) async fn fill(&mut self, wanted: u64) -> Result<(), ReadFailure> {
        if self.ended || !self.buffer.is_empty() {
            return Ok(());
        }
        match self.direction {
            Direction::Forward => self.forward(wanted).await,
            Direction::Backward => self.backward(wanted).await,
        }
    }

    async fn forward(&mut self, wanted: u64) -> Result<(), ReadFailure> {
        let until = self.until.unwrap_or(u64::MAX);
        if self.edge.sequence >= until {
            self.ended = true;
            return Ok(());
        }
        let to = self.edge.sequence.saturating_add(wanted).saturating_add(COMMIT);
        for _ in 0..LOOKS {
            // The commit at the edge comes too until its digest is known: it proves the place.
            let from = self.edge.sequence + u64::from(self.digest.is_some() || self.edge.sequence == 0);
            let window = self.log.window(self.partition, from, to).await?;
            let mut commits = window.commits.as_slice();
            if self.digest.is_none() && self.edge.sequence > 0 {
                let (anchor, rest) = commits.split_first().ok_or(ReadFailure::Changed)?;
                self.check(anchor)?;
                self.digest = Some(anchor.digest);
                self.take_in(anchor)?;
                commits = rest;
            }
            let fitting = self.follow(commits)?;
            if fitting == commits.len() {
                self.ended = window.whole && self.edge.sequence < to.saturating_sub(COMMIT);
                return Ok(());
            }
            if !self.buffer.is_empty() {
                return Ok(());
            }
            // A range is not read in one moment: what is missing is about to be seen.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(BadRow { key: keys::commit(self.edge.sequence + 1), property: "First" }.into())
    }

    /// Takes in the commits that follow each other from the edge; says how many.
    fn follow(&mut self, commits: &[Commit]) -> Result<usize, ReadFailure> {
        for (index, commit) in commits.iter().enumerate() {
            let linked = self.digest.is_none_or(|digest| digest == commit.previous);
            if commit.first != self.edge.sequence + 1 || !linked {
                return Ok(index);
            }
            self.digest = Some(commit.digest);
            self.take_in(commit)?;
        }
        Ok(commits.len())
    }

    /// Whether this commit is the one that the reader stands in.
    fn check(&self, commit: &Commit) -> Result<(), ReadFailure> {
        let here = commit.first <= self.edge.sequence && self.edge.sequence <= commit.last;
        let same = self.edge.mark.is_none_or(|mark| mark == Mark::of(&commit.digest));
        if here && same { Ok(()) } else { Err(ReadFailure::Changed) }
    }

    fn take_in(&mut self, commit: &Commit) -> Result<(), ReadFailure> {
        let mark = Some(Mark::of(&commit.digest));
        let until = self.until.unwrap_or(u64::MAX);
        for essentials in commit.events()? {
            if essentials.sequence > self.edge.sequence && essentials.sequence <= until {
                let place = Place { sequence: essentials.sequence, mark };
                self.edge = place;
                self.buffer.push_back(Entry { recorded: commit.recorded, place, essentials });
            }
        }
        if commit.last > self.edge.sequence && commit.last < until {
            return Err(BadRow { key: keys::commit(commit.last), property: "Essentials" }.into());
        }
        if self.edge.sequence == commit.last {
            self.edge.mark = mark;
        }
        Ok(())
    }

    async fn backward(&mut self, wanted: u64) -> Result<(), ReadFailure> {
        if self.edge.sequence <= 1 {
            self.ended = true;
            return Ok(());
        }
        let from = self.edge.sequence.saturating_sub(wanted).max(1);
        let mut commits: Vec<Commit> = Vec::new();
        let (mut at, to) = (from, self.edge.sequence + COMMIT);
        loop {
            let window = self.log.window(self.partition, at, to).await?;
            commits.extend(window.commits);
            match commits.last() {
                Some(last) if !window.whole && last.last < self.edge.sequence => at = last.last + 1,
                _ => break,
            }
        }
        if let Some(mark) = self.edge.mark {
            let holds = |commit: &&Commit| (commit.first..=commit.last).contains(&self.edge.sequence);
            let anchor = commits.iter().find(holds).ok_or(ReadFailure::Changed)?;
            if mark != Mark::of(&anchor.digest) {
                return Err(ReadFailure::Changed);
            }
        }
        commits.retain(|commit| commit.first < self.edge.sequence);
        for commit in commits.iter().rev() {
            let mark = Some(Mark::of(&commit.digest));
            for essentials in commit.events()?.into_iter().rev() {
                if essentials.sequence + 1 > self.edge.sequence {
                    continue;
                }
                if essentials.sequence + 1 != self.edge.sequence {
                    return Err(BadRow { key: keys::commit(commit.last), property: "First" }.into());
                }
                let place = Place { sequence: essentials.sequence, mark };
                self.edge = place;
                self.buffer.push_back(Entry { recorded: commit.recorded, place, essentials });
            }
        }
        if self.buffer.is_empty() {
            return Err(BadRow { key: keys::commit(self.edge.sequence - 1), property: "RowKey" }.into());
        }
        Ok(())
    }
}

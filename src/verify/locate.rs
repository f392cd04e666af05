//! The third pass, when rows and commits disagree: which row, and what was expected.
//!
//! Takes some 20 bytes of memory for each row of the kind. Nothing needs it while all is well.

use std::collections::HashMap;

use super::{
    facts::{self, Fact, Kind},
    rows::{all_of, said_version},
    run::Run,
    state::weigh,
    streams::Streams,
};
use crate::{
    domain::{essentials::Essentials, position::Position},
    store::{history::HistoryError, keys, rows::Commit},
};

const PAGE: usize = 128;

impl Run<'_> {
    /// Every event from the beginning to `end`, oldest first. Commits that cannot be read were
    /// reported before.
    async fn each(&self, end: u64, take: impl FnMut(&Essentials)) -> Result<(), HistoryError> {
        self.each_from(1, end, take).await
    }

    /// The same, from a sequence on.
    pub(super) async fn each_from(
        &self,
        first: u64,
        end: u64,
        mut take: impl FnMut(&Essentials),
    ) -> Result<(), HistoryError> {
        let mut range = keys::commits_between(first, u64::MAX);
        loop {
            let page = self.log.scan(self.partition, &range, PAGE).await?;
            for stored in &page.rows {
                let Ok(events) = Commit::read(&stored.row).and_then(|commit| commit.events()) else {
                    continue;
                };
                // Where rows were forged, a commit may say anything of where it stands.
                let wanted = first..=end;
                events.iter().filter(|event| wanted.contains(&event.sequence)).for_each(&mut take);
            }
            match page.next {
                Some(next) => range.from = next,
                None => return Ok(()),
            }
        }
    }

    fn short(&self, key: &str, says: &str) -> u64 {
        u64::try_from(weigh(&self.key, key, says) >> 64).unwrap_or_default()
    }

    /// Finds the rows of a kind that are not as the commits imply.
    pub(super) async fn locate(&mut self, kind: Kind, end: u64) -> Result<(), HistoryError> {
        let mut expected: HashMap<u64, u64> = HashMap::new();
        let partition = self.partition;
        self.each(end, |essentials| {
            facts::of(partition, essentials, &mut |add, fact| {
                if fact.kind == kind {
                    let (name, says) = (self.short(&fact.key, ""), self.short(&fact.key, &fact.says));
                    match add {
                        true => drop(expected.insert(name, says)),
                        // What an erasure removed must be what was there.
                        false if expected.get(&name) == Some(&says) => drop(expected.remove(&name)),
                        false => {}
                    }
                }
            });
        })
        .await?;
        let mut range = all_of(kind);
        loop {
            let page = self.log.scan(partition, &range, PAGE).await?;
            for stored in &page.rows {
                let sequence = stored.row.int("Sequence").unwrap_or_default();
                let fact = facts::stored(kind, partition, &stored.row);
                match expected.remove(&self.short(&fact.key, "")) {
                    Some(says) if says == self.short(&fact.key, &fact.says) => {}
                    Some(_) => self.altered(kind, end, &fact).await?,
                    None if u64::try_from(sequence).is_ok_and(|sequence| sequence > end) => {}
                    None => self.differs(self.difference(fact.key, "no such row: no commit made it", "one")),
                }
            }
            match page.next {
                Some(next) => range.from = next,
                None => break,
            }
        }
        self.missing(kind, end, &expected).await
    }

    /// A row that is there and says something else. It may have been erased while we were reading.
    async fn altered(&mut self, kind: Kind, end: u64, found: &Fact) -> Result<(), HistoryError> {
        let mut last: Option<(Position, String)> = None;
        let mut since = None;
        let partition = self.partition;
        self.each(u64::MAX, |essentials| {
            facts::of(partition, essentials, &mut |add, fact| {
                if add && fact.kind == kind && fact.key == found.key {
                    let at = Position { partition, sequence: essentials.sequence };
                    if essentials.sequence <= end {
                        last = Some((at, fact.says));
                    } else {
                        since = Some(fact.says);
                    }
                }
            });
        })
        .await?;
        if since.is_some() {
            return Ok(());
        }
        let (at, says) = last.map_or((String::new(), String::new()), |(at, says)| (at.to_string(), says));
        let expected = format!("what {at} says of it (digest {says})");
        self.differs(self.difference(found.key.clone(), expected, found.says.clone()));
        Ok(())
    }

    /// Names the rows that are not there.
    async fn missing(
        &mut self,
        kind: Kind,
        end: u64,
        missing: &HashMap<u64, u64>,
    ) -> Result<(), HistoryError> {
        if missing.is_empty() {
            return Ok(());
        }
        let mut gone: Vec<(String, String)> = Vec::new();
        let partition = self.partition;
        self.each(end, |essentials| {
            facts::of(partition, essentials, &mut |add, fact| {
                if add
                    && fact.kind == kind
                    && missing.contains_key(&self.short(&fact.key, ""))
                    && gone.len() < 64
                {
                    let at = Position { partition, sequence: essentials.sequence };
                    gone.push((fact.key, format!("the row that {at} made")));
                }
            });
        })
        .await?;
        for (key, expected) in gone {
            if self.log.get(partition, &key).await?.is_some() || self.erased_since(kind, &key, end).await? {
                continue;
            }
            self.differs(self.difference(key, expected, "none"));
        }
        Ok(())
    }

    /// Whether a later erasure took the row away while we were reading.
    async fn erased_since(&self, kind: Kind, key: &str, end: u64) -> Result<bool, HistoryError> {
        let mut removed = false;
        let partition = self.partition;
        self.each_from(end + 1, u64::MAX, |essentials| {
            facts::of(partition, essentials, &mut |add, fact| {
                removed |= !add && fact.kind == kind && fact.key == key;
            });
        })
        .await?;
        Ok(removed)
    }

    /// Streams whose rows were not as expected: of a later commit, or wrong.
    async fn settle(&mut self, mut streams: Streams, end: u64) -> Result<(), HistoryError> {
        let doubtful = std::mem::take(&mut streams.doubtful);
        let missing = streams.missing();
        if doubtful.is_empty() && missing.is_empty() {
            return Ok(());
        }
        // What came since: such rows are judged by their newest commit.
        let run = self.key;
        let mut newer = Streams::default();
        let mut behind = std::collections::HashSet::new();
        self.each_from(end + 1, u64::MAX, |essentials| {
            behind.insert(keys::stream(&essentials.stream_name()));
            let _ = newer.note(&run, essentials);
        })
        .await?;
        for (key, row) in doubtful {
            if behind.contains(&key) {
                // It moved on while we were reading: a row in between was as good.
                let now = self.log.get(self.partition, &key).await?;
                let current = now.as_ref().map_or(&row, |stored| &stored.row);
                let moved = newer.get(&run, &key).is_some_and(|last| {
                    last.left(self.partition, current) || row.int("Version") != current.int("Version")
                });
                if moved || now.is_some_and(|stored| stored.row.int("Version") > row.int("Version")) {
                    continue;
                }
            }
            let expected = match streams.get(&run, &key) {
                Some(last) => {
                    let at = Position { partition: self.partition, sequence: last.sequence };
                    format!("the stream as {at} left it, at version {}", last.version)
                }
                None => "no such row: no commit made it".to_owned(),
            };
            self.differs(self.difference(key, expected, said_version(&row)));
        }
        for sequence in missing.into_iter().take(20) {
            let mut name = None;
            self.each(sequence, |essentials| {
                if essentials.sequence == sequence {
                    name = Some(essentials.stream_name());
                }
            })
            .await?;
            if let Some(name) = name {
                let at = Position { partition: self.partition, sequence };
                self.differs(self.difference(
                    keys::stream(&name),
                    format!("the stream as {at} left it"),
                    "none",
                ));
            }
        }
        Ok(())
    }

    /// Streams did not add up: looks at each of them, from its first event on.
    pub(super) async fn streams_anew(&mut self, end: u64) -> Result<(), HistoryError> {
        let run = self.key;
        let (mut streams, mut broken) = (Streams::default(), Vec::new());
        self.each(end, |essentials| {
            if let Err(expected) = streams.note(&run, essentials)
                && broken.len() < 20
            {
                let name = essentials.stream_name();
                let found = format!("version {} of {name}, on another row", essentials.version);
                broken.push((
                    essentials.sequence,
                    format!("version {expected} of {name}, on the row before"),
                    found,
                ));
            }
        })
        .await?;
        for (sequence, expected, found) in broken {
            let commit = self.log.reaching(self.partition, sequence).await?;
            let key = keys::commit(commit.map_or(sequence, |commit| commit.last));
            self.differs(self.difference(key, expected, found));
        }
        let mut range = all_of(Kind::Stream);
        loop {
            let page = self.log.scan(self.partition, &range, PAGE).await?;
            for stored in &page.rows {
                streams.see(&run, self.partition, &stored.row);
            }
            match page.next {
                Some(next) => range.from = next,
                None => break,
            }
        }
        self.settle(streams, end).await
    }
}

//! The second pass: the rows beside the commits.

use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::{
    facts::{self, Kind},
    report::Difference,
    run::Run,
    state::{Work, weigh, weigh_stream},
    streams::owned_by,
};
use crate::store::{
    digest,
    history::HistoryError,
    keys,
    rows::{Stream, linked_stream},
    table::{Range, Row},
};

/// Rows read at once; event rows are large.
const PAGES: (usize, usize) = (500, 64);

/// The kinds in the order in which they are read. Streams before what they say is wanted.
const ORDER: [Kind; 7] =
    [Kind::Identity, Kind::Link, Kind::Subject, Kind::Stream, Kind::Attention, Kind::Due, Kind::Event];

/// Of which kinds rows are held against each other where those that streams own did not add up.
const OWNED: [Kind; 3] = [Kind::Stream, Kind::Attention, Kind::Due];
/// Pairs that are looked at at the same time.
const PARALLEL: usize = 16;

impl Run<'_> {
    /// Compares rows until all are done (true), or the time is up.
    pub(super) async fn rows(
        &mut self,
        work: &mut Work,
        until: Option<Instant>,
    ) -> Result<bool, HistoryError> {
        while let Some((index, from)) = work.rows_at.clone() {
            let late = || until.is_some_and(|until| Instant::now() >= until);
            let Some(kind) = ORDER.get(index).copied() else {
                // Rows that streams own did not add up, if only because streams moved on meanwhile.
                let Some(kind) = OWNED.get(index - ORDER.len()).filter(|_| work.owned != 0) else { break };
                let next = self.owned(*kind, from).await?;
                work.rows_at = Some(next.map_or((index + 1, None), |next| (index, Some(next))));
                if late() {
                    return Ok(false);
                }
                continue;
            };
            if kind == Kind::Event && !self.options.data {
                work.rows_at = Some((index + 1, None));
                continue;
            }
            let all = all_of(kind);
            let range = Range { from: from.unwrap_or(all.from), to: all.to };
            let limit = if kind == Kind::Event { PAGES.1 } else { PAGES.0 };
            let page = self.log.scan(self.partition, &range, limit).await?;
            for stored in &page.rows {
                self.row(work, kind, &stored.row);
            }
            self.progress(work.rows, work.events * 2, kind.name());
            let late = late();
            if late || page.next.is_none() || self.seen.is_full() {
                self.moved(work).await?;
            }
            work.rows_at = Some(match page.next {
                Some(next) => (index, Some(next)),
                None => (index + 1, None),
            });
            if late {
                return Ok(false);
            }
        }
        self.judge(work).await?;
        Ok(true)
    }

    fn row(&mut self, work: &mut Work, kind: Kind, row: &Row) {
        work.rows += 1;
        match kind {
            Kind::Stream => {
                let version = row.int("Version").and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
                let digest = digest::row(self.partition, row);
                let weight = weigh_stream(&self.key, &row.key, version, &digest);
                work.streams = work.streams.wrapping_sub(weight);
                self.seen.note(&row.key, version, digest);
                for wanted in owned_by(row) {
                    work.owned = work.owned.wrapping_add(self.weight(&wanted));
                }
            }
            Kind::Attention | Kind::Due => {
                work.owned = work.owned.wrapping_sub(self.weight(row));
            }
            _ => {
                // Rows behind the end belong to commits that came while we were reading.
                let sequence = row.int("Sequence").and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
                if sequence <= work.end {
                    work.sums.change(&self.key, false, &facts::stored(kind, self.partition, row));
                } else if sequence > work.furthest.0 {
                    work.furthest = (sequence, row.key.clone());
                }
            }
        }
    }

    fn weight(&self, row: &Row) -> u128 {
        weigh(&self.key, &row.key, &digest::row(self.partition, row))
    }

    /// Compares the sums; where they differ, looks for the row.
    async fn judge(&mut self, work: &mut Work) -> Result<(), HistoryError> {
        let kinds = Kind::SUMMED.into_iter().filter(|kind| self.options.data || *kind != Kind::Event);
        for kind in kinds.filter(|kind| !work.sums.balance(*kind)) {
            self.locate(kind, work.end).await?;
        }
        if work.streams != 0 {
            self.streams_anew(work.end).await?;
        }
        Ok(())
    }

    /// A page of rows that streams own, each against its stream, or the other way round. Gives where the
    /// next page begins.
    async fn owned(&mut self, kind: Kind, from: Option<String>) -> Result<Option<String>, HistoryError> {
        let all = all_of(kind);
        let range = Range { from: from.unwrap_or(all.from), to: all.to };
        let page = self.log.scan(self.partition, &range, PAGES.0).await?;
        let mut pairs = Vec::new();
        for stored in &page.rows {
            let row = &stored.row;
            match linked_stream(row) {
                _ if kind == Kind::Stream => {
                    pairs.extend(owned_by(row).into_iter().map(|owned| (row.key.clone(), owned.key)));
                }
                Ok(name) => pairs.push((keys::stream(&name), row.key.clone())),
                Err(bad) => {
                    let property = format!("a property `{}`", bad.property);
                    self.differs(self.difference(row.key.clone(), property, "none that can be read"));
                }
            }
        }
        let run = &*self;
        let looks = stream::iter(pairs).map(|(stream, key)| async move { run.pair(&stream, &key).await });
        let found: Vec<_> = looks.buffered(PARALLEL).try_collect().await?;
        found.into_iter().flatten().for_each(|difference| self.differs(difference));
        Ok(page.next)
    }

    /// A stream's row and one that it may own. Both change in one commit: read one, the other, and
    /// the first again.
    async fn pair(&self, stream_key: &str, key: &str) -> Result<Option<Difference>, HistoryError> {
        for _ in 0..4 {
            let stream = self.log.get(self.partition, stream_key).await?;
            let owned = stream.as_ref().map(|stored| owned_by(&stored.row)).unwrap_or_default();
            let wanted = owned.into_iter().find(|owned| owned.key == key);
            let there = self.log.get(self.partition, key).await?.map(|stored| stored.row);
            let again = self.log.get(self.partition, stream_key).await?;
            if stream.map(|stored| stored.etag) != again.map(|stored| stored.etag) {
                continue;
            }
            let weight = |row: &Option<Row>| row.as_ref().map(|row| self.weight(row));
            if weight(&there) != weight(&wanted) {
                let (expected, found) = match (there.is_some(), wanted.is_some()) {
                    (_, false) => ("no such row: its stream's row does not own it", "one"),
                    (true, _) => ("a row that leads to the stream, and nothing more", "another"),
                    _ => ("the row under which the stream is found", "none"),
                };
                return Ok(Some(self.difference(key, expected, found)));
            }
            return Ok(None);
        }
        Ok(None)
    }
}

/// Every row of a kind.
pub(super) fn all_of(kind: Kind) -> Range {
    let from = kind.prefix().to_owned();
    let to = from.replace('|', "}");
    Range { from, to }
}

/// The version that a stream's row names, for a report.
pub(super) fn said_version(row: &Row) -> String {
    match Stream::read(row) {
        Ok((name, stream)) => format!("{name} at version {}", stream.version),
        Err(bad) => format!("a row without a valid `{}`", bad.property),
    }
}

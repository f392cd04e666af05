//! The second pass: the rows beside the commits.

use tokio::time::Instant;

use super::{
    facts::{self, Kind},
    run::Run,
    state::{Work, weigh},
    streams::attention_of,
};
use crate::store::{
    digest,
    history::HistoryError,
    keys,
    rows::Stream,
    table::{Range, Row},
};

/// Rows read at once; event rows are large.
const PAGES: (usize, usize) = (1_000, 100);

/// The kinds in the order in which they are read. Streams before what they say is wanted.
const ORDER: [Kind; 6] =
    [Kind::Identity, Kind::Link, Kind::Subject, Kind::Stream, Kind::Attention, Kind::Event];

impl Run<'_> {
    /// Compares rows until all are done (true), or the time is up.
    pub(super) async fn rows(
        &mut self,
        work: &mut Work,
        until: Option<Instant>,
    ) -> Result<bool, HistoryError> {
        while let Some((index, from)) = work.rows_at.clone() {
            let Some(kind) = ORDER.get(index).copied() else { break };
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
            work.rows_at = Some(match page.next {
                Some(next) => (index, Some(next)),
                None => (index + 1, None),
            });
            if until.is_some_and(|until| Instant::now() >= until) {
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
                let version = row.int("Version").unwrap_or_default().to_string();
                work.versions = work.versions.wrapping_sub(weigh(&self.key, &row.key, &version));
                if let Some(wanted) = attention_of(row) {
                    work.attention = work.attention.wrapping_add(self.weight(&wanted));
                }
                if let Some(streams) = &mut self.streams {
                    streams.see(&self.key, self.partition, row);
                }
            }
            Kind::Attention => {
                work.attention = work.attention.wrapping_sub(self.weight(row));
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
        match self.streams.take() {
            Some(streams) => self.settle(streams, work.end).await?,
            None if work.versions != 0 => self.streams_anew(work).await?,
            None => {}
        }
        if work.attention != 0 {
            self.attention().await?;
        }
        Ok(())
    }

    /// Attention rows, each against the stream that it is about, and the other way round.
    async fn attention(&mut self) -> Result<(), HistoryError> {
        for kind in [Kind::Stream, Kind::Attention] {
            let mut range = all_of(kind);
            loop {
                let page = self.log.scan(self.partition, &range, PAGES.0).await?;
                for stored in &page.rows {
                    self.attention_row(kind, &stored.row).await?;
                }
                match page.next {
                    Some(next) => range.from = next,
                    None => break,
                }
            }
        }
        Ok(())
    }

    async fn attention_row(&mut self, kind: Kind, row: &Row) -> Result<(), HistoryError> {
        let stream_key = match kind {
            Kind::Stream if attention_of(row).is_none() => return Ok(()),
            Kind::Stream => row.key.clone(),
            _ => match crate::store::rows::linked_stream(row) {
                Ok(name) => keys::stream(&name),
                Err(bad) => {
                    let property = format!("a property `{}`", bad.property);
                    self.differs(self.difference(row.key.clone(), property, "none that can be read"));
                    return Ok(());
                }
            },
        };
        // Both rows change in one commit: read one, the other, and the first again.
        for _ in 0..4 {
            let stream = self.log.get(self.partition, &stream_key).await?;
            let wanted = stream.as_ref().and_then(|stored| attention_of(&stored.row));
            let key = match (&wanted, kind) {
                (Some(wanted), Kind::Stream) => wanted.key.clone(),
                (None, Kind::Stream) => return Ok(()),
                _ => row.key.clone(),
            };
            let there = self.log.get(self.partition, &key).await?.map(|stored| stored.row);
            let again = self.log.get(self.partition, &stream_key).await?;
            if stream.map(|stored| stored.etag) != again.map(|stored| stored.etag) {
                continue;
            }
            let wanted = wanted.filter(|wanted| wanted.key == key);
            let weight = |row: &Option<Row>| row.as_ref().map(|row| self.weight(row));
            if weight(&there) != weight(&wanted) {
                let (expected, found) = match (there.is_some(), wanted.is_some()) {
                    (_, false) => {
                        ("no such row: the stream does not want attention under this status", "one")
                    }
                    (true, _) => ("a row that leads to the stream, and nothing more", "another"),
                    _ => ("the row that lists the stream among those which want attention", "none"),
                };
                self.differs(self.difference(key, expected, found));
            }
            return Ok(());
        }
        Ok(())
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

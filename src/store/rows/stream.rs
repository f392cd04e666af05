//! Streams.

use super::{BadRow, Reader, number, on_stream, text, time};
use crate::{
    domain::{
        ids::{EventId, Status, StreamName},
        timestamp::Timestamp,
    },
    store::{keys, table::Row},
};

/// What is kept of a stream beside its events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stream {
    /// Version of its last event; 0 when there is none.
    pub version: u64,
    /// Status, and what set it.
    pub status: Option<StreamStatus>,
    /// State of the workflow, as its last status-setting event said.
    pub state: Option<String>,
    /// Earliest and latest time at which its events happened.
    pub times: Option<(Timestamp, Timestamp)>,
    /// The status under which the stream has an attention row now.
    pub attention: Option<Status>,
    /// When it falls due, where it does: it then has a row that a timer reads.
    pub due: Option<Timestamp>,
}

/// A stream's status and the event that set it, which only a later event can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamStatus {
    /// The status.
    pub status: Status,
    /// When that event happened.
    pub since: Timestamp,
    /// That event's id; decides between two of the same time.
    pub event: EventId,
}

impl Stream {
    /// Writes the row.
    pub fn row(&self, name: &StreamName) -> Row {
        let set = self.status.as_ref();
        let (first, last) = self.times.unzip();
        // In the order in which the digest takes them, so that it has nothing to sort.
        Row::new(keys::stream(name))
            .with_some("Attention", self.attention.as_ref().map(|status| text(status.as_str())))
            .with("Category", text(name.category.as_str()))
            .with_some("Due", self.due.map(time))
            .with_some("FirstTime", first.map(time))
            .with_some("LastTime", last.map(time))
            .with_some("State", self.state.as_deref().map(text))
            .with_some("Status", set.map(|set| text(set.status.as_str())))
            .with_some("StatusEvent", set.map(|set| text(set.event.as_str())))
            .with_some("StatusTime", set.map(|set| time(set.since)))
            .with("Stream", text(name.id.as_str()))
            .with("Version", number(self.version))
    }

    /// Writes the row under which a timer finds the stream.
    pub fn due_row(&self, key: String, name: &StreamName) -> Row {
        on_stream(Row::new(key), name)
    }

    /// Writes the row that lists the stream among those which want attention.
    pub fn attention_row(&self, key: String, name: &StreamName) -> Row {
        // Nothing but the stream: so the row follows from the stream's own, whenever it was written.
        on_stream(Row::new(key), name)
    }

    /// Reads the row.
    ///
    /// # Errors
    /// [`BadRow`] when a property is missing or malformed.
    pub fn read(row: &Row) -> Result<(StreamName, Self), BadRow> {
        let r = Reader(row);
        let status = match row.str("Status") {
            None => None,
            Some(status) => Some(StreamStatus {
                status: r.parsed("Status", Status::parse(status))?,
                since: r.time("StatusTime")?,
                event: r.parsed("StatusEvent", EventId::parse(r.str("StatusEvent")?))?,
            }),
        };
        let attention = match row.str("Attention") {
            None => None,
            Some(status) => Some(r.parsed("Attention", Status::parse(status))?),
        };
        let times = match row.str("FirstTime") {
            None => None,
            Some(_) => Some((r.time("FirstTime")?, r.time("LastTime")?)),
        };
        let stream = Self {
            version: r.number("Version")?,
            status,
            state: row.str("State").map(str::to_owned),
            times,
            attention,
            due: row.str("Due").map(|_| r.time("Due")).transpose()?,
        };
        Ok((r.stream()?, stream))
    }
}

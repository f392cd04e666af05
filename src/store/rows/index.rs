//! Rows that lead to others: identities, links, feed debt.

use super::{BadRow, Reader, number, on_stream, text, time};
use crate::{
    domain::{
        ids::{Source, StreamName},
        timestamp::Timestamp,
    },
    store::{keys, table::Row},
};

/// Where an event is stored: the answer to "have I seen this identity?".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityRow {
    /// Its source, in full (the key holds only a hash).
    pub source: Source,
    /// Its stream.
    pub stream: StreamName,
    /// Its version there.
    pub version: u64,
    /// Its sequence in the partition.
    pub sequence: u64,
}

impl IdentityRow {
    /// Writes the row under `key`.
    pub fn row(&self, key: String) -> Row {
        on_stream(Row::new(key), &self.stream)
            .with("Source", text(self.source.as_str()))
            .with("Version", number(self.version))
            .with("Sequence", number(self.sequence))
    }

    /// Reads the row.
    ///
    /// # Errors
    /// [`BadRow`] when a property is missing or malformed.
    pub fn read(row: &Row) -> Result<Self, BadRow> {
        let r = Reader(row);
        Ok(Self {
            source: r.parsed("Source", Source::parse(r.str("Source")?))?,
            stream: r.stream()?,
            version: r.number("Version")?,
            sequence: r.number("Sequence")?,
        })
    }
}

/// A link to an event: what `x|` rows and `a|` rows hold.
pub fn link(key: String, stream: &StreamName, version: u64, sequence: u64) -> Row {
    on_stream(Row::new(key), stream).with("Version", number(version)).with("Sequence", number(sequence))
}

/// Reads the stream that a link row names.
///
/// # Errors
/// [`BadRow`] when a property is missing or malformed.
pub fn linked_stream(row: &Row) -> Result<StreamName, BadRow> {
    Reader(row).stream()
}

/// Reads a link: the stream, the version there, and the sequence.
///
/// # Errors
/// [`BadRow`] when a property is missing or malformed.
pub fn read_link(row: &Row) -> Result<(StreamName, u64, u64), BadRow> {
    let r = Reader(row);
    Ok((r.stream()?, r.number("Version")?, r.number("Sequence")?))
}

/// A debt row: the commit that ends at `last` still has to be handed to the publish queue.
pub fn debt(last: u64, recorded: Timestamp) -> Row {
    Row::new(keys::debt(last)).with("Last", number(last)).with("Recorded", time(recorded))
}

/// Reads a debt row: the last sequence, and when it was recorded.
///
/// # Errors
/// [`BadRow`] when a property is missing or malformed.
pub fn read_debt(row: &Row) -> Result<(u64, Timestamp), BadRow> {
    let r = Reader(row);
    Ok((r.number("Last")?, r.time("Recorded")?))
}

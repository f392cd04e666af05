//! The log itself: the head of a partition and its commits.

use super::{BadRow, Reader, SCHEMA, binary, chunks, number, text, time, with_chunks};
use crate::{
    domain::{essentials::Essentials, timestamp::Timestamp},
    store::{
        digest::Digest,
        keys,
        table::{Row, Value},
    },
};

/// The end of a partition's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Sequence of the last event; 0 before the first.
    pub last: u64,
    /// Digest of the last commit.
    pub digest: Digest,
    /// Recorded time of the last commit.
    pub recorded: Timestamp,
}

impl Head {
    /// Writes the row.
    pub fn row(&self) -> Row {
        Row::new(keys::HEAD)
            .with("Schema", Value::Int(SCHEMA))
            .with("Last", number(self.last))
            .with("Digest", binary(self.digest.0))
            .with("Recorded", time(self.recorded))
    }

    /// Reads the row.
    ///
    /// # Errors
    /// [`BadRow`] when a property is missing or malformed.
    pub fn read(row: &Row) -> Result<Self, BadRow> {
        let r = Reader(row);
        Ok(Self { last: r.number("Last")?, digest: r.digest("Digest")?, recorded: r.time("Recorded")? })
    }
}

/// One transaction's worth of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Sequence of its first event.
    pub first: u64,
    /// Sequence of its last event.
    pub last: u64,
    /// When it was recorded.
    pub recorded: Timestamp,
    /// Which attempt of which process wrote it: how a process recognises its own work after an
    /// unknown outcome.
    pub attempt: String,
    /// Digest of the commit before.
    pub previous: Digest,
    /// Its own digest.
    pub digest: Digest,
    /// The essentials of its events as stored: JSON, an array, in order of sequence.
    pub essentials: Vec<u8>,
}

impl Commit {
    /// Writes the row.
    pub fn row(&self) -> Row {
        let row = Row::new(keys::commit(self.last))
            .with("Schema", Value::Int(SCHEMA))
            .with("First", number(self.first))
            .with("Last", number(self.last))
            .with("Recorded", time(self.recorded))
            .with("Attempt", text(self.attempt.as_str()))
            .with("Previous", binary(self.previous.0))
            .with("Digest", binary(self.digest.0));
        with_chunks(row, "Essentials", &self.essentials)
    }

    /// Reads the row.
    ///
    /// # Errors
    /// [`BadRow`] when a property is missing or malformed.
    pub fn read(row: &Row) -> Result<Self, BadRow> {
        let r = Reader(row);
        Ok(Self {
            first: r.number("First")?,
            last: r.number("Last")?,
            recorded: r.time("Recorded")?,
            attempt: r.str("Attempt")?.to_owned(),
            previous: r.digest("Previous")?,
            digest: r.digest("Digest")?,
            essentials: chunks(row, "Essentials"),
        })
    }

    /// The essentials of its events.
    ///
    /// # Errors
    /// [`BadRow`] when they cannot be read.
    pub fn events(&self) -> Result<Vec<Essentials>, BadRow> {
        serde_json::from_slice(&self.essentials)
            .map_err(|_| BadRow { key: keys::commit(self.last), property: "Essentials" })
    }
}

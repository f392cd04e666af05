//! Dead letters: messages that can never be stored as they are, kept whole, with the reason.
//!
//! Keyed by a hash of message id and body, so that a retry adds none. Those of a tenant lie in
//! its own table; those of no known tenant in a table that only an operator reads.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{
    keys,
    registry::Tenant,
    retry::{self, WriteError, pages},
    rows::BadRow,
    table::{Batch, ETag, MAX_BINARY, Op, ReadError, Row, StoredRow, Table, TableName, Value},
};
use crate::domain::{redaction::Redactor, timestamp::Timestamp};

/// Table of the dead letters that belong to no known tenant.
const NOBODYS: &str = "annalsdeadletters";
/// Bytes of a body in one row; a row ends at 1 MiB.
const ROW_BODY: usize = 12 * MAX_BINARY;

/// Letters that are counted, at most.
pub const COUNTED: usize = 320;
/// Letters read at once to be counted: 4 MiB at most.
const COUNT_PAGE: usize = 64;

/// A message that could not be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Stable code of the reason.
    pub code: String,
    /// The reason, for a person; names the field and the rule.
    pub reason: String,
    /// When it was given up.
    pub time: Timestamp,
    /// The queue or door that it came through.
    pub queue: String,
    /// The queue's id of the message.
    pub message_id: String,
    /// How often the queue had delivered it.
    pub dequeue_count: u32,
    /// The message: byte for byte, but for what is redacted.
    pub body: Bytes,
    /// When it was stored after all.
    pub replayed: Option<Timestamp>,
}

/// Name of a dead letter: 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetterId([u8; 32]);

impl DeadLetterId {
    /// Parses 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).ok()?;
        Some(Self(hash))
    }
}

impl std::fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl DeadLetter {
    /// Its name: a retry of the same message has the same.
    pub fn id(&self) -> DeadLetterId {
        let hash = Sha256::new()
            .chain_update((self.message_id.len() as u64).to_be_bytes())
            .chain_update(&self.message_id)
            .chain_update(&self.body);
        DeadLetterId(hash.finalize().into())
    }

    fn row(&self) -> Row {
        let mut row = Row::new(keys::dead_letter(&self.id().0))
            .with("Code", Value::Str(self.code.clone()))
            .with("Reason", Value::Str(self.reason.clone()))
            .with("Time", Value::Str(self.time.to_string()))
            .with("Queue", Value::Str(self.queue.clone()))
            .with("MessageId", Value::Str(self.message_id.clone()))
            .with("DequeueCount", Value::Int(self.dequeue_count.into()));
        if let Some(replayed) = self.replayed {
            row = row.with("Replayed", Value::Str(replayed.to_string()));
        }
        let further = self.body.len().saturating_sub(1) / ROW_BODY;
        if further > 0 {
            row = row.with("Parts", Value::Int(further.try_into().unwrap_or(i64::MAX)));
        }
        with_body(row, self.body.chunks(ROW_BODY).next().unwrap_or_default())
    }

    /// Rows with the rest of a body that the letter's own row does not hold.
    fn further_rows(&self) -> impl Iterator<Item = Row> {
        let id = self.id();
        let parts = self.body.chunks(ROW_BODY).enumerate().skip(1);
        parts.map(move |(part, bytes)| with_body(Row::new(keys::dead_letter_body(&id.0, part)), bytes))
    }

    fn read(row: &Row) -> Result<Self, BadRow> {
        let bad = |property| move || BadRow { key: row.key.clone(), property };
        let text = |property: &'static str| row.str(property).map(str::to_owned).ok_or_else(bad(property));
        let time = |property: &'static str, text: &str| {
            Timestamp::parse(property, text).map_err(|_| BadRow { key: row.key.clone(), property })
        };
        Ok(Self {
            code: text("Code")?,
            reason: text("Reason")?,
            time: time("Time", &text("Time")?)?,
            queue: text("Queue")?,
            message_id: text("MessageId")?,
            dequeue_count: row.int("DequeueCount").and_then(|n| n.try_into().ok()).unwrap_or_default(),
            body: body(row).into(),
            replayed: row.str("Replayed").map(|text| time("Replayed", text)).transpose()?,
        })
    }
}

fn with_body(row: Row, bytes: &[u8]) -> Row {
    bytes.chunks(MAX_BINARY).enumerate().fold(row, |row, (index, chunk)| {
        row.with(format!("Body{index}"), Value::Bin(Bytes::copy_from_slice(chunk)))
    })
}

/// The bytes of a body that lie in this row.
fn body(row: &Row) -> Vec<u8> {
    let chunks = (0..).map_while(|index| row.bin(&format!("Body{index}")));
    chunks.flat_map(|chunk| chunk.iter().copied()).collect()
}

/// Why dead letters could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// Storage cannot be read; it may pass.
    #[error("dead letters cannot be read")]
    Read(#[from] ReadError),
    /// Storage cannot be written; it may pass.
    #[error("a dead letter cannot be written")]
    Write(#[from] WriteError),
    /// A row is not what it should be.
    #[error("a dead letter cannot be read")]
    Bad(#[from] BadRow),
}

/// Some dead letters, in no order that means anything.
#[derive(Debug)]
pub struct DeadLetterPage {
    /// The letters.
    pub letters: Vec<DeadLetter>,
    /// Row key at which the list goes on.
    pub next: Option<String>,
}

/// The dead letters of one tenant, or those of none.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    table: Arc<dyn Table>,
    name: TableName,
    nobodys: bool,
    redactor: Arc<Redactor>,
}

impl DeadLetters {
    /// Those of a tenant.
    pub fn of(table: Arc<dyn Table>, tenant: &Tenant) -> Self {
        Self { table, name: tenant.table.clone(), nobodys: false, redactor: Arc::clone(&tenant.redactor) }
    }

    /// Those of no known tenant.
    pub fn of_nobody(table: Arc<dyn Table>) -> Self {
        let name = TableName::new(NOBODYS).expect("the constant is a table name");
        Self { table, name, nobodys: true, redactor: Arc::default() }
    }

    /// Where the list goes on behind a letter, for [`DeadLetters::list`].
    pub fn behind(id: DeadLetterId) -> String {
        format!("{}~", keys::dead_letter(&id.0))
    }

    /// Keeps a dead letter, redacted as far as it can be read; keeping it twice is harmless. Durable
    /// on return.
    ///
    /// # Errors
    /// [`DeadLetterError`] when it may not have been kept: the message is then still the queue's.
    pub async fn keep(&self, letter: &DeadLetter) -> Result<DeadLetterId, DeadLetterError> {
        // Before its name is taken: a hash of what was sent would let a guess at a secret be tested.
        let body = self.redactor.document(&letter.body).map_or_else(|| letter.body.clone(), Bytes::from);
        let letter = &DeadLetter { body, ..letter.clone() };
        let rows = std::iter::once(letter.row()).chain(letter.further_rows());
        let batch = Batch::new(keys::DEAD, rows.map(Op::Insert).collect()).map_err(too_large)?;
        let mut kept = retry::write(&self.table, &self.name, &batch).await;
        if self.nobodys && kept == Err(WriteError::NoTable) {
            retry::read(|| self.table.create_table(&self.name)).await?;
            kept = retry::write(&self.table, &self.name, &batch).await;
        }
        match kept {
            Ok(_) | Err(WriteError::Exists) => Ok(letter.id()),
            Err(error) => Err(error.into()),
        }
    }

    /// A page of at most `limit` letters from row key `from` on.
    ///
    /// # Errors
    /// [`DeadLetterError`].
    pub async fn list(&self, from: Option<String>, limit: usize) -> Result<DeadLetterPage, DeadLetterError> {
        let mut range = keys::dead_letters();
        range.from = from.unwrap_or(range.from);
        let page = match pages::scan(&self.table, &self.name, keys::DEAD, &range, limit).await {
            Err(ReadError::NoTable) if self.nobodys => {
                return Ok(DeadLetterPage { letters: Vec::new(), next: None });
            }
            page => page?,
        };
        let mut letters = Vec::with_capacity(page.rows.len());
        for stored in &page.rows {
            letters.push(self.whole(&stored.row).await?);
        }
        Ok(DeadLetterPage { letters, next: page.next })
    }

    /// How many letters wait, [`COUNTED`] at most: letters are as large as messages, and are read whole.
    ///
    /// # Errors
    /// [`DeadLetterError`].
    pub async fn waiting(&self) -> Result<usize, DeadLetterError> {
        let (mut from, mut count, mut read) = (None, 0, 0);
        while read < COUNTED {
            let page = self.list(from, COUNT_PAGE).await?;
            read += page.letters.len();
            count += page.letters.iter().filter(|letter| letter.replayed.is_none()).count();
            match page.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        Ok(count)
    }

    /// One letter.
    ///
    /// # Errors
    /// [`DeadLetterError`].
    pub async fn get(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, DeadLetterError> {
        Ok(self.read(id).await?.map(|(letter, _)| letter))
    }

    /// Notes that a letter was stored after all. It stays on record.
    ///
    /// # Errors
    /// [`DeadLetterError`]; replaying it again is harmless.
    pub async fn mark_replayed(&self, id: DeadLetterId, at: Timestamp) -> Result<(), DeadLetterError> {
        let Some((letter, etag)) = self.read(id).await? else { return Ok(()) };
        let row = DeadLetter { replayed: Some(at), ..letter }.row();
        let batch = Batch::new(keys::DEAD, vec![Op::Replace(row, etag)]).map_err(too_large)?;
        match retry::write(&self.table, &self.name, &batch).await {
            // Somebody else marked it, or our own answer was lost: it is marked.
            Ok(_) | Err(WriteError::Changed) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a letter with all that is in it; one that is not there is a success.
    ///
    /// # Errors
    /// [`DeadLetterError`].
    pub async fn remove(&self, id: DeadLetterId) -> Result<(), DeadLetterError> {
        let batch = Batch::new(keys::DEAD, vec![Op::Delete(keys::dead_letter(&id.0))]).map_err(too_large)?;
        match retry::write(&self.table, &self.name, &batch).await {
            Ok(_) | Err(WriteError::Missing) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn read(&self, id: DeadLetterId) -> Result<Option<(DeadLetter, ETag)>, DeadLetterError> {
        let key = keys::dead_letter(&id.0);
        let stored: Option<StoredRow> =
            match retry::read(|| self.table.get(&self.name, keys::DEAD, &key)).await {
                Err(ReadError::NoTable) if self.nobodys => None,
                stored => stored?,
            };
        match stored {
            None => Ok(None),
            Some(stored) => Ok(Some((self.whole(&stored.row).await?, stored.etag))),
        }
    }

    /// The letter of a row, with all of its body.
    async fn whole(&self, row: &Row) -> Result<DeadLetter, DeadLetterError> {
        let mut letter = DeadLetter::read(row)?;
        let parts = row.int("Parts").and_then(|parts| usize::try_from(parts).ok()).unwrap_or_default();
        if parts > 0 {
            let mut bytes = Vec::from(letter.body);
            let id = row.key.strip_prefix("d|").and_then(DeadLetterId::parse);
            let id = id.ok_or_else(|| BadRow { key: row.key.clone(), property: "RowKey" })?;
            let range = keys::dead_letter_bodies(&id.0);
            let rows = pages::all(&self.table, &self.name, keys::DEAD, &range, parts).await?;
            rows.iter().for_each(|stored| bytes.extend(body(&stored.row)));
            letter.body = bytes.into();
        }
        Ok(letter)
    }
}

fn too_large(error: super::table::BatchError) -> DeadLetterError {
    DeadLetterError::Write(WriteError::Refused { code: error.to_string() })
}

//! A command as its stream tells it: every event with its fact, and what they fold to.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Receipt, secrets::Revealed, stream};
use crate::{
    domain::{
        command::{Command, FACT_ATTRIBUTE, Fact, JOURNAL_TYPES},
        event::{Attribute, Data},
        ids::{Identity, StreamId},
    },
    store::{
        history::{History, HistoryError, MAX_PAGE, Order as Reading},
        rows::RecordedEvent,
    },
};

/// An event of the journal.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The event.
    pub event: RecordedEvent,
    /// What it says to the state machine.
    pub fact: Fact,
}

impl Entry {
    /// Reads an event of a command's stream; `None` for one that is none of the journal's.
    fn of(event: &RecordedEvent) -> Option<Self> {
        if !JOURNAL_TYPES.contains(&event.envelope.event_type.as_str()) {
            return None;
        }
        let Attribute::Str(text) = event.envelope.extensions.get(FACT_ATTRIBUTE)? else { return None };
        let fact: Fact = serde_json::from_str(text).ok()?;
        Some(Self { event: event.clone(), fact })
    }

    /// Whether the event was made by an operation that said this. Of an erased one nothing is left
    /// to compare.
    pub(super) fn says(&self, content: &[u8; 32]) -> bool {
        self.event.fingerprint.is_none_or(|first| first.matches(content))
    }

    /// A member of the event's data, as it stands.
    pub fn member(&self, name: &str) -> Option<&RawValue> {
        #[derive(Deserialize)]
        struct Members<'a>(#[serde(borrow)] std::collections::BTreeMap<Cow<'a, str>, &'a RawValue>);
        let Data::Json(text) = &self.event.data else { return None };
        let Members(members) = serde_json::from_str(text).ok()?;
        members.get(name).copied().filter(|value| value.get() != "null")
    }

    /// A member of the event's data that is a string.
    pub fn text(&self, name: &str) -> Option<String> {
        self.member(name).and_then(|value| serde_json::from_str(value.get()).ok())
    }
}

/// A command, and how it came to be what it is.
#[derive(Debug)]
pub struct Record {
    /// Its id.
    pub id: StreamId,
    /// Version of its stream.
    pub version: u64,
    /// What its facts fold to; `None` before it is dispatched.
    pub command: Option<Command>,
    /// Its events, in order.
    pub entries: Vec<Entry>,
}

impl Record {
    /// Reads the whole stream from storage.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn read(history: &History, id: &StreamId) -> Result<Self, HistoryError> {
        let name = stream(id);
        let mut record = Self { id: id.clone(), version: 0, command: None, entries: Vec::new() };
        let mut from = Some(1);
        while let Some(first) = from {
            let page = history.events(&name, Some(first), MAX_PAGE, Reading::Asc).await?;
            for event in page.events {
                record.push(&event);
            }
            from = page.next;
        }
        Ok(record)
    }

    fn push(&mut self, event: &RecordedEvent) {
        self.version = event.version;
        match Entry::of(event) {
            Some(entry) => {
                self.command = Command::evolve(self.command.take(), event.version, &entry.fact);
                self.entries.push(entry);
            }
            // Somebody else's event in our category: it moves the version, and nothing else.
            None => {
                if let Some(command) = &mut self.command {
                    command.version = event.version;
                }
            }
        }
    }

    /// The event that dispatched it.
    pub fn dispatched(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| matches!(entry.fact, Fact::Dispatched { .. }))
    }

    /// The event that ended its work.
    pub fn concluded(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| matches!(entry.fact, Fact::Concluded { .. }))
    }

    /// Its type, unless that is erased.
    pub fn kind(&self) -> Option<String> {
        self.dispatched().and_then(|entry| entry.text("type"))
    }

    /// The fingerprint of what the outcome revealed once at this place.
    pub fn fingerprint(&self, pointer: &str) -> Option<String> {
        let kept = self.concluded()?.member("onceRevealed")?;
        let kept: Vec<Revealed> = serde_json::from_str(kept.get()).ok()?;
        kept.into_iter().find(|one| one.pointer == pointer).map(|one| one.fingerprint)
    }

    /// The event at a version.
    pub(super) fn at(&self, version: u64) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.event.version == version)
    }

    /// The event with this identity.
    pub(super) fn find(&self, identity: &Identity) -> Option<&Entry> {
        self.entries.iter().find(|entry| {
            entry.event.envelope.id == identity.id && entry.event.envelope.source == identity.source
        })
    }

    /// What the operation of this event was answered when it happened.
    pub(super) fn first_answer(&self, current: &Command, first: &Entry) -> Receipt {
        let after = self.at(first.event.version + 1).filter(|next| next.fact.follows());
        let last = after.map_or(first.event.version, |next| next.event.version);
        let mut command = None;
        for entry in self.entries.iter().filter(|entry| entry.event.version <= last) {
            command = Command::evolve(command, entry.event.version, &entry.fact);
        }
        let facts = std::iter::once(first)
            .chain(after)
            .map(|entry| (entry.event.version, entry.fact.clone()))
            .collect();
        let command = command.unwrap_or_else(|| current.clone());
        Receipt { command, facts, answers: Vec::new(), repeated: true }
    }
}

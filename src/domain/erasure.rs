//! Erasure: what an erasure event says, and how values are blanked in a JSON text.
//!
//! An erasure event stands in the stream `erasure/{partition}`. Its essentials say which row was
//! changed, and its salted digest before and after: whoever verifies the log follows a row from
//! its commit through every erasure to what is stored now. Values never appear in it.

use std::collections::BTreeMap;

use super::{
    essentials::Essentials,
    ids::{Category, EventId, Identity, Source, StreamId, StreamName},
    json::{self, Members},
};

/// Category of the streams that hold erasure events.
pub const CATEGORY: &str = "erasure";
/// Type of an erasure event.
pub const ERASED: &str = "annals.erasure.erased";
/// Type of the event that records the erasure of a dead letter.
pub const LETTER_ERASED: &str = "annals.erasure.dead-letter-erased";

/// What an erasure event says of the row that it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    /// The identity of the erased event.
    pub identity: Identity,
    /// Its stream.
    pub stream: StreamName,
    /// Its version there.
    pub version: u64,
    /// Its sequence in the partition.
    pub sequence: u64,
    /// Digest of its row before, in hexadecimal.
    pub before: String,
    /// Digest of its row since, in hexadecimal.
    pub after: String,
    /// Keyed hash of the data subject whose link was removed with it.
    pub subject: Option<String>,
}

impl Erased {
    /// The members of the essentials.
    pub fn essentials(&self) -> BTreeMap<&'static str, String> {
        let mut members = BTreeMap::from([
            ("erasedEventId", self.identity.id.to_string()),
            ("erasedEventSource", self.identity.source.to_string()),
            ("erasedStream", self.stream.to_string()),
            ("erasedVersion", self.version.to_string()),
            ("erasedSequence", self.sequence.to_string()),
            ("erasedDigestBefore", self.before.clone()),
            ("erasedDigest", self.after.clone()),
        ]);
        if let Some(subject) = &self.subject {
            members.insert("erasedSubject", subject.clone());
        }
        members
    }

    /// Reads the essentials of an erasure event; `None` for any other event. Senders cannot make
    /// one: they choose neither the category nor the essentials.
    pub fn read(essentials: &Essentials) -> Option<Self> {
        if essentials.event_type.as_str() != ERASED || essentials.category.as_str() != CATEGORY {
            return None;
        }
        let text = |name: &str| essentials.data.get(name);
        let (category, id) = text("erasedStream")?.split_once('/')?;
        Some(Self {
            identity: Identity {
                source: Source::parse(text("erasedEventSource")?).ok()?,
                id: EventId::parse(text("erasedEventId")?).ok()?,
            },
            stream: StreamName::new(Category::parse(category).ok()?, StreamId::parse(id).ok()?),
            version: text("erasedVersion")?.parse().ok()?,
            sequence: text("erasedSequence")?.parse().ok()?,
            before: text("erasedDigestBefore")?.clone(),
            after: text("erasedDigest")?.clone(),
            subject: text("erasedSubject").cloned(),
        })
    }
}

/// A pointer that leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a JSON pointer leads to nothing in the data")]
pub struct Nowhere;

/// Replaces the value at each JSON pointer (RFC 6901) by `null`; every other byte stays as it is.
///
/// # Errors
/// [`Nowhere`] when a pointer is malformed or leads to nothing, or the text is not JSON.
pub fn blank(text: &str, pointers: &[String]) -> Result<String, Nowhere> {
    pointers.iter().try_fold(text.to_owned(), |text, pointer| {
        let value = find(&text, pointer)?;
        // A value is a part of the text that it was parsed from.
        let start = value.as_ptr() as usize - text.as_ptr() as usize;
        let (before, rest) = text.split_at_checked(start).ok_or(Nowhere)?;
        let after = rest.get(value.len()..).ok_or(Nowhere)?;
        Ok(format!("{before}null{after}"))
    })
}

fn find<'a>(text: &'a str, pointer: &str) -> Result<&'a str, Nowhere> {
    let steps = pointer.strip_prefix('/').ok_or(Nowhere)?.split('/');
    let mut value = json::value("data", text).map_err(|_| Nowhere)?.get();
    for step in steps {
        let step = step.replace("~1", "/").replace("~0", "~");
        value = if value.starts_with('{') {
            let members = Members::parse("data", value).map_err(|_| Nowhere)?;
            let found = members.iter().find(|(name, _)| *name == step).map(|(_, value)| value);
            found.ok_or(Nowhere)?.get()
        } else {
            let elements = json::elements("data", value).map_err(|_| Nowhere)?;
            let index = step.parse::<usize>().ok().filter(|index| index.to_string() == step);
            elements.get(index.ok_or(Nowhere)?).ok_or(Nowhere)?.get()
        };
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blanked(text: &str, pointers: &[&str]) -> Result<String, Nowhere> {
        blank(text, &pointers.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn only_what_the_pointer_names_changes() {
        let text = r#"{ "b" : 1.10, "a/b":[ {"~x": "secret"}, 2e3 ],"z":{"k":[1]} }"#;
        let got = blanked(text, &["/a~1b/0/~0x", "/z"]).unwrap();
        assert_eq!(got, r#"{ "b" : 1.10, "a/b":[ {"~x": null}, 2e3 ],"z":null }"#);
    }

    #[test]
    fn a_pointer_to_nothing_is_refused() {
        for pointer in ["", "a", "/x", "/a/2", "/a/01", "/a/-", "/s/0"] {
            assert_eq!(blanked(r#"{"a":[1,2],"s":"t"}"#, &[pointer]), Err(Nowhere), "{pointer}");
        }
    }
}

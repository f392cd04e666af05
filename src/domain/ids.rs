//! Identifiers, each its own type, parsed once at the door.
//!
//! A value of one of these types is known to be non-empty, bounded and free of control
//! characters, so nothing behind the door has to ask again. They are *not* known to be safe in
//! a storage key or in a URL: `store::keys` and `links` encode them for that.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// A value that broke a rule at the door: which field, and which rule.
///
/// Both halves are written for the sender and never repeat the value itself, which may be
/// huge, hostile or secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {rule}")]
pub struct Invalid {
    /// The field as the sender knows it (`source`, `data.workflowInstanceId`).
    pub field: String,
    /// The rule as a predicate (`must not be empty`).
    pub rule: String,
}

impl Invalid {
    /// Says that `field` broke `rule`.
    pub fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { field: field.into(), rule: rule.into() }
    }
}

/// Checks the rule that every free-form id obeys: 1 to `max` bytes of UTF-8 and none of the
/// characters that CloudEvents 1.0 forbids in a string (controls and noncharacters; section
/// "Type System").
fn check_text(field: &str, text: &str, max: usize) -> Result<(), Invalid> {
    if text.is_empty() {
        return Err(Invalid::new(field, "must not be empty"));
    }
    if text.len() > max {
        return Err(Invalid::new(field, format!("must be at most {max} bytes of UTF-8, got {}", text.len())));
    }
    if text.chars().any(is_forbidden) {
        return Err(Invalid::new(field, "must not contain control characters or noncharacters"));
    }
    Ok(())
}

/// True for the code points that CloudEvents 1.0 bans from strings.
pub(crate) fn is_forbidden(c: char) -> bool {
    let code = u32::from(c);
    c.is_control() || (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
}

/// Checks the alphabet `[A-Za-z0-9._-]`, with `.` and `..` refused: such a value stands in a
/// path, a table key and a log line as it is.
fn check_plain(field: &str, text: &str, max: usize) -> Result<(), Invalid> {
    check_text(field, text, max)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if text == "." || text == ".." || !text.bytes().all(plain) {
        return Err(Invalid::new(
            field,
            "must consist of letters, digits, '.', '_' and '-', and not be '.' or '..'",
        ));
    }
    Ok(())
}

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident, $field:literal, $max:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Longest accepted value, in bytes of UTF-8.
            pub const MAX: usize = $max;

            /// Parses a value from outside.
            ///
            /// # Errors
            /// [`Invalid`] when it is empty, longer than [`Self::MAX`], or holds a character that the
            /// type does not take.
            pub fn parse(text: impl Into<String>) -> Result<Self, Invalid> {
                let text = text.into();
                $check($field, &text, Self::MAX)?;
                Ok(Self(text.into()))
            }

            /// The value as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                Self::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                Self::parse(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

string_id!(
    /// A CloudEvents `id`: with [`Source`] it is the identity of an event, for ever.
    EventId, "id", 1024, check_text
);
string_id!(
    /// A CloudEvents `source`: a URI reference by the specification, taken as an opaque string.
    Source, "source", 1024, check_text
);
string_id!(
    /// A CloudEvents `type`.
    EventType, "type", 512, check_text
);
string_id!(
    /// The id of an aggregate root within its category: the second half of a stream's name.
    StreamId, "subject", 1024, check_text
);
string_id!(
    /// Ties together everything that belongs to one request. Free-form: not every sender has UUIDs.
    CorrelationId, "correlationid", 512, check_text
);
string_id!(
    /// The id of what directly caused an event. Free-form.
    CausationId, "causationid", 512, check_text
);
string_id!(
    /// The status of a stream (`waiting`, `faulted`, `complete`).
    Status, "status", 128, check_text
);

string_id!(
    /// A tenant: the silo. Marain's grow with depth (64 hexadecimal characters and more).
    TenantId, "tenantid", 256, check_plain
);
string_id!(
    /// The kind of an aggregate root: the first half of a stream's name.
    Category, "category", 64, check_plain
);

/// The name of a stream: the events of one aggregate root, written `category/id`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName {
    /// The kind of aggregate root.
    pub category: Category,
    /// Its id within the category; free-form, may itself hold slashes.
    pub id: StreamId,
}

impl StreamName {
    /// Pairs a category with an id.
    pub fn new(category: Category, id: StreamId) -> Self {
        Self { category, id }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.category, self.id)
    }
}

/// The identity of an event, as CloudEvents defines it: `source` + `id`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Who produced the event.
    pub source: Source,
    /// Its id, unique within the source.
    pub id: EventId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_ids_are_refused_with_the_field_and_the_rule() {
        let cases: [(Result<EventId, Invalid>, &str); 5] = [
            (EventId::parse(""), "`id` must not be empty"),
            (EventId::parse("x".repeat(1025)), "`id` must be at most 1024 bytes of UTF-8, got 1025"),
            (EventId::parse("a\0b"), "`id` must not contain control characters or noncharacters"),
            (EventId::parse("a\u{FFFE}"), "`id` must not contain control characters or noncharacters"),
            (EventId::parse("a\u{85}"), "`id` must not contain control characters or noncharacters"),
        ];
        for (got, want) in cases {
            assert_eq!(got.unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn free_form_ids_keep_whatever_is_printable() {
        for text in ["../", "'", "%2F", "😀", "\u{2028}", "victim',RowKey='x", " "] {
            assert_eq!(EventId::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_tenant_id_is_plain() {
        assert!(TenantId::parse("3633754ac4c9be44b55bfe791b1780f1.a_b-c").is_ok());
        for bad in ["", ".", "..", "a/b", "ü", "a b", "a|b"] {
            assert!(TenantId::parse(bad).is_err(), "{bad:?} was taken");
        }
    }
}

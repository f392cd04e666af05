//! CloudEvents 1.0.2: one event, in whichever way it travels.
//!
//! Read and written by hand rather than through `cloudevents-sdk`; `docs/adr/0001` says why.
//! Nothing is interpreted here: extensions are extensions, and data is what was sent.
//! [`classify`](crate::domain::classify) gives them meaning.

mod binary;
mod draft;
mod error;
mod media_type;
mod structured;

use std::collections::BTreeMap;

pub use error::DecodeError;
pub use media_type::Mode;
pub(crate) use media_type::is_json;

use super::{
    event::{Attribute, Data},
    ids::{EventId, EventType, Source},
    timestamp::Timestamp,
};

/// A valid CloudEvent, version 1.0.
///
/// Attribute strings hold no control characters or noncharacters, as the specification asks. URIs
/// and media types are taken as opaque strings: to refuse an event over one would lose history
/// and protect nobody.
#[derive(Debug, Clone, PartialEq)]
pub struct CloudEvent {
    /// `id`.
    pub id: EventId,
    /// `source`.
    pub source: Source,
    /// `type`.
    pub event_type: EventType,
    /// `subject`; never empty.
    pub subject: Option<String>,
    /// `time`.
    pub time: Option<Timestamp>,
    /// `datacontenttype`; never empty.
    pub content_type: Option<String>,
    /// `dataschema`; never empty.
    pub data_schema: Option<String>,
    /// All other attributes.
    pub extensions: BTreeMap<String, Attribute>,
    /// `data` or `data_base64`.
    pub data: Data,
}

impl Attribute {
    /// The value in the string form that CloudEvents defines for its type. Binary mode knows no
    /// other form, so two values with the same text are the same value.
    pub(crate) fn to_text(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Bool(true) => "true".into(),
            Self::Bool(false) => "false".into(),
            Self::Int(number) => number.to_string().into(),
            Self::Str(text) => text.into(),
        }
    }
}

#[cfg(test)]
mod tests;

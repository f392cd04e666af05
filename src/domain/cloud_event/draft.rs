//! A CloudEvent while its attributes arrive, from whichever mode.

use std::collections::BTreeMap;

use super::{CloudEvent, DecodeError};
use crate::domain::{
    event::{Attribute, Data, MAX_DATA, MAX_ENVELOPE},
    ids::{EventId, EventType, Invalid, Source, is_forbidden},
    timestamp::Timestamp,
};

/// Longest name of an extension. The specification recommends 20 characters and sets no limit.
const MAX_NAME: usize = 64;

/// Collects attributes and checks each as it comes.
#[derive(Debug, Default)]
pub(super) struct Draft {
    specversion: bool,
    id: Option<EventId>,
    source: Option<Source>,
    event_type: Option<EventType>,
    subject: Option<String>,
    time: Option<Timestamp>,
    content_type: Option<String>,
    data_schema: Option<String>,
    extensions: BTreeMap<String, Attribute>,
    size: usize,
}

impl Draft {
    /// Takes one attribute. The caller sees to it that no name comes twice.
    pub(super) fn set(&mut self, name: &str, value: Attribute) -> Result<(), DecodeError> {
        self.size += name.len() + value.to_text().len();
        match name {
            "specversion" => {
                if text(name, value)? != "1.0" {
                    return Err(DecodeError::new(
                        DecodeError::UNSUPPORTED_SPECVERSION,
                        name,
                        "must be `1.0`",
                    ));
                }
                self.specversion = true;
            }
            "id" => self.id = Some(EventId::parse(text(name, value)?)?),
            "source" => self.source = Some(Source::parse(text(name, value)?)?),
            "type" => self.event_type = Some(EventType::parse(text(name, value)?)?),
            "subject" => self.subject = Some(non_empty(name, value)?),
            "time" => self.time = Some(Timestamp::parse(name, &text(name, value)?)?),
            "datacontenttype" => self.content_type = Some(non_empty(name, value)?),
            "dataschema" => self.data_schema = Some(non_empty(name, value)?),
            extension => {
                check_name(extension)?;
                if let Attribute::Str(text) = &value {
                    check_characters(extension, text)?;
                }
                self.extensions.insert(extension.to_owned(), value);
            }
        }
        Ok(())
    }

    /// The `datacontenttype` so far.
    pub(super) fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// The finished event, or what is missing or too large.
    pub(super) fn finish(self, data: Data) -> Result<CloudEvent, DecodeError> {
        if !self.specversion {
            return Err(DecodeError::new(DecodeError::NOT_A_CLOUDEVENT, "specversion", "is required"));
        }
        if self.size > MAX_ENVELOPE {
            let rule = format!("must together be at most {MAX_ENVELOPE} bytes, got {}", self.size);
            return Err(DecodeError::new(DecodeError::ENVELOPE_TOO_LARGE, "attributes", rule));
        }
        check_data_size(data.as_bytes().len())?;
        Ok(CloudEvent {
            id: self.id.ok_or_else(|| required("id"))?,
            source: self.source.ok_or_else(|| required("source"))?,
            event_type: self.event_type.ok_or_else(|| required("type"))?,
            subject: self.subject,
            time: self.time,
            content_type: self.content_type,
            data_schema: self.data_schema,
            extensions: self.extensions,
            data,
        })
    }
}

/// Refuses data that is too large to be stored.
pub(super) fn check_data_size(size: usize) -> Result<(), DecodeError> {
    if size <= MAX_DATA {
        return Ok(());
    }
    let rule = format!("must be at most {MAX_DATA} bytes, got {size}");
    Err(DecodeError::new(DecodeError::DATA_TOO_LARGE, "data", rule))
}

fn required(name: &str) -> Invalid {
    Invalid::new(name, "is required")
}

/// The value of an attribute that the specification makes a string.
fn text(name: &str, value: Attribute) -> Result<String, Invalid> {
    match value {
        Attribute::Str(text) => Ok(text),
        Attribute::Bool(_) | Attribute::Int(_) => Err(Invalid::new(name, "must be a string")),
    }
}

fn non_empty(name: &str, value: Attribute) -> Result<String, Invalid> {
    let text = text(name, value)?;
    if text.is_empty() {
        return Err(Invalid::new(name, "must not be empty"));
    }
    check_characters(name, &text)?;
    Ok(text)
}

fn check_characters(name: &str, text: &str) -> Result<(), Invalid> {
    if text.chars().any(is_forbidden) {
        return Err(Invalid::new(name, "must not contain control characters or noncharacters"));
    }
    Ok(())
}

/// Extension names are `[a-z0-9]` by the specification, which also bans `data`.
///
/// The error shows the name when it is short and plain (`correlationId` is the usual slip).
pub(super) fn check_name(name: &str) -> Result<(), Invalid> {
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(lower) && name != "data" {
        return Ok(());
    }
    let shown = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    Err(Invalid::new(
        if shown { name } else { "extension" },
        format!("must be named with 1 to {MAX_NAME} lower-case letters (a-z) and digits, and not `data`"),
    ))
}

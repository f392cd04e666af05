//! JSON as text: validated once, never rewritten.
//!
//! Everything here borrows from the text and keeps number tokens as they stand. A
//! `serde_json::Value` would turn them into `f64` and lose both digits and member order.

use std::{borrow::Cow, fmt};

use memchr::{memchr, memchr2_iter};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::cloud_event::DecodeError;

/// Deepest nesting of arrays and objects in anything we take.
pub(crate) const MAX_DEPTH: usize = 128;

/// The text of a document: UTF-8, a leading byte order mark dropped, white space around it gone.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| DecodeError::new(DecodeError::NOT_JSON, "body", "must be UTF-8"))?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    Ok(text.trim_matches(is_space))
}

/// Refuses a text whose brackets nest deeper than [`MAX_DEPTH`]. Sound for any text; meant for
/// JSON that is validated afterwards.
pub(crate) fn check_depth(field: &str, text: &str) -> Result<(), DecodeError> {
    // Most texts have fewer brackets in all than may stand one in the other.
    if memchr2_iter(b'{', b'[', text.as_bytes()).count() <= MAX_DEPTH {
        return Ok(());
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(too_deep(field));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

pub(crate) fn too_deep(field: &str) -> DecodeError {
    DecodeError::new(
        DecodeError::TOO_DEEP,
        field,
        format!("must not be nested deeper than {MAX_DEPTH} levels"),
    )
}

/// Validates that `text` is one JSON value.
pub(crate) fn value<'a>(field: &str, text: &'a str) -> Result<&'a RawValue, DecodeError> {
    serde_json::from_str(text).map_err(|error| not_json(field, &error))
}

/// The elements of a JSON array, each with its exact text.
pub(crate) fn elements<'a>(field: &str, text: &'a str) -> Result<Vec<&'a RawValue>, DecodeError> {
    serde_json::from_str(text).map_err(|error| not_json(field, &error))
}

/// Says where the text stops being JSON. The parser's own message may quote the input, so only
/// the place is taken from it.
fn not_json(field: &str, error: &serde_json::Error) -> DecodeError {
    let rule = format!("must be JSON; it is not at line {}, column {}", error.line(), error.column());
    DecodeError::new(DecodeError::NOT_JSON, field, rule)
}

/// The members of a JSON object in the order they were sent; of one that [`Members::parse`] read, each
/// name once.
#[derive(Debug, Default)]
pub(crate) struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads the top level of the object `text`; values are validated and kept as text.
    ///
    /// A repeated name is refused: two readers of the same text could see two different events.
    pub(crate) fn parse(field: &str, text: &'a str) -> Result<Self, DecodeError> {
        let members: Self = serde_json::from_str(text).map_err(|error| not_json(field, &error))?;
        if repeats(members.iter().map(|(name, _)| name)) {
            return Err(repeated(field));
        }
        Ok(members)
    }

    /// The value of the one member, if there is one and no other.
    pub(crate) fn only(&self) -> Option<&'a RawValue> {
        if let [(_, value)] = self.0.as_slice() { Some(value) } else { None }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), *value))
    }

    /// The value of `name`; JSON `null` counts as not given.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.iter().find(|(given, value)| *given == name && value.get() != "null").map(|(_, value)| value)
    }

    /// The value of `name` when it is a string.
    pub(crate) fn string(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).and_then(string)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(16);
                while let Some((name, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    members.push((name.0, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// A string that borrows from the text when it holds no escapes (a bare `Cow` never does).
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The decoded value of a JSON string; `None` for any other kind of value, and for a string that
/// Unicode cannot express (a lone surrogate).
pub(crate) fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let content = value.get().strip_prefix('"')?.strip_suffix('"')?;
    // Without an escape the text is the value: it is JSON, or it would not be here.
    if memchr(b'\\', content.as_bytes()).is_none() {
        return Some(Cow::Borrowed(content));
    }
    serde_json::from_str::<Text<'_>>(value.get()).ok().map(|text| text.0)
}

/// Whether any name occurs twice.
pub(crate) fn repeats<'n>(names: impl Iterator<Item = &'n str>) -> bool {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

pub(crate) fn repeated(field: &str) -> DecodeError {
    DecodeError::new(DecodeError::INVALID_ATTRIBUTE, field, "must not hold a name twice in one object")
}

/// The white space of JSON.
pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

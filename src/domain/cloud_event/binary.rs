//! Binary content mode over HTTP: attributes in `ce-` headers, data in the body.

use std::sync::Arc;

use bytes::Bytes;
use percent_encoding::percent_decode;

use super::{
    CloudEvent, DecodeError,
    draft::{Draft, check_data_size, check_name},
    media_type::{is_json, is_utf8_text},
};
use crate::domain::{
    event::{Attribute, Data},
    ids::Invalid,
    json,
};

impl CloudEvent {
    /// Reads one event in binary mode. Headers that do not begin with `ce-` are passed over.
    ///
    /// The body becomes what the JSON format would carry, so that every mode of one event is the
    /// same event: JSON where the content type says so (or says nothing and the body is JSON), a
    /// JSON string for UTF-8 text, bytes for the rest.
    ///
    /// # Errors
    /// [`DecodeError`] when an attribute breaks a rule or comes twice, or the body is not what its
    /// content type says.
    pub fn from_binary<'h>(
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<Self, DecodeError> {
        let mut attributes: Vec<(String, &[u8])> =
            headers.into_iter().filter_map(|(name, value)| Some((attribute_name(name)?, value))).collect();
        attributes.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut draft = Draft::default();
        let mut previous = None;
        for (name, value) in &attributes {
            check_name(name)?;
            if previous.replace(name) == Some(name) {
                return Err(Invalid::new(name.as_str(), "must be sent in one header only").into());
            }
            if name == "datacontenttype" {
                return Err(Invalid::new(name.as_str(), "must be sent as the Content-Type header").into());
            }
            draft.set(name, Attribute::Str(decode(name, value)?))?;
        }
        if let Some(content_type) = content_type {
            draft.set("datacontenttype", Attribute::Str(content_type.to_owned()))?;
        }
        let data = data(draft.content_type(), body)?;
        draft.finish(data)
    }
}

/// The attribute that a header carries; header names are case-insensitive.
fn attribute_name(header: &str) -> Option<String> {
    let (prefix, name) = header.split_at_checked(3)?;
    prefix.eq_ignore_ascii_case("ce-").then(|| name.to_ascii_lowercase())
}

/// Undoes the encoding of a header value (HTTP binding, section 3.1.3.2): quotes first, then one
/// round of percent-decoding, which must yield UTF-8. A stray `%` stays as it is.
fn decode(name: &str, value: &[u8]) -> Result<String, Invalid> {
    let value = value.trim_ascii();
    let unquoted = match value {
        [b'"', inner @ .., b'"'] => unescape(inner),
        plain => plain.to_vec(),
    };
    let bytes: Vec<u8> = percent_decode(&unquoted).collect();
    String::from_utf8(bytes).map_err(|_| Invalid::new(name, "must be UTF-8 after percent-decoding"))
}

/// Drops the backslash of each quoted pair.
fn unescape(quoted: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => plain.extend(bytes.next()),
            _ => plain.push(byte),
        }
    }
    plain
}

fn data(content_type: Option<&str>, body: Bytes) -> Result<Data, DecodeError> {
    check_data_size(body.len())?;
    if body.is_empty() {
        return Ok(Data::None);
    }
    match content_type {
        Some(content_type) if is_json(content_type) => json_data(&body),
        Some(content_type) if is_utf8_text(content_type) => match std::str::from_utf8(&body) {
            Ok(text) => Ok(Data::Json(json_string(text))),
            Err(_) => Ok(Data::Binary(body)),
        },
        Some(_) => Ok(Data::Binary(body)),
        None => match json_data(&body) {
            Err(error) if error.code == DecodeError::NOT_JSON => Ok(Data::Binary(body)),
            decided => decided,
        },
    }
}

/// The body as JSON, its text kept exactly.
fn json_data(body: &[u8]) -> Result<Data, DecodeError> {
    let in_data = |mut error: DecodeError| {
        error.invalid.field = "data".to_owned();
        error
    };
    let text = json::text(body).map_err(in_data)?;
    json::value("data", text)?;
    json::check_depth("data", text)?;
    Ok(if text == "null" { Data::None } else { Data::Json(text.into()) })
}

fn json_string(text: &str) -> Arc<str> {
    // `Value::String` prints itself without a fallible serializer.
    serde_json::Value::from(text).to_string().into()
}

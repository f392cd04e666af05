//! The JSON event format: reading (structured and batch mode) and writing.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Serialize, Serializer, ser::Error, ser::SerializeMap};
use serde_json::value::RawValue;

use super::{
    CloudEvent, DecodeError,
    draft::{Draft, check_data_size, check_name},
};
use crate::domain::{
    event::{Attribute, Data, MAX_DATA},
    ids::Invalid,
    json::{self, Members},
};

impl CloudEvent {
    /// Reads one event from a JSON object (structured mode, or one element of a batch).
    ///
    /// `data` keeps its exact text. A member that is `null` counts as not given.
    ///
    /// # Errors
    /// [`DecodeError`] when the text is not JSON, nests too deeply, or is no valid CloudEvent.
    pub fn from_json(text: &str) -> Result<Self, DecodeError> {
        json::check_depth("body", text)?;
        let text = text.trim_matches(json::is_space);
        if !text.starts_with('{') {
            json::value("body", text)?;
            return Err(DecodeError::new(DecodeError::NOT_A_CLOUDEVENT, "body", "must be a JSON object"));
        }
        Self::from_members(&Members::parse("body", text)?)
    }

    /// Reads one event from the members of its JSON object.
    pub(crate) fn from_members(members: &Members<'_>) -> Result<Self, DecodeError> {
        if members.get("specversion").is_none() {
            return Err(DecodeError::new(DecodeError::NOT_A_CLOUDEVENT, "specversion", "is required"));
        }
        let mut draft = Draft::default();
        for (name, value) in members.iter() {
            if !matches!(name, "data" | "data_base64")
                && let Some(value) = attribute(name, value)?
            {
                draft.set(name, value)?;
            }
        }
        let data = match (members.get("data"), members.get("data_base64")) {
            (None, None) => Data::None,
            (Some(value), None) => {
                check_data_size(value.get().len())?;
                Data::Json(value.get().into())
            }
            (None, Some(value)) => binary(value)?,
            (Some(_), Some(_)) => {
                return Err(Invalid::new("data", "must not be given together with `data_base64`").into());
            }
        };
        draft.finish(data)
    }
}

/// The value of an attribute; `None` for `null`.
fn attribute(name: &str, value: &RawValue) -> Result<Option<Attribute>, DecodeError> {
    let token = value.get();
    let kind = token.as_bytes().first().copied().unwrap_or_default();
    if kind != b'n' && kind != b'"' {
        // Only then may the name stand in a message below.
        check_name(name)?;
    }
    Ok(Some(match kind {
        b'n' => return Ok(None),
        b't' => Attribute::Bool(true),
        b'f' => Attribute::Bool(false),
        b'"' => match json::string(value) {
            Some(text) => Attribute::Str(text.into_owned()),
            None => {
                check_name(name)?;
                return Err(Invalid::new(name, "must not contain lone surrogates").into());
            }
        },
        b'{' | b'[' => {
            return Err(Invalid::new(name, "must be a string, a boolean or an integer of 32 bits").into());
        }
        _ => {
            let number = token.parse().map_err(|_| {
                Invalid::new(name, "must be an integer of 32 bits (send other numbers as strings)")
            })?;
            Attribute::Int(number)
        }
    }))
}

/// The bytes of `data_base64`; empty data is no data, as in binary mode.
fn binary(value: &RawValue) -> Result<Data, DecodeError> {
    let invalid = || Invalid::new("data_base64", "must be a string of standard, padded Base64");
    let text = json::string(value).ok_or_else(invalid)?;
    // Four characters carry three bytes; do not decode what cannot fit.
    if text.len() / 4 * 3 > MAX_DATA + 3 {
        check_data_size(text.len() / 4 * 3)?;
    }
    let bytes = BASE64_STANDARD.decode(text.as_ref()).map_err(|_| invalid())?;
    Ok(if bytes.is_empty() { Data::None } else { Data::Binary(bytes.into()) })
}

/// Writes the JSON event format: `data` with its exact text, binary data as `data_base64`.
///
/// Works with `serde_json` only, because no other format can take raw JSON.
impl Serialize for CloudEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("specversion", "1.0")?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("source", &self.source)?;
        map.serialize_entry("type", &self.event_type)?;
        let optional = [
            ("subject", &self.subject),
            ("datacontenttype", &self.content_type),
            ("dataschema", &self.data_schema),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                map.serialize_entry(name, value)?;
            }
        }
        if let Some(time) = &self.time {
            map.serialize_entry("time", time)?;
        }
        for (name, value) in &self.extensions {
            map.serialize_entry(name, value)?;
        }
        match &self.data {
            Data::None => {}
            Data::Json(text) => {
                let raw: &RawValue = serde_json::from_str(text).map_err(S::Error::custom)?;
                map.serialize_entry("data", raw)?;
            }
            Data::Binary(bytes) => map.serialize_entry("data_base64", &BASE64_STANDARD.encode(bytes))?,
        }
        map.end()
    }
}

//! A [`Row`] as the service writes it: JSON, with a type beside whatever JSON cannot tell.

use std::{borrow::Cow, collections::HashMap, fmt, io};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use memchr::memchr;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::ser::{Formatter, Serializer};

use crate::store::table::{Row, Value};

const TYPE: &str = "@odata.type";
const INT64: &str = "Edm.Int64";
const BINARY: &str = "Edm.Binary";

/// Writes a row as the JSON that the service takes, without a line separator of Unicode's in it: some
/// servers end a line there.
///
/// Value by value, not through `Serialize`: a transaction holds a thousand of them, and most of its
/// bytes are base64, which needs no look for what to escape.
///
/// # Errors
/// None: memory is all that it is written to.
pub(super) fn write(out: &mut Vec<u8>, partition: &str, row: &Row) -> io::Result<()> {
    out.extend_from_slice(b"{\"PartitionKey\":");
    string(out, partition)?;
    out.extend_from_slice(b",\"RowKey\":");
    string(out, &row.key)?;
    for (name, value) in &row.properties {
        match value {
            // A bare number would be stored as a double, and lose digits above 2^53.
            Value::Int(number) => {
                typed(out, name, INT64);
                out.push(b'"');
                serde_json::to_writer(&mut *out, number)?;
                out.push(b'"');
            }
            Value::Bin(bytes) => {
                typed(out, name, BINARY);
                base64(out, bytes)?;
            }
            Value::Str(text) => {
                member(out, name, "");
                string(out, text)?;
            }
            Value::Bool(truth) => {
                member(out, name, "");
                serde_json::to_writer(&mut *out, truth)?;
            }
        }
    }
    out.push(b'}');
    Ok(())
}

/// The type of a property and its name. A name is ASCII letters and digits: nothing to escape.
fn typed(out: &mut Vec<u8>, name: &str, kind: &str) {
    member(out, name, TYPE);
    out.push(b'"');
    out.extend_from_slice(kind.as_bytes());
    out.push(b'"');
    member(out, name, "");
}

fn member(out: &mut Vec<u8>, name: &str, suffix: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(suffix.as_bytes());
    out.extend_from_slice(b"\":");
}

fn string(out: &mut Vec<u8>, text: &str) -> io::Result<()> {
    Ok(text.serialize(&mut Serializer::with_formatter(out, OnOneLine))?)
}

fn base64(out: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    BASE64.encode_slice(bytes, &mut out[start..]).map_err(io::Error::other)?;
    out.push(b'"');
    Ok(())
}

/// U+2028 and U+2029 as escapes.
struct OnOneLine;

impl Formatter for OnOneLine {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        let mut rest = text;
        // The first byte of both in UTF-8.
        while memchr(0xE2, rest.as_bytes()).is_some()
            && let Some(at) = rest.find(['\u{2028}', '\u{2029}'])
        {
            let (before, from) = rest.split_at(at);
            out.write_all(before.as_bytes())?;
            out.write_all(if from.starts_with('\u{2028}') { b"\\u2028" } else { b"\\u2029" })?;
            rest = &from['\u{2028}'.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }
}

/// A row that came in, with its version where the reply holds it.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) row: Row,
    pub(super) etag: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Bool(bool),
    Int(i64),
    Text(String),
    Null,
}

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(StoredVisitor)
    }
}

struct StoredVisitor;

impl<'de> Visitor<'de> for StoredVisitor {
    type Value = Stored;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entity")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Stored, A::Error> {
        let (mut key, mut etag) = (None, None);
        let mut types: HashMap<String, String> = HashMap::new();
        let mut scalars: Vec<(String, Scalar)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "RowKey" {
                key = Some(map.next_value()?);
            } else if name == "odata.etag" {
                etag = Some(map.next_value()?);
            } else if let Some(property) = name.strip_suffix(TYPE) {
                types.insert(property.to_owned(), map.next_value()?);
            } else if name.starts_with("odata.") || name == "PartitionKey" || name == "Timestamp" {
                map.next_value::<IgnoredAny>()?;
            } else {
                scalars.push((name, map.next_value()?));
            }
        }
        let mut properties = Vec::with_capacity(scalars.len());
        for (name, scalar) in scalars {
            if let Some(value) =
                value(types.get(&name).map(String::as_str), scalar).map_err(A::Error::custom)?
            {
                properties.push((Cow::Owned(name), value));
            }
        }
        let key = key.ok_or_else(|| A::Error::missing_field("RowKey"))?;
        Ok(Stored { row: Row { key, properties }, etag })
    }
}

/// What a property holds; nothing where it is null. A type that we never write is an error, not
/// something to leave out: a row that somebody else wrote must not look like one of ours.
fn value(kind: Option<&str>, scalar: Scalar) -> Result<Option<Value>, &'static str> {
    Ok(Some(match (kind, scalar) {
        (None | Some("Edm.String"), Scalar::Text(text)) => Value::Str(text),
        (None | Some("Edm.Boolean"), Scalar::Bool(truth)) => Value::Bool(truth),
        (None | Some("Edm.Int32"), Scalar::Int(number)) => Value::Int(number),
        (Some(INT64), Scalar::Text(digits)) => {
            Value::Int(digits.parse().map_err(|_| "an Edm.Int64 is not a number")?)
        }
        (Some(BINARY), Scalar::Text(text)) => {
            Value::Bin(BASE64.decode(text).map_err(|_| "an Edm.Binary is not base64")?.into())
        }
        (_, Scalar::Null) => return Ok(None),
        _ => return Err("a property has a type that is never written here"),
    }))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value as Json, json};

    use super::*;

    fn row() -> Row {
        Row::new("e|x")
            .with("Text", Value::Str("\u{2028} \"ü\"".into()))
            .with("Number", Value::Int(9_007_199_254_740_993))
            .with("Bytes", Value::Bin(Bytes::from_static(b"\0\xff")))
            .with("Truth", Value::Bool(true))
    }

    fn written() -> Json {
        let mut out = Vec::new();
        write(&mut out, "p00", &row()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains('\u{2028}'), "{text}");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_row_is_written_with_the_types_that_json_cannot_tell() {
        let wanted = json!({
            "PartitionKey": "p00", "RowKey": "e|x", "Text": "\u{2028} \"ü\"",
            "Number@odata.type": "Edm.Int64", "Number": "9007199254740993",
            "Bytes@odata.type": "Edm.Binary", "Bytes": "AP8=", "Truth": true,
        });
        assert_eq!(written(), wanted);
    }

    #[test]
    fn a_row_is_read_back_as_it_was_whatever_else_the_service_adds() {
        let mut json = written();
        let object = json.as_object_mut().unwrap();
        for (name, value) in [
            ("odata.type", "acme.t"),
            ("odata.etag", "W/\"1\""),
            ("Timestamp@odata.type", "Edm.DateTime"),
            ("Timestamp", "2026-11-24T10:00:00Z"),
        ] {
            object.insert(name.into(), value.into());
        }
        object.insert("Gone".into(), Json::Null);
        let stored: Stored = serde_json::from_value(json).unwrap();
        assert_eq!(stored.etag.as_deref(), Some("W/\"1\""));
        let sorted = |row: &Row| {
            let mut properties = row.properties.clone();
            properties.sort_by(|a, b| a.0.cmp(&b.0));
            properties
        };
        assert_eq!(sorted(&stored.row), sorted(&row()));
    }

    #[test]
    fn a_property_of_a_foreign_type_is_an_error() {
        for json in [
            r#"{"RowKey":"r","X":1.5}"#,
            r#"{"RowKey":"r","X@odata.type":"Edm.Guid","X":"0"}"#,
            r#"{"RowKey":"r","X@odata.type":"Edm.Int64","X":"one"}"#,
            r#"{"RowKey":"r","X@odata.type":"Edm.Binary","X":"?"}"#,
            r#"{"X":"a row without a key"}"#,
        ] {
            assert!(serde_json::from_str::<Stored>(json).is_err(), "{json}");
        }
    }
}

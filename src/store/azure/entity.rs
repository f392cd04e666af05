//! A [`Row`] as the service writes it: JSON, with a type beside whatever JSON cannot tell.

use std::{borrow::Cow, collections::HashMap, fmt};

use base64::{Engine, display::Base64Display, engine::general_purpose::STANDARD as BASE64};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
    ser::SerializeMap,
};

use crate::store::table::{Row, Value};

const TYPE: &str = "@odata.type";
const INT64: &str = "Edm.Int64";
const BINARY: &str = "Edm.Binary";

/// A row on its way out.
pub(super) struct Entity<'a> {
    pub(super) partition: &'a str,
    pub(super) row: &'a Row,
}

impl Serialize for Entity<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("PartitionKey", self.partition)?;
        map.serialize_entry("RowKey", &self.row.key)?;
        for (name, value) in &self.row.properties {
            match value {
                // A bare number would be stored as a double, and lose digits above 2^53.
                Value::Int(number) => {
                    map.serialize_entry(&Shown(name, TYPE), INT64)?;
                    map.serialize_entry(name, &Shown(number, ""))?;
                }
                Value::Bin(bytes) => {
                    map.serialize_entry(&Shown(name, TYPE), BINARY)?;
                    map.serialize_entry(name, &Shown(Base64Display::new(bytes, &BASE64), ""))?;
                }
                Value::Str(text) => map.serialize_entry(name, text)?,
                Value::Bool(truth) => map.serialize_entry(name, truth)?,
            }
        }
        map.end()
    }
}

/// Two texts in one, written without a string of their own: a transaction has hundreds.
struct Shown<A, B>(A, B);

impl<A: fmt::Display, B: fmt::Display> Serialize for Shown<A, B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}{}", self.0, self.1))
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

    #[test]
    fn a_row_is_written_with_the_types_that_json_cannot_tell() {
        let written = serde_json::to_value(Entity { partition: "p00", row: &row() }).unwrap();
        let wanted = json!({
            "PartitionKey": "p00", "RowKey": "e|x", "Text": "\u{2028} \"ü\"",
            "Number@odata.type": "Edm.Int64", "Number": "9007199254740993",
            "Bytes@odata.type": "Edm.Binary", "Bytes": "AP8=", "Truth": true,
        });
        assert_eq!(written, wanted);
    }

    #[test]
    fn a_row_is_read_back_as_it_was_whatever_else_the_service_adds() {
        let mut json = serde_json::to_value(Entity { partition: "p00", row: &row() }).unwrap();
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

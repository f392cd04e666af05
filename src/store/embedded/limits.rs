//! What Azure Table Storage refuses, refused here too: whatever works on one machine works there.

use crate::store::table::{Batch, MAX_BINARY, MAX_STRING_UTF16, Op, Row, Value};

/// Longest key, in UTF-16 units (1 KiB).
const MAX_KEY_UTF16: usize = 512;
/// Most properties of a row, the service's three not counted.
const MAX_PROPERTIES: usize = 252;
/// Longest name of a property.
const MAX_NAME: usize = 255;
/// Largest row as the service counts it: text in UTF-16.
const MAX_ROW: usize = 1024 * 1024;
/// Names that the service keeps for itself.
const RESERVED: [&str; 3] = ["PartitionKey", "RowKey", "Timestamp"];

/// The service's code for what is wrong with a batch, if anything is.
pub(super) fn refusal(batch: &Batch) -> Option<&'static str> {
    let operation =
        |op: &Op| key(op.key()).or_else(|| op.row().and_then(|row| properties(batch.partition(), row)));
    key(batch.partition()).or_else(|| batch.ops().iter().find_map(operation))
}

fn key(text: &str) -> Option<&'static str> {
    if utf16(text) > MAX_KEY_UTF16 {
        return Some("KeyValueTooLarge");
    }
    let illegal = |c: char| matches!(c, '/' | '\\' | '#' | '?') || c.is_control();
    text.contains(illegal).then_some("OutOfRangeInput")
}

fn properties(partition: &str, row: &Row) -> Option<&'static str> {
    if row.properties.len() > MAX_PROPERTIES {
        return Some("TooManyProperties");
    }
    let mut size = 4 + 2 * (utf16(partition) + utf16(&row.key));
    for (name, value) in &row.properties {
        if name.len() > MAX_NAME {
            return Some("PropertyNameTooLong");
        }
        let well_formed = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
        if !well_formed || RESERVED.contains(&name.as_ref()) {
            return Some("PropertyNameInvalid");
        }
        let length = match value {
            Value::Str(text) if utf16(text) > MAX_STRING_UTF16 => return Some("PropertyValueTooLarge"),
            Value::Bin(bytes) if bytes.len() > MAX_BINARY => return Some("PropertyValueTooLarge"),
            Value::Str(text) => 4 + 2 * utf16(text),
            Value::Bin(bytes) => 4 + bytes.len(),
            Value::Int(_) => 8,
            Value::Bool(_) => 1,
        };
        size += 8 + 2 * name.len() + length;
    }
    (size > MAX_ROW).then_some("EntityTooLarge")
}

fn utf16(text: &str) -> usize {
    // A text has no more units than bytes, so most need no counting.
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(partition: &str, row: Row) -> Option<&'static str> {
        refusal(&Batch::new(partition, vec![Op::Upsert(Row::new("fine")), Op::Insert(row)]).unwrap())
    }

    #[test]
    fn what_the_service_takes_is_taken() {
        let key = "k".repeat(512);
        let row = Row::new(&key)
            .with("Text", Value::Str("\u{1f680}".repeat(MAX_STRING_UTF16 / 2)))
            .with("Bytes", Value::Bin(vec![0; MAX_BINARY].into()))
            .with("x".repeat(MAX_NAME), Value::Int(1));
        assert_eq!(refused(&key, row), None);
        let full =
            (0..MAX_PROPERTIES).fold(Row::new("k"), |row, i| row.with(format!("P{i}"), Value::Bool(true)));
        assert_eq!(refused("p", full), None);
        assert_eq!(refused("p", Row::new("quotes ' and | ~ % & {} .. \u{1f680}")), None);
    }

    #[test]
    fn what_the_service_refuses_is_refused_with_its_code() {
        let one = |name: &str, value| Row::new("k").with(name.to_owned(), value);
        let chunks = |count: usize| {
            (0..count).fold(Row::new("k"), |row, i| {
                row.with(format!("P{i}"), Value::Bin(vec![0; MAX_BINARY].into()))
            })
        };
        for (row, code) in [
            (Row::new("k".repeat(513)), "KeyValueTooLarge"),
            (Row::new("a/b"), "OutOfRangeInput"),
            (Row::new("a\\b"), "OutOfRangeInput"),
            (Row::new("a#b"), "OutOfRangeInput"),
            (Row::new("a?b"), "OutOfRangeInput"),
            (Row::new("a\0b"), "OutOfRangeInput"),
            (Row::new("a\u{85}b"), "OutOfRangeInput"),
            (one("Text", Value::Str("x".repeat(MAX_STRING_UTF16 + 1))), "PropertyValueTooLarge"),
            (one("Bytes", Value::Bin(vec![0; MAX_BINARY + 1].into())), "PropertyValueTooLarge"),
            (one("", Value::Bool(true)), "PropertyNameInvalid"),
            (one("with space", Value::Bool(true)), "PropertyNameInvalid"),
            (one("Timestamp", Value::Bool(true)), "PropertyNameInvalid"),
            (one(&"x".repeat(MAX_NAME + 1), Value::Bool(true)), "PropertyNameTooLong"),
            (chunks(16), "EntityTooLarge"),
            (
                (0..=MAX_PROPERTIES).fold(Row::new("k"), |row, i| row.with(format!("P{i}"), Value::Int(1))),
                "TooManyProperties",
            ),
        ] {
            assert_eq!(refused("p", row.clone()), Some(code), "{:.60?}", row.key);
        }
        assert_eq!(refused("p", chunks(15)), None);
        assert_eq!(refused("a/b", Row::new("k")), Some("OutOfRangeInput"));
        let delete = Batch::new("p", vec![Op::Delete("a/b".into())]).unwrap();
        assert_eq!(refusal(&delete), Some("OutOfRangeInput"));
    }
}

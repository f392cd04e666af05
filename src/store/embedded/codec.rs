//! Rows as bytes. Only this driver reads them back; the first byte is the layout.

use std::borrow::Cow;

use bytes::Bytes;

use crate::store::table::{ETag, Row, StoredRow, TableName, Value};

/// The layout written by this version.
const LAYOUT: u8 = 1;

/// Key of a row: table, partition and row key, none of which holds a zero byte.
pub(super) fn key(table: &TableName, partition: &str, row_key: &str) -> Vec<u8> {
    [table.as_str(), partition, row_key].join("\0").into_bytes()
}

/// Writes a row with its version.
pub(super) fn encode(row: &Row, version: [u8; 16]) -> Vec<u8> {
    let mut out = vec![LAYOUT];
    out.extend(version);
    for (name, value) in &row.properties {
        field(&mut out, name.as_bytes());
        match value {
            Value::Str(text) => tagged(&mut out, b's', text.as_bytes()),
            Value::Int(number) => tagged(&mut out, b'i', &number.to_be_bytes()),
            Value::Bin(bytes) => tagged(&mut out, b'b', bytes),
            Value::Bool(truth) => tagged(&mut out, b't', &[u8::from(*truth)]),
        }
    }
    out
}

fn tagged(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    field(out, bytes);
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    // A batch is bounded far below 4 GiB.
    out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(bytes);
}

/// Reads a row back; `None` when the bytes are no row.
pub(super) fn decode(row_key: &str, bytes: &[u8]) -> Option<StoredRow> {
    let etag = etag(bytes)?;
    let mut rest = bytes.get(17..)?;
    let mut row = Row::new(row_key);
    while !rest.is_empty() {
        let name = std::str::from_utf8(take_field(&mut rest)?).ok()?.to_owned();
        let tag = take(&mut rest, 1)?[0];
        let value = take_field(&mut rest)?;
        let value = match tag {
            b's' => Value::Str(std::str::from_utf8(value).ok()?.to_owned()),
            b'i' => Value::Int(i64::from_be_bytes(value.try_into().ok()?)),
            b'b' => Value::Bin(Bytes::copy_from_slice(value)),
            b't' => Value::Bool(value == [1]),
            _ => return None,
        };
        row.properties.push((Cow::Owned(name), value));
    }
    Some(StoredRow { row, etag })
}

/// The version in an encoded row.
pub(super) fn etag(bytes: &[u8]) -> Option<ETag> {
    let version = bytes.get(..17).filter(|head| head[0] == LAYOUT)?.get(1..)?;
    Some(to_etag(version))
}

/// A version as the port shows it.
pub(super) fn to_etag(version: &[u8]) -> ETag {
    ETag(hex::encode(version).into())
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

fn take_field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = u32::from_be_bytes(take(rest, 4)?.try_into().ok()?);
    take(rest, usize::try_from(len).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            "\\PC{0,40}".prop_map(Value::Str),
            any::<i64>().prop_map(Value::Int),
            any::<Vec<u8>>().prop_map(|bytes| Value::Bin(bytes.into())),
            any::<bool>().prop_map(Value::Bool),
        ]
    }

    proptest! {
        #[test]
        fn a_row_reads_back_as_it_was_written(properties in prop::collection::vec(("[A-Za-z0-9]{1,12}", value()), 0..8)) {
            let mut row = Row::new("k");
            row.properties = properties.into_iter().map(|(name, value)| (Cow::Owned(name), value)).collect();
            let stored = decode("k", &encode(&row, [7; 16])).unwrap();
            prop_assert_eq!(stored.etag, to_etag(&[7; 16]));
            prop_assert_eq!(stored.row, row);
        }

        #[test]
        fn damaged_bytes_are_never_a_panic(bytes in any::<Vec<u8>>()) {
            let _ = decode("k", &bytes);
        }
    }
}

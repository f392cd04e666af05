//! Keys and rows as bytes. Only this driver reads them back; a row's first byte is its layout.

use std::borrow::Cow;

use bytes::Bytes;

use crate::store::table::{ETag, Row, StoredRow, TableName, Value};

/// The layout written by this version.
const LAYOUT: u8 = 1;
/// Bytes of a row's version.
const VERSION_LEN: usize = 16;
/// The layout and the version, in front of the properties.
const HEAD_LEN: usize = 1 + VERSION_LEN;

/// Room for a key of usual ids.
const USUAL_KEY: usize = 160;

/// The version of a row: never given to two writes.
pub(super) type Version = [u8; VERSION_LEN];

/// What the keys of all rows of a table begin with, and of no other row: a name holds no zero.
pub(super) fn table_prefix(table: &TableName) -> Vec<u8> {
    let mut out = Vec::with_capacity(USUAL_KEY);
    out.extend(table.as_str().as_bytes());
    out.push(0);
    out
}

/// What the keys of all rows of a partition begin with. The length in front keeps partitions
/// apart whatever bytes are in their names.
pub(super) fn partition_prefix(table: &TableName, partition: &str) -> Vec<u8> {
    let mut out = table_prefix(table);
    put_len(&mut out, partition.len());
    out.extend(partition.as_bytes());
    out
}

/// Key of a row: within a partition, keys sort as their row keys do.
pub(super) fn key(table: &TableName, partition: &str, row_key: &str) -> Vec<u8> {
    let mut out = partition_prefix(table, partition);
    out.extend(row_key.as_bytes());
    out
}

/// Writes a row, with room for the version that [`set_version`] fills in.
pub(super) fn encode(row: &Row) -> Vec<u8> {
    let content = row.properties.iter().map(|(name, value)| {
        let value = match value {
            Value::Str(text) => text.len(),
            Value::Bin(bytes) => bytes.len(),
            Value::Int(_) | Value::Bool(_) => 8,
        };
        // And the kind of the value, and two lengths.
        name.len() + value + 7
    });
    let mut out = Vec::with_capacity(HEAD_LEN + content.sum::<usize>());
    out.push(LAYOUT);
    out.resize(HEAD_LEN, 0);
    for (name, value) in &row.properties {
        put(&mut out, name.as_bytes());
        match value {
            Value::Str(text) => {
                out.push(b's');
                put(&mut out, text.as_bytes());
            }
            Value::Bin(bytes) => {
                out.push(b'b');
                put(&mut out, bytes);
            }
            Value::Int(number) => {
                out.push(b'i');
                out.extend(number.to_be_bytes());
            }
            Value::Bool(false) => out.push(b'0'),
            Value::Bool(true) => out.push(b'1'),
        }
    }
    out
}

/// Fills in the version of an encoded row.
pub(super) fn set_version(row: &mut [u8], version: &Version) {
    if let Some(place) = row.get_mut(1..HEAD_LEN) {
        place.copy_from_slice(version);
    }
}

/// Reads a row back; `None` when the bytes are no row of this layout.
pub(super) fn decode(row_key: &str, bytes: &[u8]) -> Option<StoredRow> {
    let etag = etag(bytes)?;
    let mut rest = bytes.get(HEAD_LEN..)?;
    let mut row = Row::new(row_key);
    while !rest.is_empty() {
        let name = std::str::from_utf8(take(&mut rest)?).ok()?.to_owned();
        let value = match take_exactly(&mut rest, 1)? {
            b"s" => Value::Str(std::str::from_utf8(take(&mut rest)?).ok()?.to_owned()),
            b"b" => Value::Bin(Bytes::copy_from_slice(take(&mut rest)?)),
            b"i" => Value::Int(i64::from_be_bytes(take_exactly(&mut rest, 8)?.try_into().ok()?)),
            b"0" => Value::Bool(false),
            b"1" => Value::Bool(true),
            _ => return None,
        };
        row.properties.push((Cow::Owned(name), value));
    }
    Some(StoredRow { row, etag })
}

/// The version in an encoded row.
pub(super) fn etag(bytes: &[u8]) -> Option<ETag> {
    let head = bytes.get(..HEAD_LEN)?;
    let (layout, version) = head.split_first()?;
    (*layout == LAYOUT).then(|| to_etag(version))
}

/// A version as the port shows it.
pub(super) fn to_etag(version: &[u8]) -> ETag {
    ETag(hex::encode(version).into())
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend(bytes);
}

/// Seven bits a byte, the least first; the top bit says that more follow.
fn put_len(out: &mut Vec<u8>, mut len: usize) {
    while len >= 0x80 {
        out.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut len = 0_usize;
    // 35 bits are more than any row has.
    for shift in (0..35).step_by(7) {
        let byte = take_exactly(rest, 1)?[0];
        len |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return take_exactly(rest, len);
        }
    }
    None
}

fn take_exactly<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row() -> impl Strategy<Value = Row> {
        let value = prop_oneof![
            "\\PC{0,200}".prop_map(Value::Str),
            any::<i64>().prop_map(Value::Int),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Value::Bin(bytes.into())),
            any::<bool>().prop_map(Value::Bool),
        ];
        let properties = prop::collection::vec(("[A-Za-z0-9]{1,12}".prop_map(Cow::Owned), value), 0..8);
        properties.prop_map(|properties| Row { key: "k".into(), properties })
    }

    fn encoded(row: &Row) -> Vec<u8> {
        let mut bytes = encode(row);
        set_version(&mut bytes, &[7; 16]);
        bytes
    }

    proptest! {
        #[test]
        fn a_row_reads_back_as_it_was_written(row in row()) {
            let stored = decode("k", &encoded(&row)).unwrap();
            prop_assert_eq!(stored.etag, to_etag(&[7; 16]));
            prop_assert_eq!(stored.row, row);
        }

        #[test]
        fn damaged_bytes_are_never_a_panic(bytes in any::<Vec<u8>>()) {
            let _ = decode("k", &[&[LAYOUT; HEAD_LEN], bytes.as_slice()].concat());
            let _ = decode("k", &bytes);
        }

        #[test]
        fn a_row_cut_short_is_never_taken_for_a_whole_one(row in row(), cut in any::<prop::sample::Index>()) {
            let bytes = encoded(&row);
            let read = decode("k", &bytes[..cut.index(bytes.len())]);
            prop_assert!(read.is_none_or(|stored| stored.row.properties.len() < row.properties.len()));
        }

        #[test]
        fn keys_sort_as_row_keys_do_and_never_meet(
            a in ("[ab\0]{0,4}", "[ab\0]{0,4}"), b in ("[ab\0]{0,4}", "[ab\0]{0,4}"),
        ) {
            let table = TableName::new("table").unwrap();
            let (left, right) = (key(&table, &a.0, &a.1), key(&table, &b.0, &b.1));
            prop_assert_eq!(left == right, a == b);
            if a.0 == b.0 {
                prop_assert_eq!(left.cmp(&right), a.1.cmp(&b.1));
            }
        }
    }

    #[test]
    fn another_layout_is_no_row() {
        let mut bytes = encoded(&Row::new("k"));
        assert!(decode("k", &bytes).is_some());
        bytes[0] = LAYOUT + 1;
        assert_eq!(decode("k", &bytes), None);
        assert_eq!(etag(&bytes), None);
    }

    #[test]
    fn rows_written_by_the_first_version_stay_readable() {
        let row = Row::new("k")
            .with("Text", Value::Str("\u{e9}".into()))
            .with("Bytes", Value::Bin(Bytes::from(vec![9; 200])))
            .with("Number", Value::Int(-2))
            .with("Yes", Value::Bool(true));
        let golden = [
            "01",
            "07070707070707070707070707070707",
            "04",
            "54657874",
            "73",
            "02c3a9",
            "05",
            "4279746573",
            "62",
            "c801",
            &"09".repeat(200),
            "06",
            "4e756d626572",
            "69",
            "fffffffffffffffe",
            "03",
            "596573",
            "31",
        ]
        .concat();
        assert_eq!(hex::encode(encoded(&row)), golden);
    }
}

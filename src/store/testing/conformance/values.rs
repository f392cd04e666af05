//! What goes in comes out.

use bytes::Bytes;

use super::{Op, Row, Scratch, Value, assert_same_row, range};
use crate::store::table::{MAX_BINARY, MAX_STRING_UTF16};

/// Each type of value, and those that are known to suffer on a wire, come back as they were.
pub async fn a_row_gives_back_every_type_of_value(t: &Scratch<'_>) {
    let every_byte: Vec<u8> = (0..=255).collect();
    let row = Row::new("r")
        .with("Text", Value::Str("plain".into()))
        .with("EmptyText", Value::Str(String::new()))
        .with("Spaces", Value::Str("  around  ".into()))
        .with("Escapes", Value::Str("\"quotes\" \\ ' / <tag> &amp; %41 \t \r\n --x".into()))
        .with("Separators", Value::Str("a\u{2028}b\u{2029}c".into()))
        .with("Emoji", Value::Str("\u{1f469}\u{200d}\u{1f680} \u{e9} e\u{301}".into()))
        .with("LooksLikeNumber", Value::Str("9223372036854775807".into()))
        .with("LooksLikeTime", Value::Str("2026-01-02T03:04:05Z".into()))
        .with("Zero", Value::Int(0))
        .with("Small", Value::Int(-1))
        .with("Least", Value::Int(i64::MIN))
        .with("Greatest", Value::Int(i64::MAX))
        .with("BeyondDouble", Value::Int((1 << 53) + 1))
        .with("EmptyBytes", Value::Bin(Bytes::new()))
        .with("Bytes", Value::Bin(Bytes::from(every_byte)))
        .with("Yes", Value::Bool(true))
        .with("No", Value::Bool(false));
    // Through a batch of one and of two: they may take different ways to the service.
    t.put("p", vec![Op::Insert(row.clone())]).await;
    let again = Row { key: "s".into(), ..row.clone() };
    t.put("p", vec![Op::Upsert(again.clone()), Op::Insert(Row::new("other"))]).await;

    assert_same_row(&t.must_get("p", "r").await.row, &row);
    let scanned = t.scan("p", range("r", "t"), 10).await;
    assert_eq!(scanned.len(), 2);
    assert_same_row(&scanned[0].row, &row);
    assert_same_row(&scanned[1].row, &again);
}

/// Values at their limits of length come back whole.
pub async fn a_row_gives_back_the_longest_values(t: &Scratch<'_>) {
    let bytes: Vec<u8> = (0..MAX_BINARY).map(|i| (i * 31 % 251) as u8).collect();
    let row = Row::new("r")
        .with("Narrow", Value::Str("x".repeat(MAX_STRING_UTF16)))
        .with("Wide", Value::Str("\u{1f680}".repeat(MAX_STRING_UTF16 / 2)))
        .with("Bytes", Value::Bin(Bytes::from(bytes)));
    t.put("p", vec![Op::Insert(row.clone())]).await;
    assert_same_row(&t.must_get("p", "r").await.row, &row);
}

/// A row needs no properties.
pub async fn an_empty_row_is_a_row(t: &Scratch<'_>) {
    t.put("p", vec![Op::Insert(Row::new("r"))]).await;
    assert_same_row(&t.must_get("p", "r").await.row, &Row::new("r"));
}

/// Keys come back as they were, in both places, by `get` and by `scan`.
pub async fn every_character_of_our_keys_is_kept(t: &Scratch<'_>) {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~|-";
    let long = "k".repeat(511);
    for key in [ALPHABET, "a|..|b", "-", "~", &long] {
        t.put(key, vec![Op::Insert(Row::new(key))]).await;
        assert_eq!(t.must_get(key, key).await.row.key, key);
        let scanned = t.scan(key, range(key, &format!("{key}~")), 10).await;
        assert_eq!(super::keys(&scanned), [key]);
    }
}

/// A key that is written like a part of a query reads no row of another name. (A driver may
/// refuse such a key; our keys have no quotes. This is the second lock on that door.)
pub async fn a_quote_in_a_key_reads_no_other_row(t: &Scratch<'_>) {
    t.put("victim", vec![Op::Insert(Row::new("secret"))]).await;
    for (partition, key) in [
        ("victim',RowKey='secret", ""),
        ("victim',RowKey='secret", "x"),
        ("victim", "x' or RowKey eq 'secret"),
        ("victim',RowKey='secret')?x=('", "secret"),
    ] {
        let read = t.driver.get(&t.name, partition, key).await;
        assert!(!matches!(read, Ok(Some(_))), "{partition} / {key} read {read:?}");
    }
    for partition in ["x' or PartitionKey eq 'victim", "victim' or 'a' eq 'a"] {
        let read = t.driver.scan(&t.name, partition, &super::everything(), 10).await;
        assert!(read.is_err() || read.as_ref().is_ok_and(|page| page.rows.is_empty()), "read {read:?}");
    }
    let read = t.driver.scan(&t.name, "p", &range("a' or RowKey ge 's", "b"), 10).await;
    assert!(read.is_err() || read.as_ref().is_ok_and(|page| page.rows.is_empty()), "read {read:?}");
}

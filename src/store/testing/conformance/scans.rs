//! Ranges, their order and their pages.

use super::{Op, Page, Row, Scratch, keys, numbered, range};

/// `from` is in, `to` is out, and neither has to exist.
pub async fn a_range_includes_its_first_key_and_not_its_last(t: &Scratch<'_>) {
    t.fill("p", ["a", "b", "b0", "c", "d"].map(Row::new)).await;
    for (from, to, wanted) in [
        ("b", "d", &["b", "b0", "c"][..]),
        ("b", "c", &["b", "b0"]),
        ("b", "b0", &["b"]),
        ("a0", "bz", &["b", "b0"]),
        ("", "b", &["a"]),
        ("", "~", &["a", "b", "b0", "c", "d"]),
        ("d", "~", &["d"]),
    ] {
        let rows = t.scan("p", range(from, to), 100).await;
        assert_eq!(keys(&rows), wanted, "from {from} to {to}");
    }
}

/// Nothing there, nothing between, or turned round: an empty page with nowhere to go on.
pub async fn a_range_that_holds_nothing_is_an_empty_last_page(t: &Scratch<'_>) {
    t.fill("p", ["a", "d"].map(Row::new)).await;
    for (partition, from, to) in
        [("p", "b", "c"), ("p", "e", "f"), ("p", "a", "a"), ("p", "d", "a"), ("nobody", "a", "z")]
    {
        assert_eq!(t.scan(partition, range(from, to), 10).await, [], "{partition} from {from} to {to}");
    }
}

/// One page and no more than it was asked for, with the way to the rest.
pub async fn a_page_never_holds_more_than_its_limit(t: &Scratch<'_>) {
    t.fill("p", (0..10).map(|i| numbered(format!("k{i}"), i))).await;
    let mut from = "k2".to_owned();
    let mut read = Vec::new();
    // Three rows at a time; a driver may give fewer, never more.
    for _ in 0..100 {
        let Page { rows, next } = t.page("p", &range(&from, "k9"), 3).await;
        assert!(rows.len() <= 3, "{rows:?}");
        read.extend(rows.into_iter().map(|stored| stored.row.key));
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(read, ["k2", "k3", "k4", "k5", "k6", "k7", "k8"]);
}

/// Whatever the limit, the pages of a range hold each row once, ascending.
pub async fn pages_cover_a_range_once_and_in_order(t: &Scratch<'_>) {
    let wanted: Vec<String> = (0..60).map(|i| format!("k|{i:02}")).collect();
    t.fill("p", wanted.iter().rev().map(|key| Row::new(key.as_str()))).await;
    t.fill("q", ["k|00", "k|99"].map(Row::new)).await;
    for limit in [1, 2, 7, 20, 59, 60, 61, 1_000] {
        let rows = t.scan("p", range("k|", "k|~"), limit).await;
        assert_eq!(keys(&rows), wanted, "by pages of {limit}");
    }
    let rows = t.scan("p", range("k|10", "k|31"), 7).await;
    assert_eq!(keys(&rows), wanted[10..31]);
}

/// A range larger than the largest page is read whole.
pub async fn a_thousand_rows_are_one_limit(t: &Scratch<'_>) {
    t.fill("p", (0..1_200).map(|i| numbered(format!("{i:05}"), i))).await;
    let rows = t.all("p").await;
    let numbers: Vec<_> = rows.iter().filter_map(|stored| stored.row.int("Number")).collect();
    assert_eq!(numbers, (0..1_200).collect::<Vec<_>>());
}

/// The order of keys is that of their bytes: upper case before lower, a prefix before the longer.
pub async fn keys_sort_by_their_bytes(t: &Scratch<'_>) {
    let alphabet = "~|zyxwvutsrqponmlkjihgfedcba_ZYXWVUTSRQPONMLKJIHGFEDCBA9876543210.-";
    let mut wanted: Vec<String> =
        alphabet.chars().flat_map(|c| [format!("{c}"), format!("a{c}"), format!("A{c}0")]).collect();
    t.fill("p", wanted.iter().map(|key| Row::new(key.as_str()))).await;
    wanted.sort_unstable();
    assert_eq!(keys(&t.scan("p", range("", "~~"), 50).await), wanted);
}

/// A row's version is the same by `scan` as by `get`, so a range read serves a replace.
pub async fn a_scan_reads_the_versions_that_a_replace_takes(t: &Scratch<'_>) {
    t.fill("p", ["a", "b"].map(|key| numbered(key, 1))).await;
    for stored in t.all("p").await {
        assert_eq!(t.must_get("p", &stored.row.key).await, stored);
        t.put("p", vec![Op::Replace(numbered(stored.row.key, 2), stored.etag)]).await;
    }
}

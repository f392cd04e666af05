//! A batch happens whole or not at all.

use super::{CommitError, ETag, Op, Scratch, StoredRow, numbered};

/// The answer is about operation 0, and `None` when that removed its row.
pub async fn a_batch_answers_with_the_version_of_its_first_row(t: &Scratch<'_>) {
    let ops = ["b", "a", "c"].map(|key| Op::Insert(numbered(key, 1)));
    let etag = t.put("p", ops.to_vec()).await;
    assert_eq!(etag, Some(t.must_get("p", "b").await.etag));

    let first = t.must_get("p", "b").await.etag;
    let ops = vec![Op::Replace(numbered("b", 2), first), Op::Upsert(numbered("a", 2))];
    let etag = t.put("p", ops).await;
    assert_eq!(etag, Some(t.must_get("p", "b").await.etag));

    let ops = vec![Op::Delete("b".into()), Op::Upsert(numbered("a", 3))];
    assert_eq!(t.put("p", ops).await, None);
}

/// The largest number of operations is one batch.
pub async fn a_batch_of_a_hundred_operations_is_taken(t: &Scratch<'_>) {
    let ops = |number| (0..100).map(move |i| numbered(format!("k{i:03}"), number));
    t.put("p", ops(1).map(Op::Insert).collect()).await;
    assert_eq!(t.count("p").await, 100);
    t.put("p", ops(2).map(Op::Upsert).collect()).await;
    assert!(t.all("p").await.iter().all(|stored| stored.row.int("Number") == Some(2)));
    t.put("p", ops(0).map(|row| Op::Delete(row.key)).collect()).await;
    assert_eq!(t.count("p").await, 0);
}

/// Operations of every kind share a batch.
pub async fn a_batch_of_every_operation_happens_together(t: &Scratch<'_>) {
    t.fill("p", ["replace", "overwrite", "upsert", "delete", "stay"].map(|key| numbered(key, 1))).await;
    let etag = t.must_get("p", "replace").await.etag;
    t.put(
        "p",
        vec![
            Op::Replace(numbered("replace", 2), etag),
            Op::Insert(numbered("insert", 2)),
            Op::Overwrite(numbered("overwrite", 2)),
            Op::Upsert(numbered("upsert", 2)),
            Op::Upsert(numbered("upsert-new", 2)),
            Op::Delete("delete".into()),
        ],
    )
    .await;
    let rows = t.all("p").await;
    let numbers: Vec<_> = rows.iter().map(|r| (r.row.key.as_str(), r.row.int("Number"))).collect();
    assert_eq!(
        numbers,
        [
            ("insert", Some(2)),
            ("overwrite", Some(2)),
            ("replace", Some(2)),
            ("stay", Some(1)),
            ("upsert", Some(2)),
            ("upsert-new", Some(2)),
        ]
    );
}

/// An [`Op::Insert`] of a row that is there, at each place of a batch.
pub async fn an_insert_that_meets_a_row_undoes_the_batch_wherever_it_stands(t: &Scratch<'_>) {
    fails_at_each_place(
        t,
        |row| Op::Insert(numbered(row.row.key, 9)),
        |error, place| matches!(error, CommitError::Exists { index } if fits(*index, place)),
    )
    .await;
}

/// An [`Op::Replace`] under a version that has passed, at each place of a batch.
pub async fn a_replace_that_is_late_undoes_the_batch_wherever_it_stands(t: &Scratch<'_>) {
    let passed = t.put("p", vec![Op::Insert(numbered("there", 0))]).await.expect("a version");
    fails_at_each_place(
        t,
        |row| Op::Replace(numbered(row.row.key, 9), passed.clone()),
        |error, place| matches!(error, CommitError::Changed { index } if fits(*index, place)),
    )
    .await;
}

/// An [`Op::Overwrite`] of a row that is not there, at each place of a batch.
pub async fn an_overwrite_that_finds_nothing_undoes_the_batch_wherever_it_stands(t: &Scratch<'_>) {
    fails_at_each_place(
        t,
        |_| Op::Overwrite(numbered("not-there", 9)),
        // Which row it was is all that the committer has to go on by.
        |error, place| *error == CommitError::Missing { index: Some(place) },
    )
    .await;
}

/// An [`Op::Delete`] of a row that is not there, at each place of a batch.
pub async fn a_delete_that_finds_nothing_undoes_the_batch_wherever_it_stands(t: &Scratch<'_>) {
    fails_at_each_place(
        t,
        |_| Op::Delete("not-there".into()),
        |error, place| *error == CommitError::Missing { index: Some(place) },
    )
    .await;
}

fn fits(index: Option<usize>, place: usize) -> bool {
    index.is_none_or(|index| index == place)
}

/// Puts the operation that fails at each place among good ones of every kind, and looks whether
/// anything is left of them.
async fn fails_at_each_place(
    t: &Scratch<'_>,
    failing: impl Fn(StoredRow) -> Op,
    expected: impl Fn(&CommitError, usize) -> bool,
) {
    let rows = ["there", "replace", "overwrite", "upsert", "delete"].map(|key| Op::Upsert(numbered(key, 1)));
    t.put("p", rows.to_vec()).await;
    let before = t.all("p").await;
    for place in 0..=good(&before[0].etag).len() {
        let mut ops = good(&t.must_get("p", "replace").await.etag);
        ops.insert(place, failing(t.must_get("p", "there").await));
        let error = t.commit("p", ops).await.expect_err("one operation fails, so the batch does");
        assert!(expected(&error, place), "at {place}: {error:?}");
        assert_eq!(t.all("p").await, before, "a batch that failed at {place} left something behind");
    }
}

fn good(etag: &ETag) -> Vec<Op> {
    vec![
        Op::Replace(numbered("replace", 2), etag.clone()),
        Op::Insert(numbered("insert", 2)),
        Op::Overwrite(numbered("overwrite", 2)),
        Op::Upsert(numbered("upsert", 2)),
        Op::Delete("delete".into()),
    ]
}

/// What was not committed left no trace, so without its bad operation it succeeds.
pub async fn a_batch_that_failed_can_be_sent_again(t: &Scratch<'_>) {
    t.fill("p", ["replace", "overwrite", "delete"].map(|key| numbered(key, 1))).await;
    let mut ops = good(&t.must_get("p", "replace").await.etag);
    ops.push(Op::Delete("not-there".into()));
    t.commit("p", ops.clone()).await.expect_err("the last operation fails");
    ops.pop();
    t.put("p", ops).await;
    assert_eq!(super::keys(&t.all("p").await), ["insert", "overwrite", "replace", "upsert"]);
}

//! The condition of each operation, alone.

use super::{CommitError, Op, Row, Scratch, Value, assert_same_row, numbered};

/// An insert leaves a row that exists as it is.
pub async fn an_insert_meets_a_row(t: &Scratch<'_>) {
    t.put("p", vec![Op::Insert(numbered("r", 1))]).await;
    let before = t.must_get("p", "r").await;
    let answer = t.commit("p", vec![Op::Insert(numbered("r", 2))]).await;
    assert!(matches!(answer, Err(CommitError::Exists { index: None | Some(0) })), "got {answer:?}");
    assert_eq!(t.must_get("p", "r").await, before);
}

/// The version of a commit's answer is the one that is read, and either serves the next replace.
pub async fn a_replace_takes_the_version_that_was_read(t: &Scratch<'_>) {
    let answered = t.put("p", vec![Op::Insert(numbered("r", 1))]).await;
    let read = t.must_get("p", "r").await;
    assert_eq!(answered.as_ref(), Some(&read.etag));

    let answered = t.put("p", vec![Op::Replace(numbered("r", 2), read.etag)]).await;
    let read = t.must_get("p", "r").await;
    assert_eq!(answered.as_ref(), Some(&read.etag));
    assert_eq!(read.row.int("Number"), Some(2));

    let etag = answered.expect("a replace answers with a version");
    t.put("p", vec![Op::Replace(numbered("r", 3), etag)]).await;
    assert_eq!(t.must_get("p", "r").await.row.int("Number"), Some(3));
}

/// A replace under any version but the present one changes nothing.
pub async fn a_replace_refuses_a_version_that_has_passed(t: &Scratch<'_>) {
    t.put("p", vec![Op::Insert(numbered("r", 1)), Op::Insert(numbered("other", 1))]).await;
    let first = t.must_get("p", "r").await.etag;
    let second = t.put("p", vec![Op::Replace(numbered("r", 2), first.clone())]).await.expect("a version");
    t.put("p", vec![Op::Upsert(numbered("r", 3))]).await;
    let before = t.must_get("p", "r").await;
    for passed in [first, second] {
        let answer = t.commit("p", vec![Op::Replace(numbered("r", 9), passed)]).await;
        assert!(matches!(answer, Err(CommitError::Changed { index: None | Some(0) })), "got {answer:?}");
        assert_eq!(t.must_get("p", "r").await, before);
    }
}

/// A replace makes no row, neither where none was nor where one was deleted.
pub async fn a_replace_of_a_missing_row_meets_a_change(t: &Scratch<'_>) {
    t.put("p", vec![Op::Insert(numbered("r", 1))]).await;
    let etag = t.must_get("p", "r").await.etag;
    t.put("p", vec![Op::Delete("r".into())]).await;
    for key in ["r", "never"] {
        let answer = t.commit("p", vec![Op::Replace(numbered(key, 2), etag.clone())]).await;
        assert!(matches!(answer, Err(CommitError::Changed { index: None | Some(0) })), "got {answer:?}");
        assert_eq!(t.get("p", key).await, None);
    }
}

/// Replace, overwrite and upsert do not merge.
pub async fn a_replaced_row_keeps_nothing_of_the_old_one(t: &Scratch<'_>) {
    let old = || numbered("r", 1).with("Old", Value::Bool(true)).with("Kind", Value::Int(7));
    let new = || Row::new("r").with("Kind", Value::Str("text now".into()));

    t.put("p", vec![Op::Insert(old())]).await;
    let etag = t.must_get("p", "r").await.etag;
    t.put("p", vec![Op::Replace(new(), etag)]).await;
    assert_same_row(&t.must_get("p", "r").await.row, &new());

    for write in [Op::Overwrite, Op::Upsert] {
        t.put("p", vec![write(old())]).await;
        t.put("p", vec![write(new())]).await;
        assert_same_row(&t.must_get("p", "r").await.row, &new());
    }
}

/// An upsert has no condition.
pub async fn an_upsert_writes_whether_or_not_the_row_exists(t: &Scratch<'_>) {
    for number in [1, 2] {
        let etag = t.put("p", vec![Op::Upsert(numbered("r", number))]).await;
        let read = t.must_get("p", "r").await;
        assert_eq!(read.row.int("Number"), Some(number));
        assert_eq!(etag, Some(read.etag));
    }
}

/// An overwrite asks for no version, and answers with the new one.
pub async fn an_overwrite_writes_a_row_in_whichever_version(t: &Scratch<'_>) {
    t.put("p", vec![Op::Insert(numbered("r", 1))]).await;
    for number in [2, 3] {
        let etag = t.put("p", vec![Op::Overwrite(numbered("r", number))]).await;
        let read = t.must_get("p", "r").await;
        assert_eq!(read.row.int("Number"), Some(number));
        assert_eq!(etag, Some(read.etag));
    }
}

/// An overwrite makes no row, neither where none was nor where one was deleted.
pub async fn an_overwrite_of_a_missing_row_says_so(t: &Scratch<'_>) {
    t.put("p", vec![Op::Insert(numbered("r", 1))]).await;
    t.put("p", vec![Op::Delete("r".into())]).await;
    for key in ["r", "never"] {
        let answer = t.commit("p", vec![Op::Overwrite(numbered(key, 2))]).await;
        assert!(matches!(answer, Err(CommitError::Missing { index: None | Some(0) })), "got {answer:?}");
        assert_eq!(t.get("p", key).await, None);
    }
}

/// A delete asks for no version, and the row is gone from reads of either kind.
pub async fn a_delete_removes_a_row_in_whichever_version(t: &Scratch<'_>) {
    t.put("p", vec![Op::Insert(numbered("r", 1))]).await;
    t.put("p", vec![Op::Upsert(numbered("r", 2))]).await;
    assert_eq!(t.put("p", vec![Op::Delete("r".into())]).await, None);
    assert_eq!(t.get("p", "r").await, None);
    assert_eq!(t.count("p").await, 0);
}

/// A delete wants its row.
pub async fn a_delete_of_a_missing_row_says_so(t: &Scratch<'_>) {
    let answer = t.commit("p", vec![Op::Delete("r".into())]).await;
    assert!(matches!(answer, Err(CommitError::Missing { index: None | Some(0) })), "got {answer:?}");
}

/// Every write is a version of its own: nothing may compare equal because it looks equal.
pub async fn the_same_content_written_again_is_another_version(t: &Scratch<'_>) {
    let mut seen = Vec::new();
    for _ in 0..20 {
        let etag = t.put("p", vec![Op::Upsert(numbered("r", 1))]).await.expect("a version");
        assert!(!seen.contains(&etag), "{etag:?} was the version of an earlier write");
        seen.push(etag);
    }
}

/// A version of a deleted row never fits its successor of the same name.
pub async fn a_row_that_was_deleted_comes_back_in_another_version(t: &Scratch<'_>) {
    let first = t.put("p", vec![Op::Insert(numbered("r", 1))]).await.expect("a version");
    t.put("p", vec![Op::Delete("r".into())]).await;
    let second = t.put("p", vec![Op::Insert(numbered("r", 1))]).await.expect("a version");
    assert_ne!(first, second);
    let answer = t.commit("p", vec![Op::Replace(numbered("r", 2), first)]).await;
    assert!(matches!(answer, Err(CommitError::Changed { .. })), "got {answer:?}");
}

//! Partitions and tables, and those that are not there.

use super::{Batch, CommitError, Op, ReadError, Row, Scratch, everything, keys, numbered, unused_name};

/// A row is its partition's alone, also between partitions whose names begin alike.
pub async fn partitions_are_apart(t: &Scratch<'_>) {
    let partitions = ["p", "p0", "p00", "P", "o", "q", "p-", "p|r"];
    for (number, partition) in (0..).zip(partitions) {
        t.put(partition, vec![Op::Insert(numbered("r", number)), Op::Insert(numbered("0r", number))]).await;
    }
    t.put("p", vec![Op::Delete("r".into())]).await;
    assert_eq!(t.get("p", "r").await, None);
    assert_eq!(keys(&t.all("p").await), ["0r"]);
    for (number, partition) in (0..).zip(partitions).skip(1) {
        let rows = t.all(partition).await;
        assert_eq!(keys(&rows), ["0r", "r"], "of {partition}");
        assert!(rows.iter().all(|stored| stored.row.int("Number") == Some(number)), "of {partition}");
    }
}

/// A row is its table's alone.
pub async fn tables_are_apart(t: &Scratch<'_>) {
    let other = Scratch::create(t.driver).await;
    t.put("p", vec![Op::Insert(numbered("r", 1))]).await;
    assert_eq!(other.get("p", "r").await, None);
    assert_eq!(other.count("p").await, 0);
    other.put("p", vec![Op::Insert(numbered("r", 2))]).await;
    assert_eq!(t.must_get("p", "r").await.row.int("Number"), Some(1));

    t.driver.delete_table(&other.name).await.expect("a table can be removed");
    assert_eq!(t.must_get("p", "r").await.row.int("Number"), Some(1));
}

/// Nothing makes a table on the way: a missing one is an answer of its own.
pub async fn a_table_that_is_not_there_says_so(t: &Scratch<'_>) {
    let name = unused_name();
    let read = t.driver.get(&name, "p", "r").await;
    assert_eq!(read, Err(ReadError::NoTable));
    let read = t.driver.scan(&name, "p", &everything(), 10).await;
    assert_eq!(read, Err(ReadError::NoTable));
    let one = vec![Op::Insert(Row::new("r"))];
    let two = vec![Op::Upsert(Row::new("r")), Op::Delete("s".into())];
    for ops in [one, two] {
        let batch = Batch::new("p", ops).expect("a batch");
        assert_eq!(t.driver.commit(&name, &batch).await, Err(CommitError::NoTable));
    }
    let read = t.driver.get(&name, "p", "r").await;
    assert_eq!(read, Err(ReadError::NoTable));
    t.driver.delete_table(&name).await.expect("a table that is not there can be removed");
}

/// Making a table that exists is a success and keeps its rows.
pub async fn a_table_can_be_made_twice(t: &Scratch<'_>) {
    t.put("p", vec![Op::Insert(Row::new("r"))]).await;
    t.driver.create_table(&t.name).await.expect("a table can be made twice");
    assert_eq!(t.count("p").await, 1);
}

/// Removing a table removes it for reads and writes alike. (It is not made again here: the
/// service refuses a name for some time after its removal.)
pub async fn a_table_that_was_removed_is_gone(t: &Scratch<'_>) {
    let other = Scratch::create(t.driver).await;
    other.put("p", vec![Op::Insert(Row::new("r"))]).await;
    t.driver.delete_table(&other.name).await.expect("a table can be removed");
    assert_eq!(t.driver.get(&other.name, "p", "r").await, Err(ReadError::NoTable));
    let scanned = t.driver.scan(&other.name, "p", &everything(), 10).await;
    assert_eq!(scanned, Err(ReadError::NoTable));
    let answer = other.commit("p", vec![Op::Insert(Row::new("s"))]).await;
    assert_eq!(answer, Err(CommitError::NoTable));
}

//! Many callers at once.

use std::collections::BTreeSet;

use futures::future::join_all;

use super::{CommitError, Op, Scratch, Value, numbered};

const TASKS: usize = 8;
const INCREMENTS: usize = 20;

/// Of inserts of one row that meet, one happens and the others learn that it did.
pub async fn of_many_inserts_of_one_row_one_wins(t: &Scratch<'_>) {
    for round in 0..10 {
        let key = format!("r{round}");
        let attempt = |number| t.commit("p", vec![Op::Insert(numbered(key.as_str(), number))]);
        let answers = join_all((0..8).map(attempt)).await;
        let mut winners = Vec::new();
        for (number, answer) in (0..).zip(answers) {
            match answer {
                Ok(etag) => winners.push((number, etag)),
                Err(CommitError::Exists { .. }) => {}
                Err(other) => panic!("an insert that loses meets a row, got {other:?}"),
            }
        }
        let [(number, etag)] = &winners[..] else { panic!("one insert wins, got {winners:?}") };
        let read = t.must_get("p", &key).await;
        assert_eq!(read.row.int("Number"), Some(*number));
        assert_eq!(Some(read.etag), *etag);
    }
}

/// Increments under a version, each with a row of its own in the same batch, end at exactly their
/// number: none lost, none twice, no row without its increment.
pub async fn a_counter_under_its_version_loses_nothing(t: &Scratch<'_>) {
    let total = i64::try_from(TASKS * INCREMENTS).expect("a small number");
    t.put("p", vec![Op::Insert(numbered("counter", 0))]).await;
    join_all((0..TASKS).map(|task| increments(t, task))).await;

    assert_eq!(t.must_get("p", "counter").await.row.int("Number"), Some(total));
    let rows = t.scan("p", super::range("n|", "n|~"), 1_000).await;
    let numbers: Vec<_> = rows.iter().filter_map(|stored| stored.row.int("Number")).collect();
    assert_eq!(numbers, (1..=total).collect::<Vec<_>>());
    let owners: BTreeSet<_> = rows.iter().filter_map(|stored| stored.row.str("Owner")).collect();
    assert_eq!(owners.len(), TASKS * INCREMENTS, "every increment wrote exactly one row");
}

async fn increments(t: &Scratch<'_>, task: usize) {
    for increment in 0..INCREMENTS {
        loop {
            let counter = t.must_get("p", "counter").await;
            let next = counter.row.int("Number").expect("the counter is a number") + 1;
            let row = numbered(format!("n|{next:05}"), next)
                .with("Owner", Value::Str(format!("{task}-{increment}")));
            let ops = vec![Op::Replace(numbered("counter", next), counter.etag), Op::Insert(row)];
            match t.commit("p", ops).await {
                Ok(_) => break,
                // Both conditions fail for the loser; which one is named is the driver's choice.
                Err(CommitError::Changed { .. } | CommitError::Exists { .. }) => {}
                Err(other) => panic!("an increment is committed or comes too late, got {other:?}"),
            }
        }
    }
}

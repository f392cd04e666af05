use super::*;
use crate::store::{
    embedded::tests::{Disk, batch, table},
    table::{Op, Row},
};

/// Everything that waits when the writer comes, and what it answers.
fn at_once(database: Database, tasks: Vec<Task>) -> Vec<Outcome> {
    let (sender, arrivals) = mpsc::channel(WAITING);
    let room = Arc::new(Semaphore::new(tasks.len()));
    let outcomes: Vec<_> = tasks
        .into_iter()
        .map(|task| {
            let (reply, outcome) = oneshot::channel();
            let _room = Arc::clone(&room).try_acquire_owned().unwrap();
            sender.try_send(Work { task, reply, _room }).unwrap_or_else(|_| panic!("there is room"));
            outcome
        })
        .collect();
    drop(sender);
    let health = Arc::default();
    Worker { database: Arc::new(database), health, epoch: [1; 8], count: 0 }.run(arrivals);
    assert_eq!(room.available_permits(), outcomes.len(), "what is done makes room");
    outcomes.into_iter().map(|outcome| outcome.blocking_recv().unwrap()).collect()
}

fn commit(ops: Vec<Op>) -> Task {
    Task::Commit(Prepared::new(&table(), &batch("p", ops)).unwrap())
}

fn insert(key: String) -> Task {
    commit(vec![Op::Insert(Row::new(key))])
}

#[test]
fn batches_that_wait_share_a_transaction() {
    let syncs = |batches: usize| {
        let disk = Disk::default();
        let database = disk.database();
        let before = disk.syncs();
        let tasks = (0..batches).map(|i| insert(format!("k{i}")));
        let outcomes = at_once(database, [Task::Create(table())].into_iter().chain(tasks).collect());
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        disk.syncs() - before
    };
    assert_eq!(syncs(200), syncs(1));
}

#[test]
fn batches_of_one_transaction_see_those_before_them_and_none_that_failed() {
    let outcomes = at_once(
        Disk::default().database(),
        vec![
            insert("early".into()),
            Task::Create(table()),
            insert("a".into()),
            insert("a".into()),
            commit(vec![Op::Insert(Row::new("b")), Op::Delete("none".into())]),
            insert("b".into()),
            commit(vec![Op::Delete("a".into())]),
            insert("a".into()),
            Task::Drop(table()),
            insert("late".into()),
        ],
    );
    use CommitError::{Exists, Missing, NoTable};
    let errors: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().err()).collect();
    assert_eq!(
        errors,
        [
            Some(&NoTable),
            None,
            None,
            Some(&Exists { index: Some(0) }),
            Some(&Missing { index: Some(1) }),
            None,
            None,
            None,
            None,
            Some(&NoTable),
        ]
    );
}

#[test]
fn nothing_is_known_after_a_failed_transaction_refusals_included() {
    let disk = Disk::default();
    let database = disk.database();
    at_once_created(&database);
    disk.fill(true);
    // The second is refused only because of the first, which does not come to be.
    let outcomes = at_once(database, vec![insert("a".into()), insert("a".into())]);
    for outcome in outcomes {
        assert!(matches!(outcome, Err(CommitError::Unknown { .. })), "{outcome:?}");
    }
}

fn at_once_created(database: &Database) {
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TABLES).unwrap().insert(table().as_str(), ()).unwrap();
    transaction.commit().unwrap();
}

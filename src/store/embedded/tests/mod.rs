//! What the driver promises beyond the port: what a disk and a folder do to it.

mod disk;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::future::join_all;

pub(super) use self::disk::Disk;
use super::{Embedded, LazyEmbedded, OpenError, PAGE_BYTES};
use crate::store::table::{Batch, CommitError, Op, Page, Range, ReadError, Row, Table, TableName, Value};

pub(super) fn table() -> TableName {
    TableName::new("table").unwrap()
}

pub(super) fn batch(partition: &str, ops: Vec<Op>) -> Batch {
    Batch::new(partition, ops).unwrap()
}

fn insert(key: impl Into<String>) -> Batch {
    batch("p", vec![Op::Insert(Row::new(key))])
}

async fn all(store: &dyn Table, partition: &str) -> Page {
    let everything = Range { from: String::new(), to: "~".into() };
    store.scan(&table(), partition, &everything, 1_000).await.unwrap()
}

#[tokio::test]
async fn a_folder_is_made_for_its_owner_and_kept() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("new").join("data");
    let store = Embedded::open(&folder).unwrap();
    store.create_table(&table()).await.unwrap();
    let etag = store.commit(&table(), &insert("r")).await.unwrap();
    drop(store);

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(folder.clone()), 0o700);
        assert_eq!(mode(folder.join("annals.redb")), 0o600);
    }
    // At once: the folder is free when the driver is gone.
    let store = Embedded::open(&folder).unwrap();
    let read = store.get(&table(), "p", "r").await.unwrap();
    assert_eq!(read.map(|stored| stored.etag), etag);
    // A version never comes again, also not after the next start.
    let next = store.commit(&table(), &batch("p", vec![Op::Upsert(Row::new("r"))])).await.unwrap();
    assert_ne!(next, etag);
}

#[tokio::test]
async fn a_folder_in_use_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let first = Embedded::open(folder.path()).unwrap();
    let error = Embedded::open(folder.path()).unwrap_err();
    assert!(matches!(&error, OpenError::InUse(path) if path == folder.path()), "{error:?}");
    first.create_table(&table()).await.unwrap();

    // Whoever opens later gets it when it is free.
    let lazy = LazyEmbedded::new(folder.path().to_owned());
    let read = lazy.get(&table(), "p", "r").await;
    assert!(matches!(read, Err(ReadError::Unavailable { .. })), "{read:?}");
    let answer = lazy.commit(&table(), &insert("r")).await;
    assert!(matches!(answer, Err(CommitError::Unknown { .. })), "{answer:?}");
    drop(first);
    assert_eq!(lazy.get(&table(), "p", "r").await, Ok(None));
}

#[test]
fn what_is_no_data_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("annals.redb");
    fs::write(&path, "not a database, but somebody's only copy of something".repeat(100)).unwrap();
    let before = fs::read(&path).unwrap();
    let error = Embedded::open(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::File(..)), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), before);

    let error = Embedded::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Folder(..)), "{error:?}");
}

#[tokio::test]
async fn a_page_ends_before_it_is_too_much() {
    let store = Disk::default().open();
    store.create_table(&table()).await.unwrap();
    let large = |key: String| {
        (0..8).fold(Row::new(key), |row, i| row.with(format!("P{i}"), Value::Bin(vec![7; 65_536].into())))
    };
    for i in 0..40 {
        store.commit(&table(), &batch("p", vec![Op::Insert(large(format!("k{i:02}")))])).await.unwrap();
    }
    let (mut from, mut keys) = (String::new(), Vec::new());
    loop {
        let range = Range { from, to: "~".into() };
        let page = store.scan(&table(), "p", &range, 1_000).await.unwrap();
        assert!(page.rows.len() * 8 * 65_536 < PAGE_BYTES + 2 * 8 * 65_536, "{} rows", page.rows.len());
        keys.extend(page.rows.into_iter().map(|stored| stored.row.key));
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(keys, (0..40).map(|i| format!("k{i:02}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_the_service_would_refuse_is_refused_and_leaves_nothing() {
    let store = Disk::default().open();
    store.create_table(&table()).await.unwrap();
    let ops = vec![Op::Insert(Row::new("fine")), Op::Insert(Row::new("not/fine"))];
    let answer = store.commit(&table(), &batch("p", ops)).await;
    assert_eq!(answer, Err(CommitError::Refused { code: "OutOfRangeInput".into() }));
    assert_eq!(all(&store, "p").await, Page::default());
}

#[tokio::test]
async fn a_store_comes_back_by_itself_when_its_disk_does() {
    let disk = Disk::default();
    let opened = Arc::new(AtomicUsize::new(0));
    let store = LazyEmbedded::opened_by({
        let (disk, opened) = (disk.clone(), Arc::clone(&opened));
        move || {
            opened.fetch_add(1, Ordering::Relaxed);
            Ok(disk.open())
        }
    });
    store.create_table(&table()).await.unwrap();
    store.commit(&table(), &insert("before")).await.unwrap();
    assert_eq!(opened.load(Ordering::Relaxed), 1);

    disk.fill(true);
    let answer = store.commit(&table(), &insert("lost")).await;
    assert!(matches!(answer, Err(CommitError::Unknown { .. })), "{answer:?}");
    disk.fill(false);
    store.commit(&table(), &insert("after")).await.unwrap();
    assert_eq!(opened.load(Ordering::Relaxed), 2);
    assert!(store.get(&table(), "p", "before").await.unwrap().is_some());
    assert!(store.get(&table(), "p", "after").await.unwrap().is_some());
}

/// Writers of a chain each, cut off by a loss of power at some moment: the disk then holds every
/// batch that was answered, whole batches only, and no gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answered_batch_outlives_a_loss_of_power() {
    const WRITERS: usize = 4;
    for seed in 0..40 {
        let disk = Disk::default();
        let store = Arc::new(disk.open());
        store.create_table(&table()).await.unwrap();
        let answered: Arc<[AtomicUsize; WRITERS]> = Arc::default();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| tokio::spawn(write_chain(Arc::clone(&store), Arc::clone(&answered), writer)))
            .collect();
        while answered.iter().map(|count| count.load(Ordering::SeqCst)).sum::<usize>() < 20 + seed * 3 {
            tokio::task::yield_now().await;
        }
        let promised: Vec<_> = answered.iter().map(|count| count.load(Ordering::SeqCst)).collect();
        let left = disk.after_power_loss(seed as u64);
        writers.iter().for_each(tokio::task::JoinHandle::abort);
        join_all(writers).await;

        let store = left.open();
        for (writer, promised) in promised.into_iter().enumerate() {
            let rows = all(&store, &format!("p{writer}")).await.rows;
            let numbers: Vec<_> = rows.iter().filter_map(|stored| stored.row.int("Number")).collect();
            let batches = numbers.len() / 2;
            assert!(
                batches >= promised,
                "seed {seed}: {promised} batches were answered, {batches} are there"
            );
            let whole: Vec<_> = (0..batches as i64).flat_map(|n| [n, n]).collect();
            assert_eq!(numbers, whole, "seed {seed}: whole batches, each once");
        }
        store.commit(&table(), &insert("later")).await.unwrap();
    }
}

async fn write_chain(store: Arc<Embedded>, answered: Arc<[AtomicUsize; 4]>, writer: usize) {
    for number in 0..400_i64 {
        let row = |half| {
            Row::new(format!("{number:05}{half}"))
                .with("Number", Value::Int(number))
                .with("Data", Value::Bin(vec![number as u8; 900].into()))
        };
        let ops = ["a", "b"].map(|half| Op::Insert(row(half))).to_vec();
        store.commit(&table(), &batch(&format!("p{writer}"), ops)).await.unwrap();
        answered[writer].fetch_add(1, Ordering::SeqCst);
    }
}

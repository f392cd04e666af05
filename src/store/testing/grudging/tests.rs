//! Every reader gives the same over a table that answers badly, and comes to an end.

use std::{future::Future, sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::{
    domain::{
        event::{NewEvent, RecordedBy},
        ids::{EventId, TenantId},
        message::decode_document,
        position::PartitionId,
        timestamp::{SystemClock, Timestamp},
    },
    feed::all_stream::{Place, Places},
    store::{
        Delivery, Store,
        append::Debtor,
        dead_letters::{DeadLetter, DeadLetters},
        embedded::Embedded,
        history::Order,
        keys,
        registry::{Author, ChangeFeed, NoSilos, Settings, Tenant},
        table::{Batch, Op, Row, Value},
    },
    verify::{Options, Outcome, Wanted, completeness, verify},
};

const EVENTS: usize = 12;

#[derive(Debug)]
struct Nobody;

impl Debtor for Nobody {
    fn owed(&self, _: PartitionId, _: u64) {}
}

struct World {
    table: Arc<dyn Table>,
    store: Store,
    tenant: Arc<Tenant>,
    _folder: tempfile::TempDir,
}

fn store_on(table: &Arc<dyn Table>) -> Store {
    Store::new(Arc::clone(table), Box::new(NoSilos), Arc::new(SystemClock), Box::new(|_| Arc::new(Nobody)))
}

fn event(n: usize) -> NewEvent {
    let event = json!({
        "specversion": "1.0", "id": format!("e-{}", n / 2), "source": format!("/s-{n}"), "type": "t.x",
        "subject": format!("x-{}", n % 3), "correlationid": "c-1", "data": { "n": n },
    });
    decode_document(event.to_string().as_bytes()).unwrap().remove(0).event.unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let table: Arc<dyn Table> = Arc::new(Embedded::open(folder.path()).unwrap());
        let store = store_on(&table);
        let feed = ChangeFeed { enabled: true, types: Vec::new() };
        let settings = Settings { change_feed: feed, ..Settings::default() };
        let id = TenantId::parse("acme").unwrap();
        let (tenant, _) = store.administration(Author::annals()).put(&id, &settings).await.unwrap();
        for n in 0..EVENTS {
            let delivery = Delivery::direct(RecordedBy::queue());
            store.append(&tenant, vec![event(n)], delivery, soon()).await.unwrap();
        }
        Self { table, store, tenant, _folder: folder }
    }

    /// A store that reads the same through a table that answers badly.
    fn grudging(&self, rows: usize) -> (Arc<dyn Table>, Store) {
        let table: Arc<dyn Table> = Arc::new(Grudging::new(Arc::clone(&self.table), rows));
        let store = store_on(&table);
        (table, store)
    }
}

async fn ends<T>(reading: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), reading).await.expect("reading comes to an end")
}

#[tokio::test]
async fn a_verification_ends_and_misses_nothing() {
    let world = World::new().await;
    let (_, store) = world.grudging(3);
    let differences = async || {
        let log = store.log(&world.tenant);
        match ends(verify(&log, &Options::default(), None, None, &|_| {})).await.unwrap() {
            Outcome::Done(report) => report.differences.len(),
            Outcome::More(_) => panic!("it has all the time it wants"),
        }
    };
    assert_eq!(differences().await, 0);
    let first = PartitionId::new(0).unwrap();
    let end = store.log(&world.tenant).head(first).await.unwrap().last;
    let beyond = Batch::new(first.to_string(), vec![Op::Insert(Row::new(keys::commit(end + 1)))]).unwrap();
    world.table.commit(&world.tenant.table, &beyond).await.unwrap();
    assert_eq!(differences().await, 1, "a commit behind the head is seen");
}

/// A run that begins in the middle of the log meets a commit that says that it begins before everything.
#[tokio::test]
async fn a_damaged_commit_is_a_difference_wherever_a_run_begins() {
    let world = World::new().await;
    let (log, first) = (world.store.log(&world.tenant), PartitionId::new(0).unwrap());
    let commit = world.table.get(&world.tenant.table, &first.to_string(), &keys::commit(5)).await.unwrap();
    let mut row = commit.unwrap().row;
    row.properties
        .iter_mut()
        .filter(|(name, _)| name == "First")
        .for_each(|(_, value)| *value = Value::Int(0));
    let damaged = Batch::new(first.to_string(), vec![Op::Upsert(row)]).unwrap();
    world.table.commit(&world.tenant.table, &damaged).await.unwrap();
    for sequence in [4, 0] {
        let mut from = Places::default();
        from.set(first, Place { sequence, ..Place::default() });
        let options = Options { from: Some(from), ..Options::default() };
        match verify(&log, &options, None, None, &|_| {}).await.unwrap() {
            Outcome::Done(report) => assert_eq!(report.differences.len(), 1, "from {sequence}"),
            Outcome::More(_) => panic!("it has all the time it wants"),
        }
    }
}

#[tokio::test]
async fn a_count_of_what_is_there_ends_and_is_right() {
    let world = World::new().await;
    let (_, store) = world.grudging(3);
    let count = async |store: &Store| {
        let until = Instant::now() + Duration::from_secs(5);
        let counted = completeness(&store.log(&world.tenant), &Wanted::default(), None, until).await.unwrap();
        (counted.is_done(), counted.is_complete(), counted.events())
    };
    let wanted = count(&world.store).await;
    assert!(wanted.0 && wanted.2 >= EVENTS as u64, "{wanted:?}");
    assert_eq!(count(&store).await, wanted);
}

#[tokio::test]
async fn events_are_found_by_id_by_stream_and_by_what_they_belong_to() {
    let world = World::new().await;
    let (_, store) = world.grudging(1);
    let read = async |store: &Store| {
        let history = store.history(&world.tenant);
        let found = history.with_id(&EventId::parse("e-1").unwrap()).await.unwrap();
        let mut read = vec![format!("{} of e-1", found.len())];
        let name = found[0].1.stream.clone();
        for (order, from) in [(Order::Asc, None), (Order::Desc, None), (Order::Desc, Some(2))] {
            let page = history.events(&name, from, 3, order).await.unwrap();
            let versions: Vec<_> = page.events.iter().map(|event| event.version).collect();
            read.push(format!("{order:?} {versions:?}, then {:?}", page.next));
        }
        let correlation = "c-1".parse().unwrap();
        let (links, more) = store.correlated(&world.tenant).links(&correlation, 100).await.unwrap();
        read.push(format!("{} links, {more}", links.len()));
        let streams = history.streams(None, None, None, 100).await.unwrap();
        read.push(format!("{} streams, then {:?}", streams.streams.len(), streams.next));
        read.push(format!("{:?}", store.registry().list().await.unwrap().len()));
        read
    };
    let wanted = read(&world.store).await;
    assert_eq!(wanted[0], "2 of e-1");
    assert_eq!(ends(read(&store)).await, wanted);
}

#[tokio::test]
async fn a_repeated_delivery_gets_its_first_answer() {
    let world = World::new().await;
    let (_, store) = world.grudging(1);
    let delivery = || Delivery::direct(RecordedBy::queue()).again();
    let first = world.store.append(&world.tenant, vec![event(3)], delivery(), soon()).await.unwrap();
    let second = store.append(&world.tenant, vec![event(3)], delivery(), soon()).await.unwrap();
    assert_eq!(second, first);
}

#[tokio::test]
async fn what_is_owed_is_seen() {
    let world = World::new().await;
    let (_, store) = world.grudging(2);
    let first = PartitionId::new(0).unwrap();
    let wanted = world.store.debts(&world.tenant).oldest(first).await.unwrap();
    let owed = store.debts(&world.tenant).oldest(first).await.unwrap();
    assert!(!owed.is_empty() && wanted.starts_with(&owed), "{owed:?} of {wanted:?}");
}

/// A letter of three rows, beside small ones, asked for by the thousand.
#[tokio::test]
async fn dead_letters_are_listed_whole_whatever_a_page_holds() {
    let world = World::new().await;
    let (table, _) = world.grudging(2);
    let letter = |n: usize, bytes: usize| DeadLetter {
        code: "x".to_owned(),
        reason: "y".to_owned(),
        time: Timestamp::parse("time", "2026-01-01T00:00:00Z").unwrap(),
        queue: "q".to_owned(),
        message_id: format!("m-{n}"),
        dequeue_count: 1,
        body: vec![b'a'; bytes].into(),
        replayed: None,
    };
    for nobodys in [true, false] {
        let letters = |table: &Arc<dyn Table>| match nobodys {
            true => DeadLetters::of_nobody(Arc::clone(table)),
            false => DeadLetters::of(Arc::clone(table), &world.tenant),
        };
        let (direct, grudging) = (letters(&world.table), letters(&table));
        for n in 0..5 {
            direct.keep(&letter(n, if n == 2 { 2_000_000 } else { 10 })).await.unwrap();
        }
        let wanted = direct.list(None, 1_000).await.unwrap().letters;
        assert!(wanted.len() == 5 && wanted.iter().any(|letter| letter.body.len() == 2_000_000));
        // As an operator reads: behind the last letter of each page.
        let (mut read, mut from) = (Vec::new(), None);
        loop {
            let page = ends(grudging.list(from, 1_000)).await.unwrap();
            read.extend(page.letters);
            match page.next.and(read.last()) {
                Some(last) => from = Some(DeadLetters::behind(last.id())),
                None => break,
            }
        }
        assert!(read == wanted, "{} of {} letters", read.len(), wanted.len());
        assert_eq!(ends(grudging.waiting()).await.unwrap(), 5);
    }
}

//! A ledger over one account that answers and one that may fall silent.

use std::{
    future::pending,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use tempfile::TempDir;

use super::*;
use crate::{
    domain::{ids::StreamName, position::PartitionId, timestamp::SystemClock},
    store::{
        append::Debtor,
        embedded::LazyEmbedded,
        history::Order,
        registry::{Place, Settings, Silos},
        table::Table,
        testing::Layer,
    },
};

/// How long a process that is asked to stop has.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// An account that takes requests and, while it is silent, never answers one.
#[derive(Debug)]
struct Account {
    inner: LazyEmbedded,
    silent: Arc<AtomicBool>,
}

#[async_trait]
impl Layer for Account {
    fn below(&self) -> &dyn Table {
        &self.inner
    }

    async fn asked(&self) {
        if self.silent.load(Ordering::SeqCst) {
            pending().await
        }
    }
}

#[derive(Debug)]
struct OneSilo(Arc<Account>);

impl Silos for OneSilo {
    fn open(&self, _: &Place) -> Result<Arc<dyn Table>, String> {
        Ok(Arc::clone(&self.0) as Arc<dyn Table>)
    }
}

#[derive(Debug)]
struct NoDebts;

impl Debtor for NoDebts {
    fn owed(&self, _: PartitionId, _: u64) {}
}

/// Two tenants: `acme` on the shared account, and `quiet` on one of its own.
struct World {
    store: Arc<Store>,
    ledger: Arc<Ledger>,
    silent: Arc<AtomicBool>,
    _folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let silent: Arc<AtomicBool> = Arc::default();
        let embedded = |name: &str| LazyEmbedded::new(Path::new(folder.path()).join(name));
        let own = Account { inner: embedded("own"), silent: Arc::clone(&silent) };
        let store = Store::new(
            Arc::new(embedded("shared")),
            Box::new(OneSilo(Arc::new(own))),
            Arc::new(SystemClock),
            Box::new(|_| Arc::new(NoDebts)),
        );
        let administration = store.administration(Author::command_line());
        let apart = Settings { storage: Place::Connection("own".to_owned()), ..Settings::default() };
        for (id, settings) in [("acme", Settings::default()), ("quiet", apart)] {
            administration.put(&id.parse().unwrap(), &settings).await.unwrap();
        }
        Self { store: Arc::new(store), ledger: Arc::default(), silent, _folder: folder }
    }

    fn fall_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }

    fn now(&self) -> Timestamp {
        self.store.clock().now().to_micros()
    }

    /// So many notes of a tenant that are a minute old, each of another kind.
    fn note(&self, tenant: &str, count: usize) {
        let reason = |n: usize| -> &'static str { format!("reason-{n}").leak() };
        for n in 0..count {
            let tenant = tenant.parse().unwrap();
            let then = self.now().minus(WINDOW);
            self.ledger.note((&tenant, true), Note::Denied(reason(n)), None, "/x", then);
        }
    }

    async fn audited(&self, tenant: &str) -> usize {
        let tenant = self.store.registry().get(&tenant.parse().unwrap()).await.unwrap().unwrap();
        let audit = StreamName::new("tenant".parse().unwrap(), "audit".parse().unwrap());
        let page = self.store.history(&tenant).events(&audit, None, 1_000, Order::Desc).await.unwrap();
        page.events
            .iter()
            .filter(|event| event.envelope.event_type.as_str() == "annals.access.denied")
            .count()
    }
}

#[tokio::test]
async fn a_process_that_stops_writes_the_notes_of_all_whose_storage_answers() {
    let world = World::new().await;
    world.fall_silent(true);
    world.note("quiet", 200);
    world.note("acme", 20);
    let flush = world.ledger.flush(&world.store, world.now(), LAST_WORDS);
    assert_eq!(tokio::time::timeout(LAST_WORDS, flush).await, Ok(20), "it is done in time");
    assert_eq!(world.audited("acme").await, 20);
    assert_eq!(world.ledger.waiting(), 200);
}

#[tokio::test]
async fn what_a_round_is_still_writing_is_not_hidden_from_one_that_writes_everything() {
    let world = World::new().await;
    world.fall_silent(true);
    world.note("quiet", 200);
    world.note("acme", 1);
    let (ledger, store, now) = (Arc::clone(&world.ledger), Arc::clone(&world.store), world.now());
    let round = tokio::spawn(async move { ledger.write(&store, now).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(world.ledger.waiting() >= 200, "{}", world.ledger.waiting());
    let flush = world.ledger.flush(&world.store, world.now(), LAST_WORDS);
    let _ = tokio::time::timeout(LAST_WORDS, flush).await;
    assert_eq!(world.audited("acme").await, 1);
    round.abort();
}

#[tokio::test]
async fn what_a_silent_storage_did_not_take_is_written_once_when_it_speaks_again() {
    let world = World::new().await;
    world.fall_silent(true);
    world.note("quiet", 5);
    let brief = Duration::from_millis(200);
    assert_eq!(world.ledger.write_older(&world.store, world.now(), WINDOW, brief).await, 0);
    assert_eq!(world.ledger.waiting(), 5);
    world.fall_silent(false);
    let started = Instant::now();
    while world.ledger.waiting() > 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "{} wait", world.ledger.waiting());
        world.ledger.write(&world.store, world.now()).await;
    }
    assert_eq!(world.audited("quiet").await, 5);
}

#[tokio::test]
async fn a_storage_that_stays_silent_does_not_fill_the_memory() {
    let world = World::new().await;
    world.fall_silent(true);
    world.note("quiet", 2 * MAX_OF_TENANT);
    assert_eq!(world.ledger.waiting(), MAX_OF_TENANT);
    world.note("acme", 3);
    assert_eq!(world.ledger.waiting(), MAX_OF_TENANT + 3, "others have their own place");
    // Minute after minute: from some time on an entry covers more than one.
    let world = World::new().await;
    world.fall_silent(true);
    for _ in 0..2 * MAX_CLOSED {
        world.note("quiet", 1);
        world.ledger.write_older(&world.store, world.now(), WINDOW, Duration::from_millis(1)).await;
    }
    assert_eq!(world.ledger.waiting(), MAX_CLOSED + 1);
    let quiet = "quiet".parse().unwrap();
    let counted: u64 = world.ledger.lock()[&quiet].open.values().map(|entry| entry.count).sum();
    assert_eq!(counted, MAX_CLOSED as u64, "nothing is forgotten");
}

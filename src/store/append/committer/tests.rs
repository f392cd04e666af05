//! What one append meets must not hold the others up.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;

use super::*;
use crate::{
    domain::{
        event::{NewEvent, RecordedBy},
        ids::{Category, StreamId, StreamName, TenantId},
        message::decode_document,
        timestamp::{SystemClock, Timestamp},
    },
    store::{
        Delivery, Store, StoreError,
        append::Refusal,
        embedded::Embedded,
        keys,
        registry::{Author, NoSilos, Settings, Tenant},
        table::{Batch, CommitError, ETag, Op},
        testing::Layer,
    },
};

#[derive(Debug)]
struct Nobody;

impl Debtor for Nobody {
    fn owed(&self, _: PartitionId, _: u64) {}
}

/// A clock that breaks down on demand: it is asked in the middle of a plan.
#[derive(Debug, Default)]
struct Brittle(AtomicBool);

impl Clock for Brittle {
    fn now(&self) -> Timestamp {
        assert!(!self.0.load(Ordering::SeqCst), "the clock breaks down");
        SystemClock.now()
    }
}

struct World {
    table: Arc<Embedded>,
    store: Store,
    clock: Arc<Brittle>,
    tenant: Arc<Tenant>,
    _folder: tempfile::TempDir,
}

/// A table whose service is that far from our clock now, and as seen at its last answer.
#[derive(Debug)]
struct Skewed {
    table: Arc<Embedded>,
    now: Mutex<Duration>,
    seen: Mutex<Duration>,
}

#[async_trait]
impl Layer for Skewed {
    fn below(&self) -> &dyn Table {
        self.table.as_ref()
    }

    /// An answer of the service's shows what its clock says.
    async fn asked(&self) {
        *self.seen.lock().unwrap() = *self.now.lock().unwrap();
    }

    fn clock_skew(&self) -> Duration {
        *self.seen.lock().unwrap()
    }
}

impl World {
    async fn new() -> Self {
        Self::over(|table| table).await
    }

    async fn over<T: Table + 'static>(wrap: impl FnOnce(Arc<Embedded>) -> Arc<T>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (table, clock) = (Arc::new(Embedded::open(folder.path()).unwrap()), Arc::<Brittle>::default());
        let shared = (wrap(Arc::clone(&table)) as Arc<dyn Table>, Arc::clone(&clock) as Arc<dyn Clock>);
        let store = Store::new(shared.0, Box::new(NoSilos), shared.1, Box::new(|_| Arc::new(Nobody)));
        let administration = store.administration(Author::annals());
        let id = TenantId::parse("acme").unwrap();
        let (tenant, _) = administration.put(&id, &Settings::default()).await.unwrap();
        Self { table, store, clock, tenant, _folder: folder }
    }

    async fn append(&self, stream: &str, patience: Duration) -> Result<Vec<Answer>, StoreError> {
        let delivery = Delivery::direct(RecordedBy::new("test"));
        self.store.append(&self.tenant, vec![event(stream)], delivery, Instant::now() + patience).await
    }

    /// Makes the row of a stream one that says nothing.
    async fn damage(&self, stream: &str) {
        let mut row = crate::store::rows::Stream::default().row(&named(stream));
        row.properties.retain(|(property, _)| property != "Version");
        self.tamper(Op::Upsert(row)).await;
    }

    /// Changes a row as nobody of ours does.
    async fn tamper(&self, op: Op) {
        let batch = Batch::new(PartitionId::new(0).unwrap().to_string(), vec![op]).unwrap();
        self.table.commit(&self.tenant.table, &batch).await.unwrap();
    }
}

fn named(stream: &str) -> StreamName {
    StreamName::new(Category::parse("workflow-instance").unwrap(), StreamId::parse(stream).unwrap())
}

fn event(stream: &str) -> NewEvent {
    let text = format!(
        r#"{{"specversion":"1.0","id":"{}","source":"/t","type":"io.marain.workflow.trigger.ignored","subject":"{stream}"}}"#,
        uuid::Uuid::new_v4()
    );
    decode_document(text.as_bytes()).unwrap().remove(0).event.unwrap()
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_stream_whose_row_cannot_be_read_holds_up_nobody_else() {
    let world = World::new().await;
    world.damage("bad").await;
    let all = ["a", "bad", "b", "c", "d"].map(|stream| {
        // Longer than the others wait: whoever waits for it is late.
        let patience = Duration::from_secs(if stream == "bad" { 8 } else { 4 });
        world.append(stream, patience)
    });
    let answers = futures::future::join_all(all).await;
    let stored: Vec<_> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(stored, [true, false, true, true, true], "{answers:?}");
    assert!(matches!(&answers[1], Err(StoreError::Unavailable { .. })), "its row may be mended");
}

#[tokio::test]
async fn a_stream_s_row_that_somebody_removed_is_written_again() {
    let world = World::new().await;
    world.append("a", LONG).await.unwrap();
    world.tamper(Op::Delete(keys::stream(&named("a")))).await;
    for version in [2, 3] {
        assert_eq!(world.append("a", LONG).await.unwrap()[0].stored.essentials.version, version);
    }
    // Another process believes what it reads.
    let clock = Arc::clone(&world.clock) as Arc<dyn Clock>;
    let other =
        Store::new(Arc::clone(&world.table) as _, Box::new(NoSilos), clock, Box::new(|_| Arc::new(Nobody)));
    let delivery = Delivery::direct(RecordedBy::new("test"));
    let answers = other.append(&world.tenant, vec![event("a")], delivery, Instant::now() + LONG).await;
    assert_eq!(answers.unwrap()[0].stored.essentials.version, 4);
}

#[tokio::test]
async fn a_plan_that_breaks_down_refuses_the_one_append_and_the_committer_goes_on() {
    let world = World::new().await;
    world.append("a", LONG).await.unwrap();
    world.clock.0.store(true, Ordering::SeqCst);
    let broken = world.append("a", LONG).await;
    let code = |error: &StoreError| matches!(error, StoreError::Refused(Refusal::NotStorable { code }) if code == "internal-error");
    assert!(broken.as_ref().is_err_and(code), "{broken:?}");
    world.clock.0.store(false, Ordering::SeqCst);
    assert_eq!(world.append("a", LONG).await.unwrap()[0].stored.essentials.version, 2);
}

/// A table that calls every commit late once it is told to, and says no more than that.
#[derive(Debug)]
struct Terse {
    table: Arc<Embedded>,
    late: AtomicBool,
    commits: AtomicUsize,
}

#[async_trait]
impl Layer for Terse {
    fn below(&self) -> &dyn Table {
        self.table.as_ref()
    }

    async fn commit(&self, table: &TableName, batch: &Batch) -> Result<Option<ETag>, CommitError> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        if self.late.load(Ordering::SeqCst) {
            return Err(CommitError::Changed { index: None });
        }
        self.below().commit(table, batch).await
    }
}

#[tokio::test]
async fn a_conflict_that_teaches_nothing_is_not_met_again_and_again_without_a_pause() {
    let mut terse = None;
    let world = World::over(|table| {
        let (late, commits) = Default::default();
        Arc::clone(terse.insert(Arc::new(Terse { table, late, commits })))
    })
    .await;
    let terse = terse.unwrap();
    world.append("a", LONG).await.unwrap();
    let before = terse.commits.load(Ordering::SeqCst);
    terse.late.store(true, Ordering::SeqCst);
    let failed = world.append("a", Duration::from_secs(1)).await;
    assert!(matches!(&failed, Err(StoreError::Unavailable { .. })), "{failed:?}");
    let tries = terse.commits.load(Ordering::SeqCst) - before;
    assert!((2..=40).contains(&tries), "{tries} tries in a second");
}

#[tokio::test]
async fn a_clock_that_was_set_right_is_noticed() {
    let mut skewed = None;
    let world = World::over(|table| {
        let (now, seen) = (Mutex::default(), Mutex::default());
        Arc::clone(skewed.insert(Arc::new(Skewed { table, now, seen })))
    })
    .await;
    let skewed = skewed.unwrap();
    world.append("a", LONG).await.unwrap();
    let wrong = Duration::from_secs(60);
    *skewed.now.lock().unwrap() = wrong;
    *skewed.seen.lock().unwrap() = wrong;
    let refused = world.append("a", LONG).await;
    assert!(
        matches!(&refused, Err(StoreError::Unavailable { reason }) if reason.contains("clock")),
        "{refused:?}"
    );
    // Nobody reads anything meanwhile: only the committer itself can find out.
    *skewed.now.lock().unwrap() = Duration::ZERO;
    assert_eq!(world.append("a", LONG).await.unwrap()[0].stored.essentials.version, 2);
}

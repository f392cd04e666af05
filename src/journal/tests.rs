//! Two processes' worth of journals on one table: seeded actors who approve, deny, claim, crash, tell,
//! take back and repeat themselves, while time jumps.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::time::Instant;

use super::*;
use crate::{
    domain::{
        command::{Outcome, Verdict},
        event::RecordedBy,
        ids::{Status, TenantId},
        position::PartitionId,
        timestamp::Clock,
    },
    store::{
        append::Debtor,
        embedded::Embedded,
        registry::{Author, NoSilos, Settings},
    },
};

/// A clock that all processes share and that somebody turns.
#[derive(Debug, Default)]
struct Dial(AtomicI64);

impl Clock for Dial {
    fn now(&self) -> Timestamp {
        // Every look is a microsecond later, so that no two events have one time.
        Timestamp::from_unix_nanos(i128::from(self.0.fetch_add(1_000, Ordering::SeqCst)))
    }
}

#[derive(Debug)]
struct Nobody;

impl Debtor for Nobody {
    fn owed(&self, _: PartitionId, _: u64) {}
}

struct World {
    dial: Arc<Dial>,
    journals: [Journal; 2],
    tenant: Arc<Tenant>,
    _folder: tempfile::TempDir,
}

const LEASE: f64 = 30.0;

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let table = Arc::new(Embedded::open(folder.path()).unwrap());
        let dial = Arc::new(Dial(AtomicI64::new(1_700_000_000_000_000_000)));
        let journals = [(); 2].map(|()| {
            let (table, clock) = (Arc::clone(&table), Arc::clone(&dial));
            let store = Store::new(table, Box::new(NoSilos), clock, Box::new(|_| Arc::new(Nobody)));
            Journal::new(Arc::new(store))
        });
        let id = TenantId::parse("acme").unwrap();
        let put = journals[0].store().administration(Author::annals());
        let (tenant, _) = put.put(&id, &Settings { partitions: 2, ..Settings::default() }).await.unwrap();
        Self { dial, journals, tenant, _folder: folder }
    }

    fn context(&self, command: &str, operation: &str, actor: &str) -> Context {
        let command = StreamId::parse(command).unwrap();
        Context {
            identity: main_identity("test", &command, operation),
            command,
            content: [7; 32],
            actor: Some(Actor { kind: "user".to_owned(), id: Some(actor.to_owned()) }),
            time: None,
            correlation: None,
            causation: None,
            traceparent: None,
            extensions: std::collections::BTreeMap::new(),
        }
    }

    async fn run(&self, which: usize, order: &Order) -> Result<Receipt, JournalError> {
        let delivery = Delivery::direct(RecordedBy::new("test"));
        self.journals[which]
            .run(&self.tenant, order, &delivery, Instant::now() + Duration::from_secs(60))
            .await
    }

    async fn dispatch(&self, id: &str, required: usize) {
        let body = DispatchBody {
            kind: "t".to_owned(),
            data: None,
            metadata: None,
            time_limit: None,
            approval: Some(ApprovalBody {
                required,
                approvers: None,
                expires_at: Some(self.dial.now().plus(Duration::from_secs(600))),
                allow_requester: false,
            }),
        };
        let order = body.order(&self.tenant, self.context(id, "dispatch", "p0")).unwrap();
        self.run(0, &order).await.unwrap();
    }

    /// One actor's few steps on any of the commands.
    async fn actor(&self, number: usize, commands: usize, mut random: SmallRng) {
        let me = format!("p{number}");
        let mut fence = None;
        for step in 0..10 {
            let (which, id) = (random.random_range(0..2), format!("c-{}", random.random_range(0..commands)));
            let context = self.context(&id, &format!("{me}-{step}"), &me);
            let order = match random.random_range(0..12) {
                0..5 => GivenBody { decision: Verdict::Approve, comment: None }.order(&self.tenant, context),
                5 if step > 6 => {
                    GivenBody { decision: Verdict::Deny, comment: None }.order(&self.tenant, context)
                }
                5..9 => ClaimBody { lease: Some(LEASE) }.order(&self.tenant, context),
                9..11 => outcome(fence).order(&self.tenant, context),
                _ => WithdrawBody::default().order(&self.tenant, context),
            };
            let order = order.unwrap();
            let first = self.run(which, &order).await;
            if let Ok(receipt) = &first {
                if let Some((version, _)) =
                    receipt.facts.iter().find(|(_, fact)| matches!(fact, Fact::Claimed { .. }))
                {
                    fence = random.random_bool(0.8).then_some(*version);
                }
                self.again(1 - which, &order, receipt).await;
            }
            if random.random_bool(0.15) {
                self.dial.0.fetch_add(random.random_range(1..60) * 1_000_000_000, Ordering::SeqCst);
                self.journals[which].sweep(self.dial.now()).await.unwrap();
            }
        }
    }

    /// The same operation once more, in the other process: the same answer, and nothing new.
    async fn again(&self, which: usize, order: &Order, first: &Receipt) {
        let again = self.run(which, order).await.unwrap();
        let own = |receipt: &Receipt| {
            let facts = receipt.facts.iter().filter(|(_, fact)| !fact.fell_due());
            facts.cloned().collect::<Vec<_>>()
        };
        assert!(again.repeated && again.answers.is_empty());
        assert_eq!((own(&again), &again.command), (own(first), &first.command));
    }

    /// What must be true of a command, told from its events and rows.
    async fn check(&self, id: &str, required: usize) -> &'static str {
        let id = StreamId::parse(id).unwrap();
        let record = self.journals[1].read(&self.tenant, &id).await.unwrap().unwrap();
        let command = record.command.clone().unwrap();
        let history = self.journals[0].store().history(&self.tenant);
        let row = history.stream(&stream(&id)).await.unwrap().unwrap();
        let stored = row.status.map(|set| set.status);
        assert_eq!(stored, Status::parse(command.stage.status()).ok(), "the fold is not the stored status");
        assert_eq!((row.due, row.version), (command.stage.due(), record.version));
        let (mut people, mut held) = (BTreeSet::new(), None);
        let (mut approved, mut ends) = (0, 0);
        for entry in &record.entries {
            let time = entry.event.envelope.time.unwrap();
            match &entry.fact {
                Fact::Given { person, verdict: Verdict::Approve, ignored: None } => {
                    assert!(people.insert(person.clone()), "{person:?} counts twice");
                }
                Fact::Approved => {
                    approved += 1;
                    assert_eq!(people.len(), required);
                }
                Fact::Claimed { until, .. } => {
                    assert!(approved == 1 && held.is_none_or(|held| held <= time), "two hold {id}");
                    held = Some(*until);
                }
                Fact::Concluded { .. } | Fact::Denied | Fact::Expired | Fact::Withdrawn => ends += 1,
                _ => {}
            }
        }
        assert!(approved <= 1 && ends <= 1, "{id} ended {ends} times");
        command.stage.status()
    }
}

fn outcome(fence: Option<u64>) -> OutcomeBody {
    OutcomeBody {
        status: Some(Outcome::Succeeded),
        result: None,
        error: None,
        error_reason: None,
        duration_micros: None,
        events: Vec::new(),
        fence,
        secret_once: Vec::new(),
        once_revealed: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_and_many_actors_agree_on_what_became_of_each_command() {
    const COMMANDS: usize = 3;
    let mut seen = BTreeSet::new();
    for seed in 0..12_u64 {
        let world = World::new().await;
        for n in 0..COMMANDS {
            world.dispatch(&format!("c-{n}"), 1 + n % 3).await;
        }
        let actors = (0..6).map(|number| {
            let random = SmallRng::seed_from_u64(seed * 100 + number as u64);
            world.actor(number, COMMANDS, random)
        });
        futures::future::join_all(actors).await;
        for n in 0..COMMANDS {
            seen.insert(world.check(&format!("c-{n}"), 1 + n % 3).await);
        }
        // What is due later leaves nothing behind for a timer once all has ended.
        world.dial.0.fetch_add(100_000_000_000_000, Ordering::SeqCst);
        world.journals[0].sweep(world.dial.now()).await.unwrap();
        assert_eq!(world.journals[1].sweep(world.dial.now()).await.unwrap(), 0, "seed {seed}");
    }
    assert!(seen.len() >= 3, "the actors reach only {seen:?}");
}

#[tokio::test]
async fn a_claim_that_the_timer_overtook_is_a_first_one_and_its_repetition_a_repeated_one() {
    let world = World::new().await;
    world.dispatch("c", 1).await;
    let yes = GivenBody { decision: Verdict::Approve, comment: None };
    world.run(0, &yes.order(&world.tenant, world.context("c", "yes", "ann")).unwrap()).await.unwrap();
    let claim = |operation: &str| {
        let body = ClaimBody { lease: Some(LEASE) };
        body.order(&world.tenant, world.context("c", operation, operation)).unwrap()
    };
    world.run(0, &claim("crashes")).await.unwrap();
    world.dial.0.fetch_add(60_000_000_000, Ordering::SeqCst);

    // One process reads that the lease has run out; before it writes, the timer of the other does.
    let (order, now) = (claim("late"), world.dial.now());
    let record = world.journals[0].read(&world.tenant, &order.command).await.unwrap().unwrap();
    let facts = judge(&record, &order, now).unwrap();
    let events = events::of(&record, &order, &facts, now);
    assert_eq!(world.journals[1].sweep(now).await.unwrap(), 1);
    let delivery = Delivery::direct(RecordedBy::new("test"));
    let until = Instant::now() + Duration::from_secs(60);
    let parts = (&order, &facts[..], events);
    let stored = world.journals[0].append(&world.tenant, &record, parts, &delivery, until).await.unwrap();
    let receipt = stored.expect("the claim stands");
    assert!(!receipt.repeated && matches!(receipt.facts.last(), Some((_, Fact::Claimed { .. }))));
    world.again(1, &order, &receipt).await;
}

#[tokio::test]
async fn a_seal_is_broken_by_any_change_and_by_another_tenant() {
    let world = World::new().await;
    let body = || WithdrawBody { comment: Some("why".to_owned()) };
    let order = body().order(&world.tenant, world.context("c/1", "w", "ann")).unwrap();
    let bytes = message(&world.tenant, &order, &RecordedBy::new("key:1")).unwrap();
    let event =
        |bytes: &[u8]| crate::domain::message::decode_document(bytes).unwrap().remove(0).event.unwrap();
    let (read, by) = request(&world.tenant, event(&bytes)).unwrap();
    assert_eq!((read.identity, by), (order.identity.clone(), Some(RecordedBy::new("key:1"))));
    let text = String::from_utf8(bytes.clone()).unwrap();
    for (from, to) in [
        ("why", "WHY"),
        ("\"ann\"", "\"bob\""),
        ("key:1", "key:2"),
        ("c/1", "c/2"),
        ("withdrawn", "dispatched"),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        let changed = request(&world.tenant, event(text.replacen(from, to, 1).as_bytes()));
        assert_eq!(changed.unwrap_err().code(), "forged-source", "{from}");
    }
    let other = TenantId::parse("other").unwrap();
    let put = world.journals[0].store().administration(Author::annals());
    let (other, _) = put.put(&other, &Settings::default()).await.unwrap();
    assert_eq!(request(&other, event(&bytes)).unwrap_err().code(), "forged-source");
}

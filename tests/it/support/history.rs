//! A store in this process, and random histories in it.

use std::{sync::Arc, time::Duration};

use annals::{
    domain::{
        event::{Actor, NewEvent, RecordedBy},
        ids::{EventId, Identity, Source, TenantId},
        message::decode_document,
        position::PartitionId,
        timestamp::SystemClock,
    },
    store::{
        Delivery, Store,
        append::Debtor,
        erasure::Erasure,
        registry::{Author, NoSilos, Settings, Tenant},
        table::Table,
    },
    verify::{self, Options, Outcome, Report},
};
use rand::{Rng, rngs::SmallRng};
use serde_json::{Value, json};
use tokio::time::Instant;

#[derive(Debug)]
struct NoDebtor;

impl Debtor for NoDebtor {
    fn owed(&self, _: PartitionId, _: u64) {}
}

/// A store on these tables.
pub(crate) fn store(table: Arc<dyn Table>) -> Store {
    let debtors = Box::new(|_: &Arc<Tenant>| Arc::new(NoDebtor) as Arc<dyn Debtor>);
    Store::new(table, Box::new(NoSilos), Arc::new(SystemClock), debtors)
}

/// The tenant `acme`, registered.
pub(crate) async fn acme(store: &Store, partitions: u8) -> Arc<Tenant> {
    let id = TenantId::parse("acme").unwrap();
    let settings = Settings { partitions, ..Settings::default() };
    store.administration(Author::command_line()).put(&id, &settings).await.unwrap().0
}

pub(crate) fn events(json: &Value) -> Vec<NewEvent> {
    let text = json.to_string();
    let elements = decode_document(text.as_bytes()).unwrap();
    elements.into_iter().map(|element| element.event.unwrap()).collect()
}

pub(crate) fn until() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// One event of few streams, statuses, correlations and subjects.
pub(crate) fn event(n: u64, random: &mut SmallRng) -> Value {
    let stream = random.random_range(0..6);
    let kinds = ["created", "transition-completed", "faulted", "creation-failed"];
    let mut event = match random.random_bool(0.6) {
        true => json!({
            "specversion": "1.0", "id": format!("e-{n}"), "source": "/engine",
            "type": format!("io.marain.workflow.instance.{}", kinds[random.random_range(1..4)]),
            "data": { "workflowInstanceId": format!("i-{stream}"), "newStatus": "waiting", "secret": format!("canary-{n}") },
        }),
        false => json!({
            "specversion": "1.0", "id": format!("e-{n}"), "source": "/other", "type": "t.happened",
            "subject": format!("s-{stream}"), "data": { "note": format!("canary-{n}"), "n": n },
        }),
    };
    if random.random_bool(0.5) {
        event["correlationid"] = json!(format!("c-{}", random.random_range(0..5)));
    }
    if random.random_bool(0.3) {
        event["datasubject"] = json!(format!("person-{}", random.random_range(0..4)));
    }
    if random.random_bool(0.3) {
        event["authtype"] = json!("user");
        event["authid"] = json!(format!("person-{}", random.random_range(0..4)));
    }
    event
}

pub(crate) fn erasure(pointers: &[&str]) -> Erasure {
    Erasure {
        pointers: pointers.iter().map(|pointer| (*pointer).to_owned()).collect(),
        actor: None,
        reason: "asked for".to_owned(),
        by: Actor { kind: "user".to_owned(), id: Some("auditor".to_owned()) },
        recorded_by: RecordedBy::annals(),
    }
}

/// Appends with repeats, conflicts and concurrent batches, and erases now and then.
pub(crate) async fn play(store: &Store, tenant: &Arc<Tenant>, count: u64, random: &mut SmallRng) {
    let mut sent: Vec<Value> = Vec::new();
    // Ids of its own: another call has played before.
    let base = u64::from(random.random::<u32>()) * 1_000;
    for n in base..base + count {
        let chance = random.random_range(0..20);
        let again = (!sent.is_empty()).then(|| sent[random.random_range(0..sent.len())].clone());
        let delivery = || Delivery::direct(RecordedBy::annals());
        match (chance, again) {
            // A repeat, a reuse of the identity, and an expectation that does not come true.
            (0 | 1, Some(event)) => {
                store.append(tenant, events(&event), delivery().again(), until()).await.unwrap();
            }
            (2, Some(mut event)) => {
                event["data"]["else"] = json!(true);
                let _ = store.append(tenant, events(&event), delivery(), until()).await;
            }
            (3, _) => {
                let mut event = event(n, random);
                event["expectedversion"] = json!("900");
                assert!(store.append(tenant, events(&event), delivery(), until()).await.is_err());
            }
            (4 | 5, Some(event)) => {
                let identity = Identity {
                    source: Source::parse(event["source"].as_str().unwrap()).unwrap(),
                    id: EventId::parse(event["id"].as_str().unwrap()).unwrap(),
                };
                let pointers: &[&str] = match event["data"].get("note") {
                    Some(_) if chance == 4 => &["/note"],
                    _ => &[],
                };
                store.erase(tenant, &identity, &erasure(pointers), until()).await.unwrap().unwrap();
            }
            (6 | 7, _) => {
                let many: Vec<_> =
                    (0..random.random_range(2..5)).map(|i| event(n * 10 + i + (1 << 50), random)).collect();
                let stores = many.iter().map(|one| store.append(tenant, events(one), delivery(), until()));
                for stored in futures::future::join_all(stores).await {
                    stored.unwrap();
                }
                sent.extend(many);
            }
            _ => {
                let event = event(n, random);
                store.append(tenant, events(&event), delivery(), until()).await.unwrap();
                sent.push(event);
            }
        }
    }
}

/// Verifies everything, data too.
pub(crate) async fn verified(store: &Store, tenant: &Arc<Tenant>) -> Report {
    let options = Options { data: true, ..Options::default() };
    match verify::verify(&store.log(tenant), &options, None, None, &|_| {}).await.unwrap() {
        Outcome::Done(report) => report,
        Outcome::More(_) => unreachable!("there is no time limit"),
    }
}

/// The same in calls whose time is always up, each from the state that the last one answered; and how
/// many calls that took.
pub(crate) async fn in_pieces(store: &Store, tenant: &Arc<Tenant>) -> (Report, usize) {
    let (log, options) = (store.log(tenant), Options { data: true, ..Options::default() });
    let (mut state, mut calls, mut all) = (None, 0, Report::default());
    loop {
        calls += 1;
        let late = Some(Instant::now());
        match verify::verify(&log, &options, state.take(), late, &|_| {}).await.unwrap() {
            Outcome::Done(report) => {
                let clean = report.is_clean();
                all.partitions.extend(report.partitions);
                all.differences.extend(report.differences);
                assert_eq!(clean, all.is_clean(), "the last answer is for all of them");
                return (all, calls);
            }
            Outcome::More(mut more) => {
                let found = more.hand_over();
                all.partitions.extend(found.partitions);
                all.differences.extend(found.differences);
                let text = serde_json::to_string(&more).unwrap();
                assert!(text.len() < 2_000, "it has to fit into a request line: {text}");
                state = Some(serde_json::from_str(&text).unwrap());
            }
        }
    }
}

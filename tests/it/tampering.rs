//! Whatever is changed in a stored tenant is found, and named; what is untouched never is.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use annals::{
    domain::event::RecordedBy,
    store::{
        Delivery,
        registry::Tenant,
        table::{Row, Value},
    },
    verify::{Options, Outcome, verify},
};
use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::support::{
    history::{acme, event, events, in_pieces, play, store, until, verified},
    memory::{Memory, Rows},
};

/// Histories that nobody touched; `ANNALS_HISTORIES` sets how many.
const HISTORIES: u64 = 1_000;
/// Tamperings of one tenant.
const TAMPERINGS: u64 = 400;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(start_paused = true)]
async fn an_untouched_history_is_never_called_tampered_with() {
    for seed in 0..number("ANNALS_HISTORIES", HISTORIES) {
        let mut random = SmallRng::seed_from_u64(seed);
        let memory = Memory::new(seed);
        let store = store(Arc::clone(&memory) as _);
        let tenant = acme(&store, if seed % 4 == 0 { 3 } else { 1 }).await;
        memory.lose_answers(0.03);
        let count = random.random_range(0..40);
        play(&store, &tenant, count, &mut random).await;
        let report = verified(&store, &tenant).await;
        assert!(report.is_clean(), "seed {seed}: {:#?}", report.differences);
        let (pieces, _) = in_pieces(&store, &tenant).await;
        assert_eq!(pieces, report, "seed {seed}: however many calls a run takes");
    }
}

#[tokio::test(start_paused = true)]
async fn every_tampering_is_found_and_named() {
    let mut random = SmallRng::seed_from_u64(7);
    let memory = Memory::new(7);
    let tenant = {
        let store = store(Arc::clone(&memory) as _);
        let tenant = acme(&store, 1).await;
        play(&store, &tenant, 150, &mut random).await;
        assert!(verified(&store, &tenant).await.is_clean());
        tenant
    };
    let mut kinds = BTreeSet::new();
    for round in 0..TAMPERINGS {
        let copy = memory.copy();
        let Some(Tampering { what, rows }) = tamper(&mut copy.state(), &tenant, &mut random) else {
            continue;
        };
        let report = verified(&store(Arc::clone(&copy) as _), &tenant).await;
        assert!(!report.is_clean(), "round {round}: {what} went unseen");
        let named = report.differences.iter().any(|difference| rows.contains(&difference.row));
        assert!(named, "round {round}: {what} of {rows:?} is called {:#?}", report.differences);
        let (mut pieces, _) = in_pieces(&store(Arc::clone(&copy) as _), &tenant).await;
        pieces.differences.truncate(report.differences.len());
        assert_eq!(pieces.differences, report.differences, "round {round}: however many calls a run takes");
        kinds.insert(what);
    }
    assert!(kinds.len() >= 7, "only {kinds:?} were tried");
}

#[tokio::test(start_paused = true)]
async fn a_run_in_many_calls_is_exact_while_others_write() {
    for seed in 0..20 {
        let memory = Memory::new(seed);
        let store = store(Arc::clone(&memory) as _);
        let tenant = acme(&store, 1).await;
        let mut random = SmallRng::seed_from_u64(seed);
        play(&store, &tenant, 400, &mut random).await;
        let log = store.log(&tenant);
        let options = Options { data: true, ..Options::default() };
        let mut state = None;
        // One stream's row is changed under its version, before the run or in the midst of it.
        let wrong = (seed % 2 == 1).then(|| {
            let mut rows = memory.state();
            let path = rows
                .rows
                .keys()
                .find(|(_, partition, key)| partition == "p00" && key.starts_with("s|event|s-"));
            let path = path.unwrap().clone();
            set(
                &mut rows.rows.get_mut(&path).unwrap().0,
                "LastTime",
                Value::Str("2020-01-01T00:00:00Z".to_owned()),
            );
            path.2
        });
        let report = loop {
            let late = Some(tokio::time::Instant::now());
            match verify(&log, &options, state.take(), late, &|_| {}).await.unwrap() {
                Outcome::Done(report) => break report,
                Outcome::More(more) => state = Some(*more),
            }
            // Only streams of another kind move on, or the change would be written over.
            let mut event = event(random.random(), &mut random);
            event["type"] = serde_json::json!("io.marain.workflow.instance.transition-completed");
            event["data"] = serde_json::json!({ "workflowInstanceId": format!("i-{}", random.random_range(0..6)), "newStatus": "waiting" });
            let delivery = Delivery::direct(RecordedBy::annals());
            store.append(&tenant, events(&event), delivery, until()).await.unwrap();
        };
        match wrong {
            None => assert!(report.is_clean(), "seed {seed}: {report:#?}"),
            Some(key) => {
                let named: Vec<_> = report.differences.iter().map(|difference| &difference.row).collect();
                assert_eq!(named, [&key], "seed {seed}: {report:#?}");
            }
        }
    }
}

struct Tampering {
    what: &'static str,
    /// Rows of which at least one has to be named.
    rows: BTreeSet<String>,
}

/// One random change to the log's partition.
fn tamper(state: &mut Rows, tenant: &Tenant, random: &mut SmallRng) -> Option<Tampering> {
    let table = tenant.table.to_string();
    let path = |key: &str| (table.clone(), "p00".to_owned(), key.to_owned());
    let keys: Vec<String> = state
        .rows
        .keys()
        .filter(|(t, partition, key)| *t == table && partition == "p00" && !key.starts_with("f|"))
        .map(|(_, _, key)| key.clone())
        .collect();
    let commits: Vec<String> = keys.iter().filter(|key| key.starts_with("c|0")).cloned().collect();
    let key = keys[random.random_range(0..keys.len())].clone();
    let named = |key: &str| -> BTreeSet<String> {
        // A commit that is not there shows where the next one, or the head, does not follow.
        let next = commits.iter().find(|commit| commit.as_str() > key).cloned();
        [key.to_owned(), next.unwrap_or_else(|| "c|head".to_owned()), "c|head".to_owned()]
            .into_iter()
            .take(if key.starts_with("c|") { 3 } else { 1 })
            .chain(key.starts_with("c|").then(|| commits.last().cloned()).flatten())
            .collect()
    };
    let row = state.rows[&path(&key)].0.clone();
    match random.random_range(0..8) {
        0 | 1 => {
            let changed = edited(&row, random);
            state.rows.get_mut(&path(&key)).unwrap().0 = changed;
            Some(Tampering { what: "edit", rows: named(&key) })
        }
        2 => {
            state.rows.remove(&path(&key));
            Some(Tampering { what: "delete", rows: named(&key) })
        }
        3 => {
            // A copy under a key of its own.
            let new = match key.strip_prefix("c|") {
                Some(_) => format!("c|{:020}", random.random_range(1..400_u64)),
                None => format!("{key}0"),
            };
            if state.rows.contains_key(&path(&new)) {
                return None;
            }
            state.rows.insert(path(&new), (Row { key: new.clone(), ..row }, 1));
            let mut rows = named(&new);
            rows.insert(key);
            Some(Tampering { what: "insert", rows })
        }
        4 => {
            // Two rows of a kind change places.
            let alike: Vec<_> =
                keys.iter().filter(|other| other[..2] == key[..2] && **other != key).collect();
            let other = (*alike.get(random.random_range(0..alike.len().max(1)))?).clone();
            let second = state.rows[&path(&other)].0.clone();
            if second.properties == row.properties {
                return None;
            }
            state.rows.get_mut(&path(&key)).unwrap().0 = Row { key: key.clone(), ..second };
            state.rows.get_mut(&path(&other)).unwrap().0 = Row { key: other.clone(), ..row };
            let mut rows = named(&key);
            rows.extend(named(&other));
            Some(Tampering { what: "swap", rows })
        }
        5 => {
            // The last commits are cut off, and the head set back to fit.
            let cut = random.random_range(1..commits.len().min(6));
            let kept = &commits[commits.len() - cut - 1];
            let last = state.rows[&path(kept)].0.clone();
            for gone in &commits[commits.len() - cut..] {
                state.rows.remove(&path(gone));
            }
            let head = &mut state.rows.get_mut(&path("c|head")).unwrap().0;
            for name in ["Last", "Digest", "Recorded"] {
                set(head, name, last.get(name).unwrap().clone());
            }
            let sequence = last.int("Last").unwrap();
            let behind = |key: &&String| {
                state
                    .rows
                    .get(&path(key))
                    .is_some_and(|(row, _)| row.int("Sequence").is_some_and(|at| at > sequence))
            };
            let mut rows: BTreeSet<_> = keys.iter().filter(behind).cloned().collect();
            rows.extend(keys.iter().filter(|key| key.starts_with("s|") || key.starts_with("e|")).cloned());
            Some(Tampering { what: "truncate", rows })
        }
        6 => {
            // The head alone is rolled back.
            let earlier = state.rows[&path(&commits[random.random_range(0..commits.len() - 1)])].0.clone();
            let head = &mut state.rows.get_mut(&path("c|head")).unwrap().0;
            for name in ["Last", "Digest", "Recorded"] {
                set(head, name, earlier.get(name).unwrap().clone());
            }
            let mut rows: BTreeSet<_> = commits.iter().cloned().collect();
            rows.extend(keys.iter().cloned());
            Some(Tampering { what: "roll back", rows })
        }
        _ => {
            // Blanked, and called erased.
            let events: Vec<_> = keys.iter().filter(|key| key.starts_with("e|")).collect();
            let key = events[random.random_range(0..events.len())].clone();
            let event = &mut state.rows.get_mut(&path(&key)).unwrap().0;
            let mark = br#"{"time":"2026-01-01T00:00:00Z","event":"x"}"#;
            set(event, "Erased", Value::Bin(Bytes::from_static(mark)));
            event.properties.retain(|(name, _)| name != "Data0" && name != "Content");
            set(event, "DataKind", Value::Str("none".to_owned()));
            let salt = annals::store::digest::Salt([9; 32]);
            set(event, "Salt", Value::Bin(Bytes::copy_from_slice(&salt.0)));
            let partition = annals::domain::position::PartitionId::new(0).unwrap();
            let digest = annals::store::digest::event(partition, event, &salt);
            set(event, "Digest", Value::Bin(Bytes::copy_from_slice(&digest.0)));
            Some(Tampering { what: "blank", rows: [key].into() })
        }
    }
}

fn set(row: &mut Row, name: &'static str, value: Value) {
    row.properties.retain(|(given, _)| given != name);
    row.properties.push((Cow::Borrowed(name), value));
}

/// The row with one property changed, removed or added.
fn edited(row: &Row, random: &mut SmallRng) -> Row {
    let mut row = row.clone();
    let at = random.random_range(0..row.properties.len());
    match random.random_range(0..6) {
        0 => drop(row.properties.remove(at)),
        1 => row.properties.push((Cow::Borrowed("Extra"), Value::Int(1))),
        _ => {
            let value = &mut row.properties[at].1;
            *value = match value {
                Value::Str(text) => Value::Str(format!("{text}x")),
                Value::Int(number) => Value::Int(*number + 1),
                Value::Bool(truth) => Value::Bool(!*truth),
                Value::Bin(bytes) => {
                    let mut bytes = bytes.to_vec();
                    match bytes.len() {
                        0 => bytes.push(1),
                        len => bytes[random.random_range(0..len)] ^= 1 << random.random_range(0..8),
                    }
                    Value::Bin(bytes.into())
                }
            };
        }
    }
    row
}

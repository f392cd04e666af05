//! Readers that race writers see every event once, in order; and what verifying costs.
//!
//! `ANNALS_RACE_EVENTS`, `ANNALS_RACE_AZURITE` and `ANNALS_VERIFY_EVENTS` give the full sizes (50000, 3000, 100000);
//! an ordinary run is content with less.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use annals::{
    domain::event::RecordedBy,
    feed::all_stream::{self, Query},
    store::{Delivery, embedded::Embedded},
    testing::azurite::Azurite,
};
use futures::StreamExt;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    handler::Handler,
    history::{acme, event, events, store, until},
    memory::Memory,
};

fn size(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[expect(clippy::print_stderr, reason = "figures are for whoever runs the test")]
fn figure(line: &str) {
    eprintln!("figure: {line}");
}

async fn page(handler: &Handler, query: &str) -> Value {
    let (status, page) = handler.api("GET", &format!("/api/tenants/acme/events?{query}"), None).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    page
}

/// Sends messages of ten events each until `count` are stored.
async fn write(handlers: &[Arc<Handler>], count: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let writers = (0..16).map(|writer| {
        let (handler, next) = (Arc::clone(&handlers[writer % handlers.len()]), Arc::clone(&next));
        tokio::spawn(async move {
            let mut random = SmallRng::seed_from_u64(writer as u64);
            loop {
                let from = next.fetch_add(10, Ordering::Relaxed);
                if from >= count {
                    return;
                }
                let batch: Vec<Value> = (from..(from + 10).min(count))
                    .map(|n| {
                        let mut event = event(n as u64, &mut random);
                        event["tenantid"] = json!("acme");
                        event
                    })
                    .collect();
                let mut deliveries = 1;
                while let Err(error) = handler.invoke("ingest", &json!(batch).to_string(), deliveries).await {
                    assert!(deliveries < 50, "{error}");
                    deliveries += 1;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.unwrap();
    }
}

/// Follows the log, with pauses and pages of any size, until it has seen `count` events of the senders.
async fn follow(handler: Arc<Handler>, count: usize, seed: u64) -> BTreeMap<String, Vec<u64>> {
    let mut random = SmallRng::seed_from_u64(seed);
    tokio::time::sleep(Duration::from_millis(random.random_range(0..1_500))).await;
    let (mut seen, mut ids, mut cursor) = (BTreeMap::<String, Vec<u64>>::new(), 0, String::new());
    let started = Instant::now();
    while ids < count {
        assert!(started.elapsed() < Duration::from_secs(580), "only {ids} of {count} came");
        let limit = random.random_range(1..700);
        let page = page(&handler, &format!("limit={limit}&wait=2{cursor}")).await;
        for event in page["events"].as_array().unwrap() {
            let partition = event["position"]["partition"].as_str().unwrap().to_owned();
            seen.entry(partition).or_default().push(event["position"]["sequence"].as_u64().unwrap());
            ids += usize::from(event["id"].as_str().unwrap().starts_with("e-"));
        }
        cursor = format!("&after={}", page["cursor"].as_str().unwrap());
        if random.random_bool(0.1) {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
        }
    }
    seen
}

async fn race(handlers: Vec<Arc<Handler>>, count: usize) {
    let begin = page(&handlers[0], "limit=1").await["cursor"].as_str().unwrap().to_owned();
    let readers: Vec<_> = (0..4)
        .map(|seed| tokio::spawn(follow(Arc::clone(&handlers[seed % handlers.len()]), count, seed as u64)))
        .collect();
    write(&handlers, count).await;
    for reader in readers {
        for (partition, sequences) in reader.await.unwrap() {
            let all: Vec<u64> = (1..=sequences.len() as u64).collect();
            assert_eq!(sequences, all, "{partition}: every event once, in order");
        }
    }
    // What lies between two cursors is the same however often it is read.
    let middle = page(&handlers[0], "limit=200").await["cursor"].as_str().unwrap().to_owned();
    let range = format!("limit=1000&after={begin}&until={middle}");
    let once = page(&handlers[0], &range).await["events"].clone();
    assert!(once.as_array().unwrap().len() >= 150.min(count));
    for handler in &handlers {
        assert_eq!(page(handler, &range).await["events"], once);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_racing_writers_miss_nothing_on_the_embedded_store() {
    let folder = tempfile::tempdir().unwrap();
    let handler = Handler::start(&[("ANNALS_DATA_DIR", folder.path().to_str().unwrap())]).await;
    let settings = json!({ "partitions": 2 });
    assert_eq!(handler.api("PUT", "/api/tenants/acme", Some(&settings)).await.0, StatusCode::CREATED);
    race(vec![Arc::new(handler)], size("ANNALS_RACE_EVENTS", 2_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_racing_four_writing_processes_miss_nothing_on_azurite() {
    let azurite = Azurite::start().unwrap();
    let mut handlers = Vec::new();
    for _ in 0..4 {
        handlers.push(Arc::new(Handler::start(&[("AnnalsStorage", &azurite.connection_string())]).await));
    }
    handlers[0].register("acme").await;
    race(handlers, size("ANNALS_RACE_AZURITE", 300)).await;
}

#[test]
fn verifying_stays_small_and_reads_no_data_unless_asked() {
    let count = size("ANNALS_VERIFY_EVENTS", 5_000);
    let folder = tempfile::tempdir().unwrap();
    // A runtime of its own: with it end the committers, which hold the folder.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = store(Arc::new(Embedded::open(folder.path()).unwrap()));
        let tenant = acme(&store, 1).await;
        let mut random = SmallRng::seed_from_u64(1);
        let all: Vec<Value> = (0..count).map(|n| event(n as u64, &mut random)).collect();
        let stored = futures::stream::iter(all)
            .map(|event| {
                let (store, tenant) = (&store, &tenant);
                async move {
                    store
                        .append(tenant, events(&event), Delivery::direct(RecordedBy::annals()), until())
                        .await
                }
            })
            .buffer_unordered(200);
        stored.for_each(async |answer| drop(answer.unwrap())).await;
        let (log, history) = (store.log(&tenant), store.history(&tenant));
        let (started, mut read, mut after) = (Instant::now(), 0, None);
        loop {
            let page = all_stream::read(&log, &history, &Query::after(after, 1_000)).await.unwrap();
            read += page.items.len();
            after = Some(page.places);
            if page.end {
                break;
            }
        }
        assert!(read >= count);
        figure(&format!("embedded: {:.0} events/s read", read as f64 / started.elapsed().as_secs_f64()));
    });
    drop(runtime);
    for arguments in [&[][..], &["--include-data"]] {
        let started = Instant::now();
        let (peak, said) = peak(folder.path().to_str().unwrap(), arguments);
        figure(&format!(
            "embedded: verify {arguments:?} of {count} events at {:.0} events/s, {peak} KiB at most",
            count as f64 / started.elapsed().as_secs_f64()
        ));
        let with_data = !arguments.is_empty();
        assert!(with_data || peak < 64 * 1024, "{peak} KiB: {said}");
    }
}

/// Runs `annals verify`; the most memory that it had, in KiB.
fn peak(folder: &str, arguments: &[&str]) -> (u64, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_annals"))
        .args(["verify", "--tenant", "acme", "--data", folder])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let most = most.and_then(|text| text.trim().trim_end_matches("kB").trim().parse().ok());
        peak = peak.max(most.unwrap_or_default());
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    (peak, said)
}

#[tokio::test]
async fn a_thousand_events_are_read_with_few_requests() {
    let memory = Memory::new(1);
    let store = store(Arc::clone(&memory) as _);
    let tenant = acme(&store, 1).await;
    let mut random = SmallRng::seed_from_u64(1);
    for n in 0..1_000 {
        let delivery = Delivery::direct(RecordedBy::annals());
        store.append(&tenant, events(&event(n, &mut random)), delivery, until()).await.unwrap();
    }
    let (log, history) = (store.log(&tenant), store.history(&tenant));
    let before = memory.requests.load(Ordering::Relaxed);
    let mut after = None;
    loop {
        let page = all_stream::read(&log, &history, &Query::after(after, 100)).await.unwrap();
        after = Some(page.places);
        if page.end {
            break;
        }
    }
    // One event a commit, the worst case: one scan a page of a hundred.
    let requests = memory.requests.load(Ordering::Relaxed) - before;
    assert!(requests <= 12, "{requests}");
    let before = memory.requests.load(Ordering::Relaxed);
    let report =
        annals::verify::verify(&log, &annals::verify::Options::default(), None, None, &|_| {}).await.unwrap();
    let annals::verify::Outcome::Done(report) = report else { unreachable!("there is no time limit") };
    assert!(report.is_clean());
    let requests = memory.requests.load(Ordering::Relaxed) - before;
    assert!(requests <= 24, "{requests}");
    figure(&format!("requests to verify 1,000 events in 1,000 commits: {requests}"));
}

//! The all-stream, verification, erasure, export and checkpoints, end to end over the real port and
//! through the command line.

use std::{
    process::{Command, Output},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use annals::{
    feed::all_stream::{self, Direction, Query, ReadFailure},
    verify::{self, Anchor, Options, Outcome},
};
use rand::{SeedableRng, rngs::SmallRng};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    handler::Handler,
    history::{acme, event, in_pieces, play, store, verified},
    memory::Memory,
};

pub(crate) async fn embedded(settings: &[(&str, &str)]) -> (TempDir, Handler) {
    let folder = tempfile::tempdir().unwrap();
    let mut all = vec![("ANNALS_DATA_DIR", folder.path().to_str().unwrap())];
    all.extend(settings);
    let handler = Handler::start(&all).await;
    handler.register("acme").await;
    (folder, handler)
}

pub(crate) async fn get(handler: &Handler, path: &str) -> Value {
    let (status, body) = handler.api("GET", &format!("/api/tenants/acme/{path}"), None).await;
    assert_eq!(status, StatusCode::OK, "{path}: {body}");
    body
}

pub(crate) async fn post(handler: &Handler, path: &str, body: Value) -> Value {
    let (status, answer) = handler.api("POST", &format!("/api/tenants/acme/{path}"), Some(&body)).await;
    assert!(status.is_success(), "{path}: {status} {answer}");
    answer
}

/// Events `from` to `to`, each with data that nothing else holds.
pub(crate) async fn fill(handler: &Handler, from: u64, to: u64) {
    let mut random = SmallRng::seed_from_u64(from);
    for n in from..to {
        post(handler, "events", event(n, &mut random)).await;
    }
}

pub(crate) fn annals(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_annals"))
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap_or_default())
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn sequences(page: &Value) -> Vec<u64> {
    let events = page["events"].as_array().unwrap();
    events.iter().map(|event| event["position"]["sequence"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_follows_the_log_page_by_page_and_waits_for_news() {
    let (_folder, handler) = embedded(&[]).await;
    let begun = get(&handler, "events").await;
    let old = sequences(&begun).len() as u64;
    fill(&handler, 0, 25).await;
    let mut seen = Vec::new();
    let mut cursor = begun["cursor"].as_str().unwrap().to_owned();
    loop {
        let page = get(&handler, &format!("events?limit=7&after={cursor}")).await;
        seen.extend(sequences(&page));
        let next = page["cursor"].as_str().unwrap().to_owned();
        if page["end"] == json!(true) && page["events"].as_array().unwrap().is_empty() {
            break;
        }
        assert_ne!(next, cursor, "a page moves the cursor on");
        cursor = next;
    }
    assert_eq!(seen, (old + 1..=old + 25).collect::<Vec<_>>());
    // Newest first, to the beginning.
    let mut newest = sequences(&get(&handler, "events?order=desc&limit=1000").await);
    newest.reverse();
    assert_eq!(newest, (1..=old + 25).collect::<Vec<_>>());
    // Filtered out: the cursor moves on all the same.
    let none =
        get(&handler, &format!("events?type=nothing&after={}", begun["cursor"].as_str().unwrap())).await;
    assert!(none["events"].as_array().unwrap().is_empty() && none["end"] == json!(true));
    assert!(
        get(&handler, &format!("events?after={}", none["cursor"].as_str().unwrap())).await["events"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let marain =
        get(&handler, "events?type=io.marain.*&category=workflow-instance&include=data&limit=1000").await;
    let all = marain["events"].as_array().unwrap();
    assert!(
        !all.is_empty() && all.iter().all(|event| event["type"].as_str().unwrap().starts_with("io.marain."))
    );
    assert!(all.iter().all(|event| event["data"]["newStatus"] == json!("waiting")));
    // Time: halfway through.
    let middle = get(&handler, &format!("events?limit=1&after={cursor}&wait=0")).await;
    assert!(middle["events"].as_array().unwrap().is_empty());
    let third =
        get(&handler, "events?limit=1000").await["events"][5]["recordedTime"].as_str().unwrap().to_owned();
    let later = get(&handler, &format!("events?limit=1000&from={third}")).await;
    assert_eq!(sequences(&later).first(), Some(&6));
    assert_eq!(
        sequences(&get(&handler, &format!("events?limit=1000&to={third}")).await),
        vec![1, 2, 3, 4, 5]
    );
    // A reader that waits hears of what comes.
    let waiting = async {
        let started = Instant::now();
        let page = get(&handler, &format!("events?after={cursor}&wait=20")).await;
        (sequences(&page), started.elapsed())
    };
    let sending = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        fill(&handler, 900, 901).await;
    };
    let ((news, took), ()) = tokio::join!(waiting, sending);
    assert_eq!(news, vec![old + 26]);
    assert!(took < Duration::from_secs(15), "{took:?}");
    // More than the seats of a tenant: an answer at once.
    let end = get(&handler, "events?limit=1000").await["cursor"].as_str().unwrap().to_owned();
    let path = format!("/api/tenants/acme/events?after={end}&wait=3");
    let asked = (0..8).map(|_| handler.send("GET", &path, &[], None));
    let answers = futures::future::join_all(asked).await;
    let turned_away = answers.iter().filter(|answer| answer.headers().contains_key("retry-after")).count();
    assert!(turned_away >= 4, "{turned_away}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_shares_a_correlation_id_is_found_and_consumers_keep_their_place() {
    let (_folder, handler) = embedded(&[]).await;
    fill(&handler, 0, 40).await;
    let all = get(&handler, "events?limit=1000").await;
    let wanted: Vec<u64> = all["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["correlationId"] == json!("c-1"))
        .map(|event| event["position"]["sequence"].as_u64().unwrap())
        .collect();
    let (mut found, mut query) = (Vec::new(), String::new());
    loop {
        let page = get(&handler, &format!("correlations/c-1/events?limit=2{query}")).await;
        found.extend(sequences(&page));
        match page["cursor"].as_str() {
            Some(next) => query = format!("&cursor={next}"),
            None => break,
        }
    }
    assert!(!wanted.is_empty());
    assert_eq!(found, wanted);
    assert_eq!(sequences(&get(&handler, "events?limit=1000&correlation=c-1").await), wanted);

    let early = get(&handler, "events?limit=5").await["cursor"].clone();
    let late = get(&handler, "events?limit=20").await["cursor"].clone();
    let put =
        async |body: Value| handler.api("PUT", "/api/tenants/acme/consumers/billing", Some(&body)).await;
    assert_eq!(put(json!({ "cursor": late })).await.0, StatusCode::CREATED);
    let (status, problem) = put(json!({ "cursor": early })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("place-moved-back")));
    let kept = get(&handler, "consumers/billing").await;
    let events = sequences(&all).len() - 20;
    assert_eq!(kept["lag"]["events"], json!(events));
    assert_eq!(put(json!({ "cursor": early, "reset": true })).await.0, StatusCode::OK);
    assert_eq!(get(&handler, "consumers").await["consumers"][0]["lag"]["events"], json!(events + 15));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_rewound_is_told_from_one_that_went_on() {
    let mut random = SmallRng::seed_from_u64(3);
    let memory = Memory::new(3);
    let early = store(Arc::clone(&memory) as _);
    let tenant = acme(&early, 1).await;
    play(&early, &tenant, 20, &mut random).await;
    let restored = memory.copy();
    play(&early, &tenant, 20, &mut random).await;
    let read = async |memory: &Arc<Memory>, after| {
        let store = store(Arc::clone(memory) as _);
        all_stream::read(&store.log(&tenant), &store.history(&tenant), &Query::after(after, 1_000)).await
    };
    let page = read(&memory, None).await.unwrap();
    assert!(read(&memory, Some(page.places.clone())).await.unwrap().items.is_empty());
    // The end is gone.
    assert!(matches!(read(&restored, Some(page.places.clone())).await, Err(ReadFailure::Changed)));
    // Something else stands there now.
    let other = store(Arc::clone(&restored) as _);
    play(&other, &tenant, 60, &mut SmallRng::seed_from_u64(4)).await;
    assert!(matches!(read(&restored, Some(page.places)).await, Err(ReadFailure::Changed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_a_log_that_was_restored_is_told_so() {
    let (folder, handler) = embedded(&[]).await;
    fill(&handler, 0, 10).await;
    drop(handler);
    let backup = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), backup.path().join(file.file_name())).unwrap();
    }
    let start = async |folder: &TempDir| {
        Handler::start(&[("ANNALS_DATA_DIR", folder.path().to_str().unwrap())]).await
    };
    let handler = start(&folder).await;
    fill(&handler, 10, 20).await;
    let asked = async |handler: &Handler, cursor: &Value, more: &str| {
        let path = format!("/api/tenants/acme/events?after={}{more}", cursor.as_str().unwrap());
        handler.api("GET", &path, None).await
    };
    let cursor = get(&handler, "events?limit=1000").await["cursor"].clone();
    let early = get(&handler, "events?limit=5").await["cursor"].clone();
    let newest = get(&handler, "events?limit=3&order=desc").await["cursor"].clone();
    assert_eq!(asked(&handler, &cursor, "").await.0, StatusCode::OK);
    drop(handler);
    let handler = start(&backup).await;
    // It ends before the cursor, and then holds something else there.
    for round in 0..2 {
        for (cursor, more) in [(&cursor, ""), (&cursor, "&wait=2"), (&newest, "&order=desc")] {
            let (status, problem) = asked(&handler, cursor, more).await;
            let told = (status, &problem["code"]);
            assert_eq!(told, (StatusCode::GONE, &json!("history-changed")), "{round} {more}: {problem}");
        }
        assert_eq!(asked(&handler, &early, "").await.0, StatusCode::OK, "the past that is shared");
        fill(&handler, 100, 120).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_is_found_by_halving_and_not_by_reading() {
    let memory = Memory::new(9);
    let store = store(Arc::clone(&memory) as _);
    let tenant = acme(&store, 1).await;
    play(&store, &tenant, 1_500, &mut SmallRng::seed_from_u64(9)).await;
    let (log, history) = (store.log(&tenant), store.history(&tenant));
    let all = all_stream::read(&log, &history, &Query::after(None, 100_000)).await.unwrap().items;
    assert!(all.len() >= 1_200, "{}", all.len());
    for at in [0, 1, 7, all.len() / 3, all.len() / 2, all.len() - 1] {
        let time = all[at].recorded;
        let wanted: Vec<_> =
            all.iter().filter(|item| item.recorded >= time).map(|item| item.position).collect();
        let before = memory.requests.load(Ordering::Relaxed);
        let query = Query { from: Some(time), ..Query::after(None, 10) };
        let page = all_stream::read(&log, &history, &query).await.unwrap();
        let asked = memory.requests.load(Ordering::Relaxed) - before;
        assert!(asked <= 15, "{asked} requests for the time of event {at}");
        let found: Vec<_> = page.items.iter().map(|item| item.position).collect();
        assert_eq!(found, wanted[..wanted.len().min(10)]);
        let query = Query { to: Some(time), direction: Direction::Backward, ..Query::after(None, 10) };
        let page = all_stream::read(&log, &history, &query).await.unwrap();
        let found: Vec<_> = page.items.iter().map(|item| item.position).collect();
        let earlier: Vec<_> =
            all.iter().rev().filter(|item| item.recorded < time).map(|item| item.position).take(10).collect();
        assert_eq!(found, earlier);
    }
}

#[tokio::test(start_paused = true)]
async fn a_past_rewritten_whole_is_found_through_a_checkpoint_alone() {
    let memory = Memory::new(5);
    let honest = store(Arc::clone(&memory) as _);
    let tenant = acme(&honest, 1).await;
    let before = memory.copy();
    play(&honest, &tenant, 30, &mut SmallRng::seed_from_u64(5)).await;
    let head = honest.log(&tenant).head(tenant.partitions().next().unwrap()).await.unwrap();
    let partition = tenant.partitions().next().unwrap();
    let anchors = vec![Anchor { partition, sequence: head.last, digest: head.digest }];
    // The forger writes the same log with other events, every digest right.
    let forged = store(Arc::clone(&before) as _);
    play(&forged, &tenant, 60, &mut SmallRng::seed_from_u64(6)).await;
    assert!(verified(&forged, &tenant).await.is_clean());
    let options = Options { anchors, ..Options::default() };
    for (store, clean) in [(&honest, true), (&forged, false)] {
        let outcome = verify::verify(&store.log(&tenant), &options, None, None, &|_| {}).await.unwrap();
        let Outcome::Done(report) = outcome else { unreachable!("there is no time limit") };
        assert_eq!(report.is_clean(), clean, "{report:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_goes_on_in_many_calls_finds_the_same() {
    let memory = Memory::new(8);
    let all = store(Arc::clone(&memory) as _);
    let tenant = acme(&all, 3).await;
    play(&all, &tenant, 120, &mut SmallRng::seed_from_u64(8)).await;
    let run = async |memory: &Arc<Memory>| in_pieces(&store(Arc::clone(memory) as _), &tenant).await;
    let (report, calls) = run(&memory).await;
    assert!(report.is_clean() && calls > 3, "{calls}: {report:#?}");
    let copy = memory.copy();
    let gone = copy
        .state()
        .rows
        .keys()
        .find(|(table, _, key)| *table == tenant.table.as_str() && key.starts_with("s|"))
        .unwrap()
        .clone();
    copy.state().rows.remove(&gone);
    let (report, _) = run(&copy).await;
    assert_eq!(report.differences.first().map(|difference| &difference.row), Some(&gone.2), "{report:#?}");
}

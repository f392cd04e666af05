//! Pages of the all-stream have a budget of bytes, and partitions are merged by the time of recording.

use std::{collections::BTreeMap, sync::Arc};

use annals::verify::{Completeness, Wanted, completeness};
use rand::{SeedableRng, rngs::SmallRng};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    proof::{embedded, fill, get, post},
    support::{
        handler::Handler,
        history::{acme, play, store},
        memory::Memory,
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn pages_with_large_data_end_early_and_nothing_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let handler = Handler::start(&[("ANNALS_DATA_DIR", folder.path().to_str().unwrap())]).await;
    let settings = json!({ "partitions": 2 });
    assert_eq!(handler.api("PUT", "/api/tenants/acme", Some(&settings)).await.0, StatusCode::CREATED);
    for n in 0..24 {
        let event = json!({
            "specversion": "1.0", "id": format!("e-{n}"), "source": "/s", "type": "t", "subject": format!("x-{n}"),
            "data": { "text": "d".repeat(400_000) },
        });
        post(&handler, "events", event).await;
    }
    let small = get(&handler, "events?limit=1000").await;
    let wanted: Vec<_> =
        small["events"].as_array().unwrap().iter().map(|event| event["position"].clone()).collect();
    for order in ["asc", "desc"] {
        let (mut seen, mut pages, mut after) = (Vec::new(), 0, String::new());
        loop {
            let path = format!("/api/tenants/acme/events?limit=1000&include=data&order={order}{after}");
            let body = handler.send("GET", &path, &[], None).await.text().await.unwrap();
            assert!(body.len() < 5 << 20, "a page of {} bytes", body.len());
            let page: Value = serde_json::from_str(&body).unwrap();
            pages += 1;
            seen.extend(page["events"].as_array().unwrap().iter().map(|event| event["position"].clone()));
            if page["end"] == json!(true) {
                break;
            }
            after = format!("&after={}", page["cursor"].as_str().unwrap());
        }
        assert!(pages >= 3, "{pages}");
        if order == "desc" {
            seen.reverse();
        }
        assert_eq!(seen, wanted, "{order}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_never_move_a_consumer_back() {
    let (_folder, handler) = embedded(&[]).await;
    fill(&handler, 0, 40).await;
    let mut cursors = Vec::new();
    for limit in 1..=40 {
        cursors.push(get(&handler, &format!("events?limit={limit}")).await["cursor"].clone());
    }
    let path = "/api/tenants/acme/consumers/billing";
    // Each tells every place that it comes by, one of them always a little behind.
    let worker = async |from: usize| {
        let mut late = 0;
        for cursor in &cursors[from..] {
            let (status, answer) = handler.api("PUT", path, Some(&json!({ "cursor": cursor }))).await;
            match status {
                StatusCode::OK | StatusCode::CREATED => {}
                StatusCode::CONFLICT => late += 1,
                other => panic!("{other} {answer}"),
            }
        }
        late
    };
    let late = tokio::join!(worker(0), worker(5), worker(5), worker(0));
    let kept = get(&handler, "consumers/billing").await;
    assert_eq!(kept["cursor"], cursors[39], "whoever came last: {late:?} were refused");
    // Only from the version that was read, where somebody wants to know.
    let body = json!({ "cursor": cursors[39] }).to_string().into_bytes();
    let headers = [("content-type", "application/json"), ("if-match", "\"1\"")];
    let stale = handler.send("PUT", path, &headers, Some(body)).await;
    assert_eq!(stale.status(), StatusCode::PRECONDITION_FAILED);
}

#[tokio::test(start_paused = true)]
async fn a_count_that_goes_on_in_many_calls_comes_to_the_same() {
    let memory = Memory::new(4);
    let store_of = |memory: &Arc<Memory>| store(Arc::clone(memory) as _);
    let all = store_of(&memory);
    let tenant = acme(&all, 64).await;
    play(&all, &tenant, 300, &mut SmallRng::seed_from_u64(4)).await;
    // In one call, and in calls whose time is always up, with nothing but their state in between.
    let count = async |memory: &Arc<Memory>, patience: u64| {
        let log = store_of(memory).log(&tenant);
        let (mut state, mut spans, mut gaps, mut calls) = (None::<Completeness>, Vec::new(), Vec::new(), 0);
        loop {
            calls += 1;
            let until = tokio::time::Instant::now() + std::time::Duration::from_secs(patience);
            let mut now = completeness(&log, &Wanted::default(), state.take(), until).await.unwrap();
            let told = (now.is_complete(), now.is_closed(), now.events());
            let (found, missing) = now.hand_over();
            spans.extend(found.iter().map(|span| json!(span)));
            gaps.extend(missing);
            assert_eq!((now.is_complete(), now.is_closed(), now.events()), told);
            if now.is_done() {
                return (told, spans, gaps, calls);
            }
            let text = serde_json::to_string(&now).unwrap();
            assert!(text.len() < 1_000, "{text}");
            state = Some(serde_json::from_str(&text).unwrap());
        }
    };
    let (told, spans, gaps, calls) = count(&memory, 100).await;
    assert_eq!((calls, told.0, spans.len(), gaps.len()), (1, true, 64, 0));
    let pieces = count(&memory, 0).await;
    assert!(pieces.3 > 3, "{} calls", pieces.3);
    assert_eq!((pieces.0, &pieces.1), (told, &spans));
    // A commit is gone: the last answer says so, whichever call saw it.
    let copy = memory.copy();
    let mut commits = BTreeMap::<String, Vec<_>>::new();
    for key in copy
        .state()
        .rows
        .keys()
        .filter(|(table, _, key)| *table == tenant.table.as_str() && key.starts_with("c|0"))
    {
        commits.entry(key.1.clone()).or_default().push(key.clone());
    }
    let gone = commits.values().find(|all| all.len() > 2).unwrap()[0].clone();
    copy.state().rows.remove(&gone);
    for patience in [0, 100] {
        let (told, _, gaps, _) = count(&copy, patience).await;
        assert_eq!((told.0, gaps.len()), (false, 1), "{gaps:?}");
    }
}

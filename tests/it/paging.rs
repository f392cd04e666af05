//! Pages of the all-stream have a budget of bytes, and partitions are merged by the time of recording.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    proof::{embedded, fill, get, post},
    support::handler::Handler,
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

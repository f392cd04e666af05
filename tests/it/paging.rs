//! Pages of the all-stream have a budget of bytes, and partitions are merged by the time of recording.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    proof::{get, post},
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

//! Appends over HTTP: identities and expected versions.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    handler::embedded,
    read::{assert_contiguous, everything},
};

#[tokio::test]
async fn one_identity_with_other_content_is_refused_and_names_the_first() {
    let (_folder, handler) = embedded().await;
    let event = |text: &str| json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "t", "subject": "x", "data": text });
    let (status, first) = handler.api("POST", "/api/tenants/acme/events", Some(&event("a"))).await;
    assert_eq!(status, StatusCode::CREATED, "{first}");
    let (status, again) = handler.api("POST", "/api/tenants/acme/events", Some(&event("a"))).await;
    assert_eq!((status, &again[0]["position"]), (StatusCode::OK, &first[0]["position"]));
    let (status, problem) = handler.api("POST", "/api/tenants/acme/events", Some(&event("b"))).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("identity-reused")));
    assert_eq!(problem["position"], first[0]["position"]);
}

#[tokio::test]
async fn an_expected_version_decides_and_a_batch_is_whole_or_nothing() {
    let (_folder, handler) = embedded().await;
    let event = |id: &str, expected: Value| json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "t", "subject": "x", "expectedversion": expected });
    let append = async |body: Value| handler.api("POST", "/api/tenants/acme/events", Some(&body)).await;
    assert_eq!(append(event("1", json!("no-stream"))).await.0, StatusCode::CREATED);
    let (status, problem) = append(event("2", json!("no-stream"))).await;
    assert_eq!(
        (status, &problem["code"], &problem["actual"]),
        (StatusCode::CONFLICT, &json!("version-conflict"), &json!(1))
    );
    // A retry of what was stored gets its first answer before its version is looked at.
    assert_eq!(append(event("1", json!("no-stream"))).await.0, StatusCode::OK);
    assert_eq!(append(json!([event("3", json!(1)), event("4", json!(7))])).await.0, StatusCode::CONFLICT);
    assert_eq!(append(json!([event("3", json!(1)), event("4", json!(2))])).await.0, StatusCode::CREATED);
    let (_, stream) = handler.api("GET", "/api/tenants/acme/streams/event/x", None).await;
    assert_eq!(stream["version"], 3);
    let body = event("5", json!("any")).to_string().replace(r#""expectedversion":"any","#, "").into_bytes();
    let headers = [("content-type", "application/cloudevents+json"), ("if-match", "\"2\"")];
    assert_eq!(
        handler.send("POST", "/api/tenants/acme/events", &headers, Some(body)).await.status(),
        StatusCode::CONFLICT
    );
}

/// What the README says of a batch, at both of its ends.
#[tokio::test]
async fn a_batch_of_thirty_events_and_most_of_four_mebibytes_is_one_commit_and_more_is_refused_whole() {
    let (_folder, handler) = embedded().await;
    let append = async |body: Value| handler.api("POST", "/api/tenants/acme/events", Some(&body)).await;
    let batch = |prefix: &str, count: usize, streams: usize, bytes: usize| -> Value {
        let event = |n: usize| {
            json!({
                "specversion": "1.0", "id": format!("{prefix}-{n}"), "source": "/s", "type": "t.x",
                "subject": format!("{prefix}-{}", n % streams), "data": { "text": "x".repeat(bytes) },
            })
        };
        (0..count).map(event).collect()
    };
    for (prefix, streams) in [("many", 30), ("one", 1)] {
        let (status, body) = append(batch(prefix, 30, streams, 90_000)).await;
        assert_eq!(status, StatusCode::CREATED, "{prefix}: {body}");
    }
    for (prefix, count, bytes) in [("rows", 40, 10), ("bytes", 30, 110_000)] {
        let (status, body) = append(batch(prefix, count, count, bytes)).await;
        assert_eq!(
            (status, &body["code"]),
            (StatusCode::PAYLOAD_TOO_LARGE, &json!("batch-too-large")),
            "{prefix}"
        );
    }
    assert_contiguous(&everything(&handler, "acme").await, 60);
}

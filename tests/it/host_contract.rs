//! The wire contract with the Functions host, byte for byte: the captured requests of
//! `tests/fixtures/host` against the built handler.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    handler::Handler,
    raw::{Answer, Framing, exchange, post},
};

const FUNCTIONS: [&str; 6] = ["ingest", "ingest-poison", "publish", "publish-poison", "sweep", "gauge"];
/// Those that a timer starts.
const TIMERS: [&str; 2] = ["sweep", "gauge"];

async fn handler() -> (TempDir, Handler) {
    let folder = tempfile::tempdir().unwrap();
    let handler = Handler::start(&[("ANNALS_DATA_DIR", folder.path().to_str().unwrap())]).await;
    handler.register("acme").await;
    (folder, handler)
}

fn captured(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/host/2024-10-25");
    std::fs::read(format!("{folder}/{name}")).unwrap()
}

fn captured_names(prefix: &str) -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/host/2024-10-25");
    let files = std::fs::read_dir(folder).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let names: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
    assert!(!names.is_empty(), "no fixture is called {prefix}…");
    names
}

async fn invoke(handler: &Handler, function: &str, fixture: &str, framing: Framing) -> Answer {
    let host = format!("127.0.0.1:{}", handler.port);
    exchange(handler.port, &post(&host, &format!("/{function}"), &captured(fixture), framing)).await
}

/// What the host takes for a success: anything less leaves it waiting until functionTimeout.
fn outputs(answer: &Answer, what: &str) -> Value {
    assert_eq!(answer.status, 200, "{what}: {}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("content-type"), Some("application/json"), "{what}");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(body.is_object(), "{what}: {body}");
    body["Outputs"].clone()
}

#[tokio::test]
async fn every_captured_message_is_answered_with_a_success_by_every_function() {
    let (_folder, handler) = handler().await;
    for function in FUNCTIONS {
        let fixtures =
            if TIMERS.contains(&function) { captured_names("timer") } else { captured_names("queue-") };
        for fixture in fixtures {
            for framing in [Framing::Length, Framing::Chunked] {
                let answer = invoke(&handler, function, &fixture, framing).await;
                outputs(&answer, &format!("{function} {fixture} {framing:?}"));
            }
        }
    }
    // None of them is an event. Each is kept, once, whatever function met it and however often:
    // the whole message, or each element of the one that is an array of two.
    let (_, list) = handler.api("GET", "/api/dead-letters?limit=1000", None).await;
    let letters = list["deadLetters"].as_array().unwrap();
    let ingested = letters.iter().filter(|letter| letter["queue"] == "annals-ingest").count();
    assert_eq!(ingested, captured_names("queue-").len() + 1, "{list}");
}

#[tokio::test]
async fn an_event_is_the_same_in_both_modes_with_and_without_a_length() {
    let (_folder, handler) = handler().await;
    for fixture in ["ingest-binary-cloud-event.json", "ingest-string-cloud-event.json"] {
        for framing in [Framing::Chunked, Framing::Length] {
            let outputs = outputs(&invoke(&handler, "ingest", fixture, framing).await, fixture);
            let events = outputs["events"].as_array().unwrap();
            assert_eq!(events.len(), 1, "{fixture} {framing:?}");
            let event: Value = serde_json::from_str(events[0].as_str().expect("a JSON text")).unwrap();
            assert_eq!((&event["id"], &event["data"]["eventId"]), (&json!("p00-2"), &json!("captured-1")));
        }
    }
    let (_, stream) = handler.api("GET", "/api/tenants/acme/streams/workflow-instance/i-1", None).await;
    assert_eq!((&stream["version"], &stream["status"]), (&json!(1), &json!("waiting")));
    let published = invoke(&handler, "publish", "publish-binary.json", Framing::Chunked).await;
    let published = outputs(&published, "publish").to_string();
    assert!(!published.contains("captured-1"), "`ingest` has published it itself: {published}");
}

#[tokio::test]
async fn metadata_that_a_message_overrides_changes_nothing() {
    let (_folder, handler) = handler().await;
    // The same message under metadata that says anything at all about id, count and time.
    let mut forged: Value = serde_json::from_slice(&captured("ingest-string-cloud-event.json")).unwrap();
    for (count, id) in [("\"99\"", "\"a\""), ("\"True\"", "\"b\""), ("\"\"", "\"c\"")] {
        forged["Metadata"]["DequeueCount"] = json!(count);
        forged["Metadata"]["Id"] = json!(id);
        forged["Metadata"]["sys"] = json!({ "MethodName": "sweep" });
        let host = format!("127.0.0.1:{}", handler.port);
        let request = post(&host, "/ingest", forged.to_string().as_bytes(), Framing::Chunked);
        let events = outputs(&exchange(handler.port, &request).await, count);
        let event: Value = serde_json::from_str(events["events"][0].as_str().unwrap()).unwrap();
        assert_eq!((&event["id"], &event["data"]["eventId"]), (&json!("p00-2"), &json!("captured-1")));
    }
    // One that can never be stored is one dead letter, whatever it says about itself.
    let mut letter: Value = serde_json::from_slice(&captured("queue-string-merged-metadata.json")).unwrap();
    for (count, id) in [("\"99\"", "\"a\""), ("\"5\"", "\"b\"")] {
        letter["Metadata"]["DequeueCount"] = json!(count);
        letter["Metadata"]["Id"] = json!(id);
        let host = format!("127.0.0.1:{}", handler.port);
        let request = post(&host, "/ingest", letter.to_string().as_bytes(), Framing::Length);
        outputs(&exchange(handler.port, &request).await, id);
    }
    let (_, list) = handler.api("GET", "/api/dead-letters", None).await;
    let letters = list["deadLetters"].as_array().unwrap();
    assert_eq!((letters.len(), &letters[0]["dequeueCount"]), (1, &json!(1)), "{list}");
}

#[tokio::test]
async fn a_forwarded_request_is_served_as_the_client_sent_it() {
    let (_folder, handler) = handler().await;
    let answer = exchange(handler.port, &captured("http-forwarded-post.http")).await;
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &body[0]["stream"]), (201, &json!("event/n-1")), "{body}");
    let answer = exchange(handler.port, &captured("http-forwarded-get.http")).await;
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &body["events"][0]["id"]), (200, &json!("captured-2")), "{body}");
    // A newer host proxies instead of forwarding: bodies arrive chunked, and are refused alike.
    let event = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"x"}"#;
    let chunked = post("app.azurewebsites.net", "/api/tenants/acme/events", event, Framing::Chunked);
    let answer = exchange(handler.port, &chunked).await;
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &problem["code"]), (411, &json!("length-required")));
}

#[tokio::test]
async fn an_http_request_that_is_not_forwarded_fails() {
    let (_folder, handler) = handler().await;
    let answer = invoke(&handler, "http", "http-not-forwarded.json", Framing::Chunked).await;
    assert_eq!(answer.status, 500);
}

#[tokio::test]
async fn names_are_case_exact_and_only_the_host_itself_invokes() {
    let (_folder, handler) = handler().await;
    let body = captured("ingest-binary-cloud-event.json");
    let own = format!("127.0.0.1:{}", handler.port);
    let refused = [
        (own.as_str(), "/Ingest"),
        (own.as_str(), "/api/ingest"),
        ("app.azurewebsites.net", "/ingest"),
        ("localhost", "/ingest"),
        ("127.0.0.1:1", "/ingest"),
    ];
    for (host, path) in refused {
        let answer = exchange(handler.port, &post(host, path, &body, Framing::Chunked)).await;
        assert_eq!(answer.status, 404, "{host}{path}");
    }
    let (status, _) = handler.api("GET", "/api/tenants/acme/streams/workflow-instance/i-1", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "nothing was stored");
}

//! The journal's other door: the queue.

use std::sync::{Arc, Mutex};

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{COMMANDS, embedded, user};
use crate::support::handler::Handler;

fn message(kind: &str, id: &str, command: &str, data: Value) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/legacy", "type": format!("annals.{kind}"), "subject": command,
        "tenantid": "acme", "authtype": "user", "authid": "ann", "correlationid": "r", "data": data,
    })
}

async fn dead(handler: &Handler) -> Vec<String> {
    let (_, page) = handler.api("GET", "/api/tenants/acme/dead-letters", None).await;
    let letters = page["deadLetters"].as_array().unwrap_or_else(|| panic!("{page}"));
    letters.iter().map(|letter| letter["code"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn messages_are_judged_like_calls_and_a_refused_one_becomes_a_dead_letter() {
    let (_folder, handler) = embedded().await;
    let dispatch = message("command.dispatched", "m-1", "c", json!({ "type": "t", "data": { "n": 1.0 } }));
    let outcome = message("command.succeeded", "m-2", "c", json!({ "result": 5, "durationMicros": 9 }));
    // Queues invert: the outcome waits for its command, and queues repeat.
    assert!(handler.invoke("ingest", &outcome.to_string(), 1).await.is_err());
    for count in [1, 2] {
        handler.invoke("ingest", &dispatch.to_string(), count).await.unwrap();
    }
    handler.invoke("ingest", &outcome.to_string(), 2).await.unwrap();
    handler.invoke("ingest", &outcome.to_string(), 3).await.unwrap();
    let command = handler.command("c").await;
    assert_eq!((&command["status"], &command["outcome"]["result"]), (&json!("succeeded"), &json!(5)));
    assert_eq!((&command["actor"], &command["recordedBy"]), (&user("ann"), &json!("queue")));
    assert_eq!(command["data"].to_string(), r#"{"n":1.0}"#);
    assert_eq!(handler.events_of("c").await, ["dispatched", "succeeded"]);
    assert!(dead(&handler).await.is_empty());
    // It is the sender's own event that is stored.
    let (_, event) = handler.api("GET", "/api/tenants/acme/events/m-1?source=%2Flegacy", None).await;
    assert_eq!((&event["type"], &event["version"]), (&json!("annals.command.dispatched"), &json!(1)));

    let cases = [
        (message("command.failed", "m-3", "c", json!({})), "command-ended"),
        (message("command.dispatched", "m-4", "c", json!({ "type": "t" })), "command-exists"),
        (message("command.approved", "m-5", "c", json!({})), "not-a-request"),
        (message("command.claimed", "m-6", "c", json!({})), "not-a-request"),
        (message("command.dispatched", "m-7", "d", json!({ "data": 1 })), "invalid-command-message"),
        (message("approval.given", "m-8", "c", json!({ "decision": "maybe" })), "invalid-command-message"),
        (
            json!({ "specversion": "1.0", "id": "m-9", "source": "urn:annals:journal", "tenantid": "acme",
                    "type": "annals.command.dispatched", "subject": "e", "data": { "type": "t" } }),
            "forged-source",
        ),
    ];
    for (body, _) in &cases {
        handler.invoke("ingest", &body.to_string(), 1).await.unwrap();
    }
    let mut want: Vec<_> = cases.iter().map(|(_, code)| (*code).to_owned()).collect();
    let mut found = dead(&handler).await;
    want.sort();
    found.sort();
    assert_eq!(found, want);
    // An outcome of nothing is given up by the poison queue alone.
    let nothing = message("command.failed", "m-10", "nothing", json!({}));
    assert!(handler.invoke("ingest", &nothing.to_string(), 5).await.is_err());
    handler.invoke("ingest-poison", &nothing.to_string(), 1).await.unwrap();
    assert!(dead(&handler).await.contains(&"unknown-command".to_owned()));
}

#[tokio::test]
async fn a_late_decision_from_the_queue_is_recorded_and_changes_nothing() {
    let (_folder, handler) = embedded().await;
    let asked = json!({ "type": "t", "approval": { "required": 1 } });
    handler.invoke("ingest", &message("command.dispatched", "1", "c", asked).to_string(), 1).await.unwrap();
    let mut yes = message("approval.given", "2", "c", json!({ "decision": "approve" }));
    yes["authid"] = "bob".into();
    handler.invoke("ingest", &yes.to_string(), 1).await.unwrap();
    yes["id"] = "3".into();
    yes["authid"] = "cid".into();
    handler.invoke("ingest", &yes.to_string(), 1).await.unwrap();
    assert_eq!(handler.events_of("c").await, ["dispatched", "given", "approved", "given"]);
    assert_eq!(handler.command("c").await["approval"]["decisions"][1]["ignored"], "late");
    assert_eq!(handler.stored_status("c").await, "approved");
    assert!(dead(&handler).await.is_empty());
}

/// A queue service that keeps what is put.
pub(crate) async fn queues() -> (String, Arc<Mutex<Vec<String>>>) {
    let kept: Arc<Mutex<Vec<String>>> = Arc::default();
    let keep = Arc::clone(&kept);
    let put = axum::routing::post(move |body: String| {
        let keep = Arc::clone(&keep);
        async move { keep.lock().unwrap().push(body) }
    });
    let router = axum::Router::new().route("/annals-ingest/messages", put);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (base, kept)
}

#[tokio::test]
async fn nothing_is_put_on_a_queue_that_may_not_write_to_the_tenant() {
    let (base, kept) = queues().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("ANNALS_DATA_DIR", folder.path().to_str().unwrap()),
        ("ANNALS_DEV_QUEUES", &base),
        ("ANNALS_QUEUE_TENANTS", "other"),
    ];
    let handler = Handler::start(&settings).await;
    handler.api("PUT", "/api/tenants/acme", Some(&json!({}))).await;
    let headers = [("content-type", "application/json"), ("prefer", "respond-async")];
    let dispatch = json!({ "id": "c", "type": "t" }).to_string().into_bytes();
    let answer = handler.send("POST", COMMANDS, &headers, Some(dispatch)).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert!(answer.headers().get("preference-applied").is_none());
    assert!(kept.lock().unwrap().is_empty());
    assert_eq!(handler.events_of("c").await, ["dispatched"]);
}

#[tokio::test]
async fn who_must_not_wait_is_answered_by_a_sealed_and_redacted_message() {
    let (base, kept) = queues().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = [("ANNALS_DATA_DIR", folder.path().to_str().unwrap()), ("ANNALS_DEV_QUEUES", &base)];
    let handler = Handler::start(&settings).await;
    handler.api("PUT", "/api/tenants/acme", Some(&json!({}))).await;
    let headers = [("content-type", "application/json"), ("prefer", "respond-async, wait=5")];
    let send = |path: String, body: Value| {
        let handler = &handler;
        async move { handler.send("POST", &path, &headers, Some(body.to_string().into_bytes())).await }
    };
    let dispatch =
        json!({ "id": "c", "type": "t", "data": { "password": "canary-1", "x": 1 }, "actor": user("ann") });
    let answer = send(COMMANDS.to_owned(), dispatch.clone()).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(answer.headers()["preference-applied"], "respond-async");
    let outcome = json!({ "status": "succeeded", "result": { "key": "canary-2" }, "secretOnce": ["/key"] });
    assert_eq!(send(format!("{COMMANDS}/c/outcome"), outcome).await.status(), StatusCode::ACCEPTED);
    let large = json!({ "id": "l", "type": "t", "data": "x".repeat(61 * 1024) });
    assert_eq!(send(COMMANDS.to_owned(), large).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let messages = kept.lock().unwrap().clone();
    assert_eq!(messages.len(), 2);
    assert!(!messages.concat().contains("canary"), "{messages:?}");
    assert_eq!(handler.api("GET", &format!("{COMMANDS}/c"), None).await.0, StatusCode::NOT_FOUND);

    // Changed on the way: nobody else's word is taken for ours.
    let changed = messages[0].replace("\"ann\"", "\"bob\"");
    handler.invoke("ingest", &changed, 1).await.unwrap();
    assert_eq!(dead(&handler).await, ["forged-source"]);
    for message in &messages {
        handler.invoke("ingest", message, 1).await.unwrap();
        handler.invoke("ingest", message, 2).await.unwrap();
    }
    let command = handler.command("c").await;
    assert_eq!((&command["status"], &command["recordedBy"]), (&json!("succeeded"), &json!("local")));
    assert_eq!(command["data"]["x"], 1);
    let was = json!({ "pointer": "/key", "value": "canary-2" });
    assert_eq!(handler.ask("c", "secret-check", was).await.1["matches"], true);
    // The same call, waited for: it is recognised.
    assert_eq!(handler.dispatch(dispatch).await.0, StatusCode::OK);
    assert_eq!(handler.events_of("c").await, ["dispatched", "succeeded"]);
}

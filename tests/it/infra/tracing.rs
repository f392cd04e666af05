//! W3C trace context, from a request or a message into spans, into what is stored, and onto the change
//! feed.

use std::time::Duration;

use axum::body::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;

use super::run::{TRACE, faulted};
use crate::support::handler::Handler;

/// Trace contexts of a client's request.
const REQUEST: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Whatever is posted to it.
async fn collected() -> (String, Receiver<Bytes>) {
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    let take = move |body: Bytes| async move {
        let _ = sender.send(body).await;
    };
    let router = axum::Router::new().route("/v1/traces", axum::routing::post(take));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, receiver)
}

async fn handler(collector: Option<&str>) -> (TempDir, Handler) {
    let data = tempfile::tempdir().unwrap();
    let mut settings = vec![("ANNALS_DATA_DIR", data.path().to_str().unwrap()), ("ANNALS_LOG", "info")];
    settings.extend(collector.map(|url| ("ANNALS_OTLP_ENDPOINT", url)));
    settings.push(("OTEL_BSP_SCHEDULE_DELAY", "100"));
    let handler = Handler::start(&settings).await;
    handler.register("acme").await;
    (data, handler)
}

/// A span of this name comes, in this trace and below this span of the sender.
async fn span(posted: &mut Receiver<Bytes>, trace: &str, names: &[&str]) {
    let (id, parent) = (hex::decode(&trace[3..35]).unwrap(), hex::decode(&trace[36..52]).unwrap());
    let contains = |body: &[u8], part: &[u8]| body.windows(part.len()).any(|window| window == part);
    let mut missing: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
    missing.push(&parent);
    let found = async {
        while let Some(body) = posted.recv().await {
            if contains(&body, &id) {
                missing.retain(|part| !contains(&body, part));
            }
            if missing.is_empty() {
                return;
            }
        }
        panic!("the collector ended");
    };
    tokio::time::timeout(Duration::from_secs(30), found).await.expect("spans in the sender's trace");
}

#[tokio::test]
async fn spans_reach_a_collector_in_the_trace_of_the_sender() {
    let (url, mut posted) = collected().await;
    let (_data, handler) = handler(Some(&url)).await;
    handler.invoke("ingest", &faulted("acme", "f-1"), 1).await.unwrap();
    span(&mut posted, TRACE, &["append", "annals"]).await;
    append(&handler).await;
    span(&mut posted, REQUEST, &["request", "append"]).await;
}

/// Appends an event without a trace context by a request that has one.
async fn append(handler: &Handler) -> Value {
    let event = json!({ "specversion": "1.0", "id": "e", "source": "/s", "type": "t", "subject": "x" });
    let headers = [("content-type", "application/cloudevents+json"), ("traceparent", REQUEST)];
    let answer =
        handler.send("POST", "/api/tenants/acme/events", &headers, Some(event.to_string().into())).await;
    assert_eq!(answer.status().as_u16(), 201);
    serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap()[0].clone()
}

async fn published(handler: &Handler, last: &Value) -> Vec<Value> {
    let message = json!({ "tenant": "acme", "partition": "p00", "last": last }).to_string();
    handler.invoke("publish", &message, 1).await.unwrap()
}

#[tokio::test]
async fn the_trace_of_a_message_or_a_request_stands_on_the_change_feed() {
    let (_data, handler) = handler(None).await;
    // A message has its own; what has none gets that of its invocation or request.
    let feed = handler.invoke("ingest", &faulted("acme", "f-1"), 1).await.unwrap();
    assert_eq!((feed.len(), &feed[0]["traceparent"]), (1, &json!(TRACE)), "{feed:?}");
    let stored = append(&handler).await;
    let feed = published(&handler, &stored["position"]["sequence"]).await;
    assert_eq!((&feed[0]["subject"], &feed[0]["traceparent"]), (&json!("event/x"), &json!(REQUEST)));
    // A command's events too.
    let headers = [("content-type", "application/json"), ("traceparent", REQUEST)];
    let body = json!({ "id": "c", "type": "t" }).to_string();
    let answer = handler.send("POST", "/api/tenants/acme/commands", &headers, Some(body.into())).await;
    assert_eq!(answer.status().as_u16(), 201);
    let (_, history) = handler.api("GET", "/api/tenants/acme/streams/command/c/events", None).await;
    assert_eq!(history["events"][0]["traceparent"], REQUEST, "{history}");
    let feed = published(&handler, &history["events"][0]["position"]["sequence"]).await;
    assert_eq!((&feed[0]["subject"], &feed[0]["traceparent"]), (&json!("command/c"), &json!(REQUEST)));
    // Nobody is led astray by one that is malformed.
    let event = json!({ "specversion": "1.0", "id": "g", "source": "/s", "type": "t", "subject": "x" });
    let headers = [("content-type", "application/cloudevents+json"), ("traceparent", "00-nonsense")];
    handler.send("POST", "/api/tenants/acme/events", &headers, Some(event.to_string().into())).await;
    let (_, read) = handler.api("GET", "/api/tenants/acme/events/g", None).await;
    assert!(read.get("traceparent").is_none(), "{read}");
}

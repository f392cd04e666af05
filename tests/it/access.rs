//! Who is calling, and may they: over the real port.

use reqwest::StatusCode;
use serde_json::json;

use crate::support::handler::{Handler, instance_event};

#[tokio::test(flavor = "multi_thread")]
async fn every_event_names_who_handed_it_over() {
    let folder = tempfile::tempdir().unwrap();
    let handler = Handler::start(&[("ANNALS_DATA_DIR", folder.path().to_str().unwrap())]).await;
    handler.register("acme").await;
    let event = |id: &str| instance_event("acme", id, "i-1", "created", json!({ "newStatus": "waiting" }));
    handler.invoke("ingest", &event("by-queue").to_string(), 1).await.unwrap();
    let json_event = ("content-type", "application/cloudevents+json");
    let body = event("by-http").to_string().into_bytes();
    let sent = handler.send("POST", "/api/tenants/acme/events", &[json_event], Some(body)).await;
    assert_eq!(sent.status(), StatusCode::CREATED);

    let (_, queued) = handler.api("GET", "/api/tenants/acme/events/by-queue", None).await;
    assert_eq!(queued["recordedBy"], "queue");
    assert!(queued.get("actor").is_none(), "nobody claimed to have acted: {queued}");
    let (_, direct) = handler.api("GET", "/api/tenants/acme/events/by-http", None).await;
    assert_eq!(direct["recordedBy"], "local");
    assert_eq!(direct["actor"], json!({ "type": "system", "id": "local" }));
}

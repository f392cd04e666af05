//! Secrets planted in every place, looked for in every other.

use std::{
    io::Write,
    sync::{Arc, Mutex, OnceLock},
};

use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use super::{StatusCode, World, boss};
use crate::testing::{
    canary::{self, MARKER},
    issuer::Issuer,
};

/// What is logged, kept.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Listens to everything that this thread logs.
    pub(super) fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        // While there is one listener alone, `tracing` asks the thread that comes to a line first whether
        // anybody listens there, and remembers its "no" for all: a second listener ends that.
        static SECOND: OnceLock<tracing::Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| tracing_subscriber::fmt().with_writer(std::io::sink).finish().into());
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(log.clone())
            .with_ansi(false)
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_planted_secret_is_found_nowhere() {
    let (log, _listening) = Log::start();
    let world = World::new(&[]).await;
    world.tenant("acme", json!({ "changeFeed": { "enabled": true } })).await;
    // A place in the code that another test's thread reached first, while nobody listened, is asked again.
    tracing::callsite::rebuild_interest_cache();
    let mut seen = String::new();

    let writer = Issuer::token("w", &["writer:acme", "reader:acme"]);
    let sent = world.post("/api/tenants/acme/events", &writer, &canary::event("by-http")).await;
    assert_eq!(sent.status, StatusCode::CREATED, "{}", sent.body);
    let again = world.post("/api/tenants/acme/events", &writer, &canary::event("by-http")).await;
    assert_eq!(again.status, StatusCode::OK, "the digest is of what was sent: {}", again.body);
    let mut other = canary::event("by-http");
    other["data"]["password"] = "another".into();
    let conflict = world.post("/api/tenants/acme/events", &writer, &other).await;
    assert_eq!(conflict.status, StatusCode::CONFLICT, "two secrets are two contents");
    let mut queued = canary::event("by-queue");
    queued["tenantid"] = "acme".into();
    let published = world.invoke("ingest", &queued.to_string()).await;
    assert!(published.body.contains("by-queue"), "{}", published.body);

    let envelope = world.invoke("ingest", &canary::envelope("acme").to_string()).await;
    assert!(envelope.body.contains("trigger.received"), "{}", envelope.body);
    seen.push_str(&envelope.body);
    // What can never be stored: of the tenant, of nobody, in an identifier, and not even JSON.
    for message in canary::dead("acme") {
        let answer = world.invoke("ingest", &message).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        seen.push_str(&answer.body);
    }
    for (attribute, event) in canary::named() {
        let refused = world.post("/api/tenants/acme/events", &writer, &event).await;
        let told = (refused.status, refused.json()["field"].clone());
        assert_eq!(told, (StatusCode::UNPROCESSABLE_ENTITY, json!(attribute)), "{}", refused.body);
        seen.push_str(&refused.text());
    }
    let [dispatch, outcome] = canary::command("c");
    for (path, body) in [("", dispatch), ("/c/outcome", outcome)] {
        let answer = world.post(&format!("/api/tenants/acme/commands{path}"), &writer, &body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        seen.push_str(&answer.text());
    }

    for path in [
        "/api/tenants/acme/events/by-http",
        "/api/tenants/acme/events/by-queue",
        "/api/tenants/acme/streams",
        "/api/tenants/acme/streams/tenant/audit/events",
        "/api/tenants/acme/commands/c",
        "/api/tenants/acme/export",
        "/api/tenants/acme/events?include=data",
        "/api/tenants/acme/dead-letters",
        "/api/dead-letters",
    ] {
        let answer = world.get(path, &boss()).await;
        for letter in answer.json()["deadLetters"].as_array().into_iter().flatten() {
            let one = world.get(&format!("{path}/{}", letter["id"].as_str().unwrap()), &boss()).await;
            assert_eq!(one.status, StatusCode::OK, "{}", one.body);
            seen.push_str(&one.text());
        }
        seen.push_str(&answer.text());
    }
    for answer in [sent, again, conflict, published] {
        seen.push_str(&answer.text());
    }
    assert!(seen.contains(MARKER) && seen.contains("/data/nested/0/deep/API-Key"), "{seen}");
    assert!(!canary::found(&seen), "an answer: {seen}");
    assert!(!canary::found(&log.text()), "the log: {}", log.text());
    assert!(log.text().contains("evt=\"request\""), "the log is listened to");
    let stored = stored(&world);
    assert!(stored.contains(MARKER), "what is stored can be found like this");
    assert!(!canary::found(&stored), "storage holds it");
}

/// Every file in the folder of the store, as text.
fn stored(world: &World) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(world.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            all.push_str(&String::from_utf8_lossy(&std::fs::read(path).unwrap()));
        }
    }
    all
}

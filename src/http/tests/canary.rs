//! Secrets planted in every place, looked for in every other.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use super::{StatusCode, World, boss, event};
use crate::testing::issuer::Issuer;

/// What is logged, kept.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Listens to everything that this thread logs.
    pub(super) fn start() -> (Self, tracing::subscriber::DefaultGuard) {
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

const SECRET: &str = "Kn4rz-Quux-Zwieback-31";

/// `SECRET` everywhere that a sender could leave one, under a name or in a shape.
fn riddled(id: &str) -> Value {
    let shape = format!("AccountName=a;AccountKey={SECRET};x=y");
    let inner = json!({ "password": SECRET }).to_string();
    let mut event = event(
        id,
        &json!({
            "password": SECRET, "nested": [{ "deep": { "API-Key": SECRET } }, [shape]],
            "metadata": { "authorization": format!("Bearer {SECRET}"), "set-cookie": [SECRET] },
            "error": { "message": format!("failed with Password={SECRET};"), "detail": { "clientSecret": { "value": SECRET } } },
            "headers": [{ "name": "X-Api-Key", "value": SECRET }], "body": inner, "kept": "Marker-7b",
            "pem": format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----"),
            "trigger": { "parameters": { "db_password": SECRET } },
        }),
    );
    event["apikey"] = SECRET.into();
    event["note"] = format!("https://x/?sv=1&sig={SECRET}").into();
    event
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
    let sent = world.post("/api/tenants/acme/events", &writer, &riddled("by-http")).await;
    assert_eq!(sent.status, StatusCode::CREATED, "{}", sent.body);
    let again = world.post("/api/tenants/acme/events", &writer, &riddled("by-http")).await;
    assert_eq!(again.status, StatusCode::OK, "the digest is of what was sent: {}", again.body);
    let mut other = riddled("by-http");
    other["data"]["password"] = "another".into();
    let conflict = world.post("/api/tenants/acme/events", &writer, &other).await;
    assert_eq!(conflict.status, StatusCode::CONFLICT, "two secrets are two contents");
    let mut queued = riddled("by-queue");
    queued["tenantid"] = "acme".into();
    let published = world.invoke("ingest", &queued.to_string()).await;
    assert!(published.body.contains("by-queue"), "{}", published.body);

    // What can never be stored: of the tenant, of nobody, in an identifier, and not even JSON.
    let mut broken = queued.clone();
    broken["specversion"] = "7".into();
    let mut nobodys = riddled("of-nobody");
    nobodys["tenantid"] = "unknown".into();
    let mut named = riddled("x");
    named["tenantid"] = "acme".into();
    named["subject"] = format!("AccountKey={SECRET}").into();
    let mut wrapped = json!({ "specversion": "1.0", "tenantid": "acme", "id": "b" });
    wrapped["data_base64"] = STANDARD.encode(json!({ "password": SECRET }).to_string()).into();
    for message in [broken, nobodys, named.clone(), wrapped] {
        let answer = world.invoke("ingest", &message.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        seen.push_str(&answer.body);
    }
    named.as_object_mut().unwrap().remove("tenantid");
    let refused = world.post("/api/tenants/acme/events", &writer, &named).await;
    assert_eq!(
        (refused.status, &refused.json()["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("subject"))
    );

    for path in [
        "/api/tenants/acme/events/by-http",
        "/api/tenants/acme/events/by-queue",
        "/api/tenants/acme/streams",
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
    for answer in [sent, again, conflict, published, refused] {
        seen.push_str(&answer.text());
    }
    assert!(seen.contains("Marker-7b") && seen.contains("/data/nested/0/deep/API-Key"), "{seen}");
    assert!(!seen.contains(SECRET), "an answer: {seen}");
    assert!(!log.text().contains(SECRET), "the log: {}", log.text());
    assert!(log.text().contains("evt=\"request\""), "the log is listened to");
    let stored = stored(&world);
    assert!(find(&stored, b"Marker-7b"), "what is stored can be found like this");
    assert!(!find(&stored, SECRET.as_bytes()), "storage holds it");
    let encoded = STANDARD.encode(json!({ "password": SECRET }).to_string());
    assert!(!find(&stored, encoded.as_bytes()), "storage holds it in base64");
}

/// Every byte of every file in the folder of the store.
fn stored(world: &World) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(world.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            all.extend(std::fs::read(path).unwrap());
        }
    }
    all
}

fn find(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

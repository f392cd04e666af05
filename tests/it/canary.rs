//! A planted secret, looked for in a storage account by a client that is not ours, in the feed, in every
//! answer and in the log of the real process.

use annals::{
    queue::QueueName,
    testing::{
        azurite::Azurite,
        canary::{self, MARKER},
    },
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{foreign::dump, handler::Handler};

const TENANT: &str = "/api/tenants/acme";

/// Everything that was answered.
struct Seen<'a> {
    handler: &'a Handler,
    text: String,
}

impl Seen<'_> {
    async fn send(&mut self, method: &str, path: &str, kind: &str, body: &Value) -> (StatusCode, Value) {
        let headers = [("content-type", kind)];
        let body = (!body.is_null()).then(|| body.to_string().into_bytes());
        self.keep(self.handler.send(method, path, &headers, body).await).await
    }

    async fn keep(&mut self, response: reqwest::Response) -> (StatusCode, Value) {
        let status = response.status();
        self.text.push_str(&format!("{:?}", response.headers()));
        let text = response.text().await.unwrap();
        self.text.push_str(&text);
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    async fn get(&mut self, path: &str) -> Value {
        let (status, answer) = self.send("GET", path, "text/plain", &Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    async fn ingest(&mut self, message: &str) {
        let published = self.handler.invoke("ingest", message, 1).await;
        self.text.push_str(&format!("{published:?}"));
    }
}

/// What is stored, and what never can be, through every door.
async fn plant(seen: &mut Seen<'_>) {
    const EVENT: &str = "application/cloudevents+json";
    let events = format!("{TENANT}/events");
    let direct = canary::event("by-http");
    for status in [StatusCode::CREATED, StatusCode::OK] {
        assert_eq!(seen.send("POST", &events, EVENT, &direct).await.0, status);
    }
    let batch = json!([canary::event("one"), canary::event("two")]);
    let kind = "application/cloudevents-batch+json";
    assert_eq!(seen.send("POST", &events, kind, &batch).await.0, StatusCode::CREATED);
    let mut queued = canary::event("by-queue");
    queued["tenantid"] = "acme".into();
    seen.ingest(&queued.to_string()).await;
    seen.ingest(&canary::envelope("acme").to_string()).await;
    for message in canary::dead("acme") {
        seen.ingest(&message).await;
    }
    for (attribute, event) in canary::named() {
        let (status, problem) = seen.send("POST", &events, EVENT, &event).await;
        assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(attribute)));
    }
    // As attributes in headers, with a body that is no JSON.
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "binary"),
        ("ce-source", "/tests"),
        ("ce-type", "t"),
        ("ce-apikey", canary::SECRET),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let form = format!("password={}&kept={MARKER}", canary::SECRET).into_bytes();
    let answer = seen.handler.send("POST", &events, &headers, Some(form)).await;
    assert_eq!(seen.keep(answer).await.0, StatusCode::CREATED);
    commands(seen).await;
}

async fn commands(seen: &mut Seen<'_>) {
    let [dispatch, outcome] = canary::command("c");
    for (path, body) in [("", &dispatch), ("/c/outcome", &outcome)] {
        let path = format!("{TENANT}/commands{path}");
        assert_eq!(seen.send("POST", &path, "application/json", body).await.0, StatusCode::CREATED);
    }
    // Left on the queue, for nobody takes it off here.
    let [waits, _] = canary::command("waits");
    let headers = [("content-type", "application/json"), ("prefer", "respond-async")];
    let path = format!("{TENANT}/commands");
    let answer = seen.handler.send("POST", &path, &headers, Some(waits.to_string().into_bytes())).await;
    assert_eq!(seen.keep(answer).await.0, StatusCode::ACCEPTED);
}

/// Reads it all back, through every route that shows data.
async fn read(seen: &mut Seen<'_>) {
    for path in [
        "events?include=data&limit=1000",
        "events/by-http",
        "events/by-queue",
        "streams",
        "streams/tenant/audit/events",
        "commands",
        "commands/c",
        "export",
        "export?format=csv",
        "export?proof=true",
        "verification?include=data",
    ] {
        seen.get(&format!("{TENANT}/{path}")).await;
    }
    for path in [format!("{TENANT}/dead-letters"), "/api/dead-letters".to_owned()] {
        let letters = seen.get(&path).await["deadLetters"].as_array().unwrap().clone();
        assert!(!letters.is_empty(), "{path}");
        for letter in letters {
            let path = format!("{path}/{}", letter["id"].as_str().unwrap());
            seen.get(&path).await;
            seen.send("POST", &format!("{path}/replay"), "application/json", &json!({})).await;
        }
    }
}

/// On Azurite, whose rows and messages a foreign client reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_planted_secret_is_found_nowhere_in_an_account() {
    let azurite = Azurite::start().unwrap();
    let connection = azurite.connection_string();
    for queue in ["annals-ingest", "annals-publish"] {
        let queue = QueueName::new(queue).unwrap();
        crate::azure_faults::raw_queue(&azurite, &queue).create().await.unwrap();
    }
    let handler = Handler::start(&[("AnnalsStorage", connection.as_str()), ("ANNALS_LOG", "trace")]).await;
    handler.register("acme").await;
    let mut seen = Seen { handler: &handler, text: String::new() };
    plant(&mut seen).await;
    read(&mut seen).await;
    assert!(seen.text.contains(MARKER) && seen.text.contains("/data/nested/0/deep/API-Key"));
    assert!(!canary::found(&seen.text), "an answer or the feed: {}", seen.text);

    let stored = dump(&connection);
    let (rows, messages): (Vec<_>, Vec<_>) = stored
        .lines()
        .partition(|line| !line.starts_with("annals-ingest") && !line.starts_with("annals-publish"));
    assert!(rows.iter().any(|row| row.contains(MARKER)), "what is stored can be found like this");
    assert!(
        messages.iter().any(|message| message.contains(MARKER)),
        "and what waits on a queue: {messages:?}"
    );
    assert!(!canary::found(&stored), "storage holds it: {stored}");

    assert!(!handler.logged("request").is_empty(), "the log is listened to");
    let logged: Vec<_> = handler.logged("").into_iter().filter(|line| canary::found(line)).collect();
    assert!(logged.is_empty(), "the log: {logged:?}");
}

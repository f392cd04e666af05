//! `annals dev` as a person uses it: the built binary, the real handler, the embedded store.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    dev::{Dev, command, json as read, runs, until},
    handler::instance_event,
};

/// Our application, with messages that come back after a second instead of thirty.
fn app() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let host = fs::read_to_string(root.join("host.json")).unwrap();
    let patient = r#""visibilityTimeout": "00:00:30""#;
    assert!(host.contains(patient));
    let host = host.replace(patient, r#""visibilityTimeout": "00:00:01""#);
    fs::write(folder.path().join("host.json"), host).unwrap();
    for function in fs::read_dir(root.join("function-definitions")).unwrap() {
        let from = function.unwrap().path();
        let to = folder.path().join("function-definitions").join(from.file_name().unwrap());
        fs::create_dir_all(&to).unwrap();
        fs::copy(from.join("function.json"), to.join("function.json")).unwrap();
    }
    folder
}

async fn dev() -> (TempDir, Dev) {
    let app = app();
    let dev = Dev::start(app.path(), &app.path().join("data"), &[]).await;
    (app, dev)
}

async fn register(dev: &Dev, tenant: &str) {
    let settings = json!({ "changeFeed": { "enabled": true } });
    let answer = dev.send("PUT", &format!("/api/tenants/{tenant}"), settings.to_string()).await;
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

fn message(n: usize) -> String {
    let data = json!({ "newStatus": "waiting" });
    instance_event("acme", &format!("e-{n}"), &format!("i-{}", n % 7), "transition-completed", data)
        .to_string()
}

/// How many events the seven instances of [`message`] have.
async fn stored(dev: &Dev) -> u64 {
    let list = dev.get("/api/tenants/acme/streams?category=workflow-instance&limit=100").await;
    list["streams"].as_array().unwrap().iter().map(|stream| stream["version"].as_u64().unwrap()).sum()
}

/// Whether a sender sent the event: Annals itself tells that the tenant was added.
fn was_sent(event: &Value) -> bool {
    event["data"]["eventSource"] != "/annals/registry"
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_that_the_demo_prints_works() {
    let app = app();
    let dev = Dev::start(app.path(), &app.path().join("data"), &["--demo"]).await;
    let last = until("the demo is over", || {
        let said = dev.said();
        said.contains("/api/dead-letters'").then_some(said)
    })
    .await;
    assert!(last.contains("Sent       18 queue messages"), "{last}");
    assert!(last.contains("Stored     17 events, each once"), "{last}");
    assert!(last.contains("18 change-feed events with 17 different ids"), "{last}");
    assert!(last.contains("3  09:02:02  faulted                faulted"), "{last}");
    assert!(!last.contains("WARN") && !last.contains("ERROR"), "noise: {last}");
    let lines: Vec<_> = last.lines().map(str::trim).filter(|line| line.starts_with("curl ")).collect();
    assert!(lines.len() >= 8, "{last}");
    let mut answers = Vec::new();
    for line in &lines {
        let ran = Command::new("sh").args(["-c", &line.replacen("curl ", "curl -sf ", 1)]).output().unwrap();
        assert!(ran.status.success(), "{line}");
        answers.push(serde_json::from_slice::<Value>(&ran.stdout).unwrap());
        dev.drained("annals-ingest").await;
        dev.drained("annals-publish").await;
    }
    assert_eq!(answers[0]["streams"].as_array().unwrap().len(), 1, "one claim is faulted");
    assert_eq!(answers[1]["events"][0]["version"], 3, "newest first");
    assert_eq!(answers[2]["status"], "complete");
    let feed = answers[3]["events"].as_array().unwrap();
    assert!(!feed.iter().any(|event| event.to_string().contains("J George")), "no person leaves");
    assert_eq!(answers[6]["events"].as_array().unwrap().len(), 2, "{}", answers[6]);
    assert_eq!(answers.last().unwrap()["deadLetters"][0]["code"], "not-json");
    let kept = "dead-letter.kept code=not-json";
    until("the log tells of it", || dev.said().contains(kept).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_killed_with_messages_in_flight_loses_none_and_doubles_none() {
    let (app, mut dev) = dev().await;
    register(&dev, "acme").await;
    for n in 0..300 {
        dev.put("annals-ingest", &message(n)).await;
        if n % 100 == 50 {
            dev.kill_handler().await;
        }
    }
    dev.drained("annals-ingest").await;
    assert_eq!(dev.get("/dev/queues").await["annals-ingest-poison"], json!({ "visible": 0, "invisible": 0 }));
    assert_eq!(stored(&dev).await, 300);
    let feed = dev.get("/dev/change-feed?limit=100000").await;
    let sent = feed["events"].as_array().unwrap().iter().filter(|event| was_sent(event));
    let ids: BTreeSet<_> = sent.map(|e| e["id"].to_string()).collect();
    assert_eq!(ids.len(), 300);

    // Killed itself, it takes the handler along; what was stored is there the next time.
    let handler = dev.handler().await;
    dev.kill();
    until("the handler ends with annals dev", || (!runs(handler)).then_some(())).await;
    let again = Dev::start(app.path(), &app.path().join("data"), &[]).await;
    assert_eq!(stored(&again).await, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_annals_dev_and_its_handler() {
    let (_app, mut dev) = dev().await;
    let handler = dev.handler().await;
    assert_eq!(dev.interrupt().await, Some(0));
    until("the handler ends", || (!runs(handler)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_one_on_the_same_port_or_folder_says_what_to_do() {
    let (app, dev) = dev().await;
    let cases = [
        (app.path().join("other"), dev.port, "--port chooses another"),
        (app.path().join("data"), 0, "--data chooses another"),
    ];
    for (data, port, advice) in cases {
        let ended = command(app.path(), &data, port, &[]).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(!ended.status.success() && said.contains(advice), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert!(dev.get("/dev/queues").await.is_object(), "the first one is not disturbed");
    let nowhere = command(&app.path().join("data"), &app.path().join("x"), 0, &[]).output().unwrap();
    let said = String::from_utf8(nowhere.stderr).unwrap();
    assert!(said.contains("in the folder that holds host.json"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_account_in_its_environment_is_not_touched() {
    let account = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tables = format!("http://{}/acme", account.local_addr().unwrap());
    let connection =
        format!("AccountName=acme;AccountKey=a2V5;TableEndpoint={tables};QueueEndpoint={tables}");
    let identity = [
        ("AnnalsStorage__tableServiceUri", tables.as_str()),
        ("AnnalsStorage__queueServiceUri", tables.as_str()),
        ("IDENTITY_ENDPOINT", tables.as_str()),
        ("IDENTITY_HEADER", "x"),
    ];
    for environment in [&[("AnnalsStorage", connection.as_str())][..], &identity] {
        let app = app();
        let data = app.path().join("data");
        let mut started = command(app.path(), &data, 0, &[]);
        let dev = Dev::run(started.envs(environment.iter().copied())).await;
        register(&dev, "acme").await;
        assert!(data.join("annals.redb").is_file(), "{environment:?}: {}", dev.said());
    }
    let asked = tokio::time::timeout(std::time::Duration::from_millis(100), account.accept()).await;
    assert!(asked.is_err(), "the account was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_web_page_reaches_it() {
    let (_app, dev) = dev().await;
    let own = format!("http://localhost:{}", dev.port);
    let foreign: [(&str, &str); 6] = [
        ("host", "evil.example"),
        ("host", "localhost.evil.example"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ];
    for path in ["/dev/queues", "/dev/change-feed", "/api/dead-letters"] {
        for (name, value) in foreign {
            let answer = dev.client.get(dev.url(path)).header(name, value).send().await.unwrap();
            assert_eq!(answer.status(), 403, "{path} {name}: {value}");
        }
        for (name, value) in
            [("origin", own.as_str()), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")]
        {
            let answer = dev.client.get(dev.url(path)).header(name, value).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path} {name}: {value}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_come_by_command_and_garbage_is_kept() {
    let (app, dev) = dev().await;
    register(&dev, "acme").await;
    let (good, garbage) = (app.path().join("good.json"), app.path().join("garbage"));
    fs::write(&good, message(1)).unwrap();
    fs::write(&garbage, [0xff, 0xfe, 0x00]).unwrap();
    let send = |files: &[&Path]| {
        let mut send = Command::new(env!("CARGO_BIN_EXE_annals"));
        send.args(["send", "--url", &dev.url("")]).args(files).stdin(Stdio::null()).output().unwrap()
    };
    let sent = send(&[&good, &garbage]);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    assert_eq!(String::from_utf8(sent.stdout).unwrap().lines().count(), 2);
    dev.drained("annals-ingest").await;
    assert_eq!(stored(&dev).await, 1);
    let letters = dev.get("/api/dead-letters").await;
    assert_eq!(letters["deadLetters"].as_array().unwrap().len(), 1, "{letters}");
    let missing = send(&[&app.path().join("missing")]);
    assert!(!missing.status.success() && String::from_utf8_lossy(&missing.stderr).contains("missing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_are_fired_by_hand_and_queue_names_and_sizes_are_checked() {
    let (_app, dev) = dev().await;
    let fired = read(dev.send("POST", "/dev/timers/sweep", "").await).await;
    assert_eq!(fired, json!({ "function": "sweep", "succeeded": true }));
    assert_eq!(dev.send("POST", "/dev/timers/ingest", "").await.status(), 404);
    assert_eq!(dev.send("POST", "/dev/queues/No_Queue/messages", "x").await.status(), 400);
    let large = "x".repeat(64 * 1024 + 1);
    assert_eq!(dev.send("POST", "/dev/queues/annals-ingest/messages", large).await.status(), 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn http_is_forwarded_as_the_host_does() {
    let (_app, dev) = dev().await;
    register(&dev, "acme").await;
    // A path that collapses onto a function route changes nothing.
    let port = dev.port;
    let body = json!({ "Data": { "msg": message(1) } }).to_string();
    for path in ["/api/%C3%A9/%252e%252e/%252e%252e/ingest", "/api/../ingest", "/ingest"] {
        let host = format!("localhost:{port}");
        let request =
            crate::support::raw::post(&host, path, body.as_bytes(), crate::support::raw::Framing::Length);
        assert_eq!(crate::support::raw::exchange(port, &request).await.status, 404, "{path}");
    }
    // What the handler logs arrives through a pipe.
    until("the log tells of it", || dev.said().contains("host.forged-invocation").then_some(())).await;
    // A body of unknown length cannot be forwarded.
    let chunks = futures::stream::iter([Ok::<_, std::io::Error>(message(1))]);
    let chunked = reqwest::Body::wrap_stream(chunks);
    assert_eq!(dev.send("POST", "/api/tenants/acme/events", chunked).await.status(), 411);
    let streams = dev.get("/api/tenants/acme/streams").await["streams"].as_array().unwrap().clone();
    assert!(streams.iter().all(|stream| stream["category"] == "tenant"), "{streams:?}");
    // An append is published through the queue.
    let event = json!({ "specversion": "1.0", "id": "1", "source": "/me", "type": "note", "subject": "n" });
    assert_eq!(dev.send("POST", "/api/tenants/acme/events", event.to_string()).await.status(), 201);
    let client = dev.client.clone();
    let url = dev.url("/dev/change-feed");
    for _ in 0..500 {
        let feed = read(client.get(&url).send().await.unwrap()).await;
        let sent = feed["events"].as_array().unwrap().iter().find(|event| was_sent(event));
        if let Some(event) = sent {
            let href = event["data"]["href"].as_str().unwrap().to_owned();
            assert_eq!(read(client.get(href).send().await.unwrap()).await["id"], "1", "the link works");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the append was not published: {}", dev.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_gets_every_event_and_a_failed_delivery_again() {
    #[derive(Default)]
    struct Received {
        types: BTreeSet<String>,
        events: Vec<Value>,
        refused: bool,
    }
    let received: Arc<Mutex<Received>> = Arc::default();
    let hook = post(async |State(all): State<Arc<Mutex<Received>>>, headers: HeaderMap, body: Bytes| {
        let mut all = all.lock().unwrap();
        if !all.refused {
            all.refused = true;
            return axum::http::StatusCode::SERVICE_UNAVAILABLE;
        }
        all.types.insert(headers["content-type"].to_str().unwrap().to_owned());
        all.events.extend(serde_json::from_slice(&body).ok().filter(was_sent));
        axum::http::StatusCode::OK
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let router = Router::new().route("/hook", hook).with_state(Arc::clone(&received));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let app = app();
    let dev = Dev::start(app.path(), &app.path().join("data"), &["--forward", &url]).await;
    register(&dev, "acme").await;
    for n in 0..10 {
        dev.put("annals-ingest", &message(n)).await;
    }
    until("all events were forwarded", || (received.lock().unwrap().events.len() >= 10).then_some(())).await;
    let received = received.lock().unwrap();
    let ids: BTreeSet<_> = received.events.iter().map(|event| event["id"].to_string()).collect();
    assert_eq!(ids.len(), 10);
    assert_eq!(received.types, BTreeSet::from(["application/cloudevents+json; charset=utf-8".to_owned()]));
}

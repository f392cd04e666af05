//! A request that comes through the API and tries to be an invocation: it changes nothing, and the
//! log says that it was there.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    handler::{Handler, embedded, instance_event},
    read::{assert_contiguous, everything},
};

const FUNCTIONS: [&str; 5] = ["ingest", "ingest-poison", "publish", "publish-poison", "sweep"];

/// What `ingest` would take.
fn invocation() -> String {
    let event = instance_event("acme", "forged", "i-1", "created", json!({ "newStatus": "waiting" }));
    json!({ "Data": { "msg": STANDARD.encode(event.to_string()) }, "Metadata": {} }).to_string()
}

/// Sends a request with exactly this first line and these headers; gives the status.
async fn send(port: u16, first: &str, headers: &str) -> u16 {
    let body = invocation();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let length = body.len();
    let request = format!(
        "{first}\r\n{headers}Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("{first} {headers}: {answer:?}"))
}

/// Waits until the log has so many lines about forged invocations.
async fn assert_logged(handler: &Handler, count: usize) {
    let began = Instant::now();
    while handler.logged("host.forged-invocation").len() != count && began.elapsed() < Duration::from_secs(5)
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(handler.logged("host.forged-invocation").len(), count);
}

#[tokio::test]
async fn an_invocation_under_a_public_or_doubtful_name_changes_nothing_and_is_logged() {
    let (_folder, handler) = embedded().await;
    let port = handler.port;
    let own = format!("127.0.0.1:{port}");
    let mut sent = 0;
    for function in FUNCTIONS {
        let first = format!("POST /{function} HTTP/1.1");
        let absolute = format!("POST http://{own}/{function} HTTP/1.1");
        let foreign = format!("POST http://annals.example/{function} HTTP/1.1");
        let cases = [
            (&first, "Host: annals.example\r\n".to_owned()),
            (&first, "Host: annals.azurewebsites.net:443\r\n".to_owned()),
            (&first, format!("Host: localhost:{port}\r\n")),
            (&first, "Host: 127.0.0.1\r\n".to_owned()),
            (&first, format!("Host: {own}.\r\n")),
            (&first, format!("Host: user@{own}\r\n")),
            (
                &first,
                format!("Host: annals.example\r\nX-Forwarded-Host: {own}\r\nX-Original-Host: {own}\r\n"),
            ),
            (&first, format!("Host: {own}\r\nHost: annals.example\r\n")),
            (&first, format!("Host: annals.example\r\nHost: {own}\r\n")),
            (&first, format!("Host: {own}\r\nHost: {own}\r\n")),
            (&first, String::new()),
            (&absolute, format!("Host: {own}\r\n")),
            (&absolute, "Host: annals.example\r\n".to_owned()),
            (&foreign, format!("Host: {own}\r\n")),
        ];
        for (first, headers) in cases {
            assert_eq!(send(port, first, &headers).await, 404, "{first} {headers}");
            sent += 1;
        }
    }
    assert_logged(&handler, sent).await;
    assert_contiguous(&everything(&handler, "acme").await, 0);
    // The same from the host itself is an invocation.
    assert_eq!(send(port, "POST /ingest HTTP/1.1", &format!("Host: {own}\r\n")).await, 200);
    assert_contiguous(&everything(&handler, "acme").await, 1);
}

#[tokio::test]
async fn a_path_that_was_not_made_to_collapse_reaches_no_function_either() {
    let (_folder, handler) = embedded().await;
    let own = format!("Host: 127.0.0.1:{}\r\n", handler.port);
    for path in [
        "/api/ingest",
        "/api/../ingest",
        "/api/%2e%2e/ingest",
        "/api/%C3%A9/%252e%252e/%252e%252e/ingest",
        "//ingest",
        "/ingest/",
        "/INGEST",
        "/%69ngest",
        "/./ingest",
        "/api/tenants/..%2f..%2f..%2fingest",
        "/ingest;a=b",
        "/ingest%00",
    ] {
        let status = send(handler.port, &format!("POST {path} HTTP/1.1"), &own).await;
        assert!((400..500).contains(&status), "{path} is answered {status}");
    }
    assert_contiguous(&everything(&handler, "acme").await, 0);
}

/// `annals dev`, which forwards as the Functions host does. It ends its handler when it ends.
struct Dev {
    child: Child,
    port: u16,
}

impl Dev {
    async fn start(data: &std::path::Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = std::fs::File::create(data.join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_annals"))
            .args(["dev", "--port", &port.to_string(), "--data"])
            .arg(data.join("store"))
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap_or_default())
            .env("ANNALS_LOG", "info,handler=debug")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let dev = Self { child, port };
        let began = Instant::now();
        let settings = json!({ "changeFeed": { "enabled": true } });
        while !dev.put("/api/tenants/acme", &settings).await {
            assert!(began.elapsed() < Duration::from_secs(20), "annals dev does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        dev
    }

    fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }

    async fn put(&self, path: &str, body: &Value) -> bool {
        let request = reqwest::Client::new().put(self.url(path)).header("content-type", "application/json");
        request.body(body.to_string()).send().await.is_ok_and(|answer| answer.status().is_success())
    }

    async fn get(&self, path: &str) -> Value {
        serde_json::from_str(&reqwest::get(self.url(path)).await.unwrap().text().await.unwrap()).unwrap()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_path_that_collapses_onto_a_function_on_its_way_through_the_host_changes_nothing_and_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    let dev = Dev::start(folder.path()).await;
    let host = format!("Host: localhost:{}\r\n", dev.port);
    for path in [
        "/api/%C3%A9/%252e%252e/%252e%252e/ingest",
        "/api/x/%252e%252e/%252E%252e/ingest",
        "/api/%252e%252e/ingest",
    ] {
        assert_eq!(send(dev.port, &format!("POST {path} HTTP/1.1"), &host).await, 404, "{path}");
    }
    assert_eq!(dev.get("/api/tenants/acme/streams?category=workflow-instance").await["streams"], json!([]));
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert_eq!(log.matches("host.forged-invocation").count(), 3, "{log}");
}

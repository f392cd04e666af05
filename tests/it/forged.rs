//! A request that comes through the API and tries to be an invocation: it changes nothing, and the
//! log says that it was there.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    dev::{Dev, command, until},
    handler::{Handler, embedded, instance_event},
    read::{assert_contiguous, everything},
};

const FUNCTIONS: [&str; 8] =
    ["ingest", "ingest-poison", "publish", "publish-poison", "sweep", "gauge", "checkpoint", "http"];

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
    let logged = || handler.logged("host.forged-invocation").len();
    until("the log tells of each", || (logged() >= count).then_some(())).await;
    assert_eq!(logged(), count);
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
        for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "SEARCH"] {
            let first = format!("{method} /{function} HTTP/1.1");
            assert_eq!(send(port, &first, "Host: annals.example\r\n").await, 404, "{first}");
            sent += 1;
            // The host itself only ever posts.
            assert_eq!(send(port, &first, &format!("Host: {own}\r\n")).await, 405, "{first}");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_collapses_onto_a_function_on_its_way_through_the_host_changes_nothing_and_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    // It forwards as the Functions host does.
    let app = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = command(app, &folder.path().join("store"), 0, &[]);
    let dev = Dev::run(command.env("ANNALS_LOG", "info,handler=debug")).await;
    let settings = json!({ "changeFeed": { "enabled": true } });
    let added = dev.send("PUT", "/api/tenants/acme", settings.to_string()).await;
    assert!(added.status().is_success(), "{}", added.status());
    let host = format!("Host: localhost:{}\r\n", dev.port);
    for path in [
        "/api/%C3%A9/%252e%252e/%252e%252e/ingest",
        "/api/x/%252e%252e/%252E%252e/ingest",
        "/api/%252e%252e/ingest",
    ] {
        assert_eq!(send(dev.port, &format!("POST {path} HTTP/1.1"), &host).await, 404, "{path}");
    }
    assert_eq!(dev.get("/api/tenants/acme/streams?category=workflow-instance").await["streams"], json!([]));
    let logged = || dev.said().matches("host.forged-invocation").count();
    until("the log tells of each", || (logged() >= 3).then_some(())).await;
    assert_eq!(logged(), 3, "{}", dev.said());
}

//! An export that was broken off goes on, and ends as one that was not.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    proof::{annals, embedded, get},
    support::handler::Handler,
};

/// Events of this tenant: more than two pages of the command.
const EVENTS: usize = 1_300;

/// A way to the handler that breaks down after so many pages of an export.
struct Breaking {
    handler: String,
    pages: AtomicUsize,
    /// Somebody writes between the last page and the last line.
    busy: bool,
    client: Client,
}

async fn pass(State(way): State<Arc<Breaking>>, request: Request) -> Response {
    let path = request.uri().path_and_query().unwrap().to_string();
    if way.busy && path.contains("/completeness?") {
        let event =
            json!({ "specversion": "1.0", "id": path, "source": "/late", "type": "t", "subject": "x" });
        let url = format!("{}/api/tenants/acme/events", way.handler);
        let sent = way.client.post(url).header("content-type", "application/json").body(event.to_string());
        assert_eq!(sent.send().await.unwrap().status(), StatusCode::CREATED);
    }
    if path.contains("/export?") && way.pages.fetch_sub(1, Ordering::SeqCst) == 0 {
        way.pages.store(0, Ordering::SeqCst);
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let answer = way.client.get(format!("{}{path}", way.handler)).send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    (status, headers, Body::from(answer.bytes().await.unwrap())).into_response()
}

async fn breaking(handler: &Handler, pages: usize, busy: bool) -> (Arc<Breaking>, String) {
    let client = Client::builder().no_proxy().build().unwrap();
    let way = Breaking { handler: handler.url(""), pages: AtomicUsize::new(pages), busy, client };
    let way = Arc::new(way);
    let router = Router::new().fallback(pass).with_state(Arc::clone(&way));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (way, url)
}

async fn fill(handler: &Handler) {
    for from in (0..EVENTS).step_by(25) {
        let batch: Vec<_> = (from..from + 25)
            .map(|n| {
                json!({
                    "specversion": "1.0", "id": format!("e-{n}"), "source": "/s", "type": "t", "tenantid": "acme",
                    "subject": format!("x-{}", n % 7), "data": { "n": n, "text": "ü \"quoted\", and\nbroken" },
                })
            })
            .collect();
        handler.invoke("ingest", &json!(batch).to_string(), 1).await.unwrap();
    }
}

/// Runs `annals export`; whether it succeeded, and what it said.
async fn export(url: &str, file: &Path, more: &[&str]) -> (bool, String) {
    let fixed = ["export", "--tenant", "acme", "--url", url, "--output", file.to_str().unwrap()];
    let arguments: Vec<String> = fixed.iter().chain(more).map(|text| (*text).to_owned()).collect();
    let run = move || annals(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_broke_off_goes_on_and_ends_as_one_that_did_not() {
    let (_folder, handler) = embedded(&[]).await;
    fill(&handler).await;
    let work = tempfile::tempdir().unwrap();
    for more in [&[][..], &["--format", "csv"], &["--proof"]] {
        let name = more.join("");
        let (whole, part) =
            (work.path().join(format!("whole{name}")), work.path().join(format!("part{name}")));
        let (done, said) = export(&handler.url(""), &whole, more).await;
        assert!(done, "{said}");
        for pages in [1, 2] {
            let _ = std::fs::remove_file(&part);
            let (way, url) = breaking(&handler, pages, false).await;
            let (done, _) = export(&url, &part, more).await;
            assert!(!done && part.with_file_name(format!("part{name}.unfinished")).exists());
            let length = std::fs::metadata(&part).unwrap().len();
            assert!(length > 0 && length < std::fs::metadata(&whole).unwrap().len());
            // Cut off in the middle of a line: what no place was kept for is written again.
            let mut torn = std::fs::read(&part).unwrap();
            torn.extend(b"{\"half a li");
            std::fs::write(&part, torn).unwrap();
            way.pages.store(1_000, Ordering::SeqCst);
            let (done, ended) = export(&url, &part, &[more, &["--resume"]].concat()).await;
            assert!(done, "{ended}");
            assert_eq!(ended, said, "the same count and digests, {name}");
            assert!(
                std::fs::read(&part).unwrap() == std::fs::read(&whole).unwrap(),
                "the same bytes, {name}"
            );
        }
    }
    // Nothing is overwritten, and nothing is gone on with that was not begun.
    let (done, said) = export(&handler.url(""), &work.path().join("whole"), &[]).await;
    assert!(!done && said.contains("exists already"), "{said}");
    let (done, said) = export(&handler.url(""), &work.path().join("new"), &["--resume"]).await;
    assert!(!done && said.contains("there is no unfinished export"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_size_hold_the_same_lines() {
    let (_folder, handler) = embedded(&[]).await;
    fill(&handler).await;
    let mut texts = Vec::new();
    for limit in [1_000, 97] {
        let (mut text, mut count, mut after) = (String::new(), 0, String::new());
        loop {
            let path = format!("/api/tenants/acme/export?limit={limit}{after}");
            let page = handler.send("GET", &path, &[], None).await;
            let header = |name: &str| page.headers()[name].to_str().unwrap().to_owned();
            let (cursor, end) = (header("annals-cursor"), header("annals-end"));
            count += header("annals-count").parse::<usize>().unwrap();
            after = format!("&after={cursor}");
            text.push_str(&page.text().await.unwrap());
            if end == "true" {
                break;
            }
        }
        assert_eq!(text.lines().count(), count);
        texts.push(text);
    }
    assert!(texts[0] == texts[1]);
    let last: Value = serde_json::from_str(texts[0].lines().last().unwrap()).unwrap();
    let newest = get(&handler, "events?order=desc&limit=1").await;
    assert_eq!(last["position"], newest["events"][0]["position"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_line_tells_the_digest_behind_the_last_event_whatever_came_since() {
    let (_folder, handler) = embedded(&[]).await;
    fill(&handler).await;
    let work = tempfile::tempdir().unwrap();
    for (name, more) in [("plain", &[][..]), ("proof", &["--proof"])] {
        let (_way, url) = breaking(&handler, 1_000, true).await;
        let file = work.path().join(name);
        let (done, said) = export(&url, &file, more).await;
        assert!(done, "{said}");
        let text = std::fs::read_to_string(&file).unwrap();
        let end: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(end["count"], end["partitions"][0]["events"], "{end}");
        assert_eq!(end["partitions"][0]["closed"], json!(true), "more came behind it");
        assert!(!text.contains("/late") || name == "proof");
    }
}

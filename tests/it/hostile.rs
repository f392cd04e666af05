//! Hostile ids: stored and read back exactly, or refused with a clear word; never another row.

use annals::links::segment;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    handler::{Handler, embedded},
    read::{assert_contiguous, everything},
};

const APPEND: &str = "/api/tenants/acme/events";
/// Ids that are somebody's way to write, and somebody else's way to break in.
const STRANGE: [&str; 22] = [
    "../",
    "'",
    "%2F",
    "😀",
    "\u{2028}",
    "victim',RowKey='x",
    "~",
    ".",
    "..",
    "a|b",
    "a/b\\c?d#e",
    "~dmljdGlt",
    "victim ",
    "VICTIM",
    "victim%00",
    "%2e%2e",
    "$batch",
    "a' or 'a' eq 'a",
    "<x>&amp;\"",
    "e|event|victim|000000000001",
    "\u{202e}mitciv",
    "é\u{301}",
];
/// Ids that no event may have, with the word that says so.
fn forbidden() -> Vec<(String, &'static str)> {
    vec![
        (String::new(), "empty"),
        ("a\0b".into(), "control characters"),
        ("a\nb".into(), "control characters"),
        ("a\u{fffe}".into(), "noncharacters"),
        ("x".repeat(1 << 20), "at most"),
        ("x".repeat(50_000), "at most"),
    ]
}

fn pct(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// An event that uses one id wherever it can.
fn all_over(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": id, "type": "t", "subject": id, "tenantid": "acme",
        "correlationid": id, "causationid": id, "data": { "said": id },
    })
}

/// The event that nobody else's may touch.
async fn with_victim() -> (tempfile::TempDir, Handler, Value) {
    let (folder, handler) = embedded().await;
    handler.register("other").await;
    let (status, answer) = handler.api("POST", APPEND, Some(&all_over("victim"))).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let (_, victim) = handler.api("GET", "/api/tenants/acme/events/victim", None).await;
    (folder, handler, victim)
}

async fn assert_untouched(handler: &Handler, victim: &Value) {
    let (_, events) = handler.api("GET", "/api/tenants/acme/streams/event/victim/events", None).await;
    assert_eq!(events["events"], json!([victim]));
    assert_contiguous(&everything(handler, "other").await, 0);
}

/// Asserts that an event is found where it should be, by its own names and by no other.
async fn assert_found(handler: &Handler, id: &str) {
    let (part, query) = (segment(id), pct(id));
    let exact = |found: &Value| {
        let names = ["id", "source", "subject", "correlationId", "causationId"];
        assert!(names.iter().all(|name| found[*name] == id), "{id:?}: {found}");
        assert_eq!(found["data"]["said"], id);
    };
    for path in [format!("events/{part}?source={query}"), format!("events/{part}")] {
        let (status, found) = handler.api("GET", &format!("/api/tenants/acme/{path}"), None).await;
        assert_eq!(status, StatusCode::OK, "{id:?} {path}: {found}");
        exact(&found);
    }
    let (status, page) =
        handler.api("GET", &format!("/api/tenants/acme/streams/event/{part}/events"), None).await;
    assert_eq!(
        (status, page["events"].as_array().map(Vec::len)),
        (StatusCode::OK, Some(1)),
        "{id:?}: {page}"
    );
    exact(&page["events"][0]);
    let (_, stream) = handler.api("GET", &format!("/api/tenants/acme/streams/event/{part}"), None).await;
    assert_eq!((&stream["id"], &stream["version"]), (&json!(id), &json!(1)));
}

/// Writes an id into paths as it is: found exactly, refused, or not there.
async fn assert_raw_is_harmless(handler: &Handler, id: &str) {
    if id.starts_with('~') {
        // A rule of ours: it names what it encodes.
        return;
    }
    let raw = pct(id);
    for path in [
        format!("events/{raw}"),
        format!("events/victim?source={raw}"),
        format!("streams/event/{raw}"),
        format!("streams/{raw}/victim/events"),
        format!("streams?category={raw}"),
        format!("dead-letters/{raw}"),
    ] {
        let (status, answer) = handler.api("GET", &format!("/api/tenants/acme/{path}"), None).await;
        let allowed = matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND);
        let own = answer["id"] == id || answer["streams"] == json!([]);
        assert!(allowed || status == StatusCode::OK && own, "{path}: {status} {answer}");
    }
    for path in [format!("/api/tenants/{raw}"), format!("/api/tenants/{}", segment(id))] {
        let put = handler.api("PUT", &path, Some(&json!({}))).await;
        let read = handler.api("GET", &format!("{path}/streams"), None).await;
        for (status, answer) in [put, read] {
            // A tenant's id stands in names of tables and in logs: it is plain, or refused.
            let plain = status.is_success() && id.bytes().all(|b| b.is_ascii_alphanumeric());
            let refused = matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND);
            assert!(plain || refused, "{path}: {status} {answer}");
        }
    }
}

#[tokio::test]
async fn strange_ids_over_http_are_stored_and_read_back_exactly() {
    let (_folder, handler, victim) = with_victim().await;
    for id in STRANGE {
        let (status, answer) = handler.api("POST", APPEND, Some(&all_over(id))).await;
        assert_eq!((status, &answer[0]["id"]), (StatusCode::CREATED, &json!(id)), "{answer}");
        let (status, again) = handler.api("POST", APPEND, Some(&all_over(id))).await;
        assert_eq!((status, &again[0]["position"]), (StatusCode::OK, &answer[0]["position"]));
    }
    for id in STRANGE {
        assert_found(&handler, id).await;
        assert_raw_is_harmless(&handler, id).await;
    }
    assert_untouched(&handler, &victim).await;
    assert_contiguous(&everything(&handler, "acme").await, STRANGE.len() + 1);
}

#[tokio::test]
async fn strange_ids_over_the_queue_are_stored_published_and_read_back_exactly() {
    let (_folder, handler, victim) = with_victim().await;
    for id in STRANGE {
        let events = handler.invoke("ingest", &all_over(id).to_string(), 1).await.unwrap();
        let feed = &events[0];
        assert_eq!((&feed["data"]["eventId"], &feed["correlationid"]), (&json!(id), &json!(id)), "{feed}");
        assert_eq!(feed["subject"], format!("event/{id}"));
        let href = feed["data"]["href"].as_str().unwrap().strip_prefix("https://annals.example").unwrap();
        let (status, found) = handler.api("GET", href, None).await;
        assert_eq!((status, &found["id"]), (StatusCode::OK, &json!(id)), "{href}");
    }
    for id in STRANGE {
        assert_found(&handler, id).await;
    }
    assert_untouched(&handler, &victim).await;
    let (_, dead) = handler.api("GET", "/api/dead-letters", None).await;
    assert_eq!(dead["deadLetters"], json!([]));
}

#[tokio::test]
async fn strange_statuses_are_listed_under_their_own_name_alone() {
    let (_folder, handler) = embedded().await;
    for (number, status) in STRANGE.iter().enumerate() {
        let event = json!({
            "specversion": "1.0", "id": format!("{number}"), "source": "/s", "type": "io.marain.workflow.instance.created",
            "data": { "workflowInstanceId": status, "newStatus": status },
        });
        assert_eq!(handler.api("POST", APPEND, Some(&event)).await.0, StatusCode::CREATED, "{status:?}");
    }
    for status in STRANGE {
        let path = format!("/api/tenants/acme/streams?category=workflow-instance&status={}", pct(status));
        let (_, page) = handler.api("GET", &path, None).await;
        let found: Vec<_> = page["streams"].as_array().unwrap().iter().map(|stream| &stream["id"]).collect();
        assert_eq!(found, [&json!(status)], "{page}");
    }
}

#[tokio::test]
async fn a_strange_tenant_in_a_message_is_a_dead_letter_of_nobody() {
    let (_folder, handler, victim) = with_victim().await;
    for id in STRANGE.iter().filter(|id| **id != "VICTIM") {
        let mut event = all_over("x");
        event["tenantid"] = json!(id);
        assert_eq!(handler.invoke("ingest", &event.to_string(), 1).await, Ok(Vec::new()), "{id:?}");
        let (status, problem) = handler.api("POST", APPEND, Some(&event)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    }
    let (_, dead) = handler.api("GET", "/api/dead-letters", None).await;
    let letters = dead["deadLetters"].as_array().unwrap();
    assert_eq!(letters.len(), STRANGE.len() - 1);
    assert!(letters.iter().all(|letter| letter["reason"].as_str().unwrap().contains("tenantid")), "{dead}");
    assert_untouched(&handler, &victim).await;
}

#[tokio::test]
async fn forbidden_ids_are_refused_with_a_clear_word_over_http_and_become_dead_letters_over_the_queue() {
    let (_folder, handler, victim) = with_victim().await;
    let mut letters = 0;
    for (bad, word) in forbidden() {
        for field in ["id", "source", "type", "subject", "correlationid", "causationid"] {
            let mut event = all_over("x");
            event[field] = json!(bad);
            let (status, problem) = handler.api("POST", APPEND, Some(&event)).await;
            // More than all attributes together may have is too large, whichever it is.
            let too_large = bad.len() > 8 * 1024 && problem["code"] == "envelope-too-large";
            let wanted = if too_large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
            assert_eq!(status, wanted, "{field} {word}: {problem}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(
                (too_large || detail.contains(field)) && detail.contains(word) && detail.len() < 300,
                "{detail}"
            );
            assert_eq!(
                handler.invoke("ingest", &event.to_string(), 1).await,
                Ok(Vec::new()),
                "{field} {word}"
            );
            letters += 1;
        }
        let mut event = all_over("x");
        event["tenantid"] = json!(bad);
        let (status, problem) = handler.api("POST", APPEND, Some(&event)).await;
        assert!(matches!(status.as_u16(), 400 | 413), "tenantid {word}: {status} {problem}");
        assert_eq!(handler.invoke("ingest", &event.to_string(), 1).await, Ok(Vec::new()));
        let raw = if bad.len() < 4_000 { pct(&bad) } else { "x".repeat(4_000) };
        for path in ["events/", "streams/event/", "dead-letters/", "streams?status="] {
            let path = format!("/api/tenants/acme/{path}{raw}");
            let (status, answer) = handler.api("GET", &path, None).await;
            assert!(matches!(status.as_u16(), 400 | 404 | 405), "{path:.60} {status} {answer}");
        }
        for path in [format!("/api/tenants/{raw}"), format!("/api/tenants/~{raw}")] {
            let (status, answer) = handler.api("PUT", &path, Some(&json!({}))).await;
            assert!(matches!(status.as_u16(), 400 | 404 | 405), "{path:.60} {status} {answer}");
        }
    }
    let (_, dead) = handler.api("GET", "/api/tenants/acme/dead-letters?limit=1000", None).await;
    assert_eq!(dead["deadLetters"].as_array().unwrap().len(), letters);
    let (_, nobodys) = handler.api("GET", "/api/dead-letters", None).await;
    assert_eq!(nobodys["deadLetters"].as_array().unwrap().len(), forbidden().len());
    assert_untouched(&handler, &victim).await;
    assert_contiguous(&everything(&handler, "acme").await, 1);
}

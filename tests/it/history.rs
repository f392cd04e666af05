//! Reading histories: pages, orders, cursors, and what they cost.

use annals::testing::{
    azurite::Azurite,
    proxy::{FaultProxy, Kind},
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::handler::{Handler, embedded};

const BASE: &str = "/api/tenants/acme/streams/event/x/events";

/// Appends `count` events to one stream, as many as fit into one commit at a time.
async fn fill(handler: &Handler, count: usize) {
    let event = |number: usize| json!({ "specversion": "1.0", "id": format!("e-{number}"), "source": "/s", "type": "t", "subject": "x", "data": { "n": number } });
    let all: Vec<usize> = (1..=count).collect();
    for part in all.chunks(40) {
        let body = Value::Array(part.iter().copied().map(event).collect());
        let (status, answer) = handler.api("POST", "/api/tenants/acme/events", Some(&body)).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }
}

fn versions(page: &Value) -> Vec<u64> {
    let events = page["events"].as_array().unwrap_or_else(|| panic!("{page}"));
    events.iter().map(|event| event["version"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_thousand_events_are_read_in_pages_of_a_thousand_with_one_query_each() {
    let azurite = Azurite::start().unwrap();
    let proxy = FaultProxy::start(&azurite).await.unwrap();
    let handler = Handler::start(&[("AnnalsStorage", &proxy.connection_string())]).await;
    handler.register("acme").await;
    fill(&handler, 3_000).await;
    for (order, wanted) in [("asc", (1..=3_000).collect::<Vec<_>>()), ("desc", (1..=3_000).rev().collect())] {
        let (mut seen, mut path) = (Vec::new(), format!("{BASE}?limit=1000&order={order}"));
        while seen.len() < wanted.len() {
            // The registry's answer is good for ten seconds: its point read is not the page's.
            handler.api("GET", "/api/tenants/acme", None).await;
            let (queries, reads) = (proxy.count(Kind::Query), proxy.count(Kind::Get));
            let (status, page) = handler.api("GET", &path, None).await;
            assert_eq!(status, StatusCode::OK, "{page}");
            let found = versions(&page);
            assert_eq!(found.len(), 1_000, "{order}");
            assert_eq!(proxy.count(Kind::Query) - queries, 1, "queries for a page, {order}");
            // Newest first begins with a look at which is the newest.
            let first = u64::from(order == "desc" && seen.is_empty());
            assert_eq!(proxy.count(Kind::Get) - reads, first, "point reads for a page, {order}");
            seen.extend(found);
            match page["cursor"].as_str() {
                Some(cursor) => path = format!("{BASE}?limit=1000&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(seen, wanted, "{order}");
    }
}

#[tokio::test]
async fn a_history_ends_where_it_ends_in_both_orders() {
    let (_folder, handler) = embedded().await;
    fill(&handler, 200).await;
    for (order, wanted) in [("asc", (1..=200).collect::<Vec<u64>>()), ("desc", (1..=200).rev().collect())] {
        for limit in [90, 100, 200, 1_000] {
            let (mut seen, mut path) = (Vec::new(), format!("{BASE}?limit={limit}&order={order}"));
            loop {
                let (_, page) = handler.api("GET", &path, None).await;
                let found = versions(&page);
                assert!(!found.is_empty(), "no page is empty: {order} by {limit}");
                seen.extend(found);
                let Some(cursor) = page["cursor"].as_str() else { break };
                path = format!("{BASE}?limit={limit}&cursor={cursor}");
            }
            assert_eq!(seen, wanted, "{order} by {limit}");
        }
    }
}

#[tokio::test]
async fn a_cursor_of_another_tenant_or_a_damaged_one_is_refused() {
    let (_folder, handler) = embedded().await;
    handler.register("other").await;
    fill(&handler, 20).await;
    let (_, page) = handler.api("GET", &format!("{BASE}?limit=9"), None).await;
    let cursor = page["cursor"].as_str().unwrap();
    let other = |cursor: &str| format!("/api/tenants/other/streams/event/x/events?cursor={cursor}");
    let another_stream = format!("/api/tenants/acme/streams/event/y/events?cursor={cursor}");
    let another_list = format!("/api/tenants/acme/streams?cursor={cursor}");
    let mut refused = vec![other(cursor), another_stream, another_list];
    for wrong in
        ["x", "%00", "AQ", "%F0%9F%98%80", "", &"A".repeat(4_000), &cursor[1..], &format!("{cursor}A")]
    {
        refused.push(format!("{BASE}?cursor={wrong}"));
    }
    // Any one character changed.
    for at in 0..cursor.len() {
        let changed = if cursor.as_bytes()[at] == b'A' { "B" } else { "A" };
        refused.push(format!("{BASE}?cursor={}{changed}{}", &cursor[..at], &cursor[at + 1..]));
    }
    for path in refused {
        let (status, problem) = handler.api("GET", &path, None).await;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::BAD_REQUEST, &json!("invalid-request")),
            "{path} {problem}"
        );
    }
    assert_eq!(handler.api("GET", &format!("{BASE}?cursor={cursor}"), None).await.0, StatusCode::OK);
}

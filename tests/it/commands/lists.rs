//! Lists of commands, page by page.

use reqwest::StatusCode;
use serde_json::json;

use super::{COMMANDS, embedded, user};
use crate::support::handler::Handler;

impl Handler {
    /// The ids on each page of a list.
    async fn pages(&self, query: &str) -> Vec<Vec<String>> {
        let (mut pages, mut cursor) = (Vec::new(), String::new());
        loop {
            let (status, page) = self.api("GET", &format!("{COMMANDS}?{query}{cursor}"), None).await;
            assert_eq!(status, StatusCode::OK, "{page}");
            let ids =
                page["commands"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
            pages.push(ids.collect());
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return pages,
            }
        }
    }
}

#[tokio::test]
async fn commands_are_found_by_status_actor_type_and_time_the_newest_first() {
    let (_folder, handler) = embedded().await;
    for n in 0..12 {
        handler
            .dispatch(json!({
                "id": format!("c-{n:02}"), "type": format!("t{}", n % 2), "actor": user(&format!("u{}", n % 3)),
                "occurredAt": format!("2026-11-24T09:00:{n:02}Z"), "correlationId": format!("r{}", n % 4),
            }))
            .await;
        if n % 4 == 0 {
            handler.ask(&format!("c-{n:02}"), "outcome", json!({ "status": "succeeded" })).await;
        }
    }
    for (query, want) in [
        ("", (0..12).rev().collect()),
        ("status=succeeded", vec![8, 4, 0]),
        ("status=pending-approval", vec![]),
        ("type=t1&actor=u0", vec![9, 3]),
        ("from=2026-11-24T09:00:02Z&to=2026-11-24T09:00:05Z", vec![4, 3, 2]),
        ("correlation=r1", vec![9, 5, 1]),
        ("correlation=r0&status=dispatched", vec![]),
        ("correlation=r0&status=succeeded", vec![8, 4, 0]),
    ] {
        let seen = handler.pages(&format!("{query}&limit=2")).await.concat();
        let want: Vec<_> = want.into_iter().map(|n| format!("c-{n:02}")).collect();
        assert_eq!(seen, want, "{query}");
    }
}

#[tokio::test]
async fn what_wants_attention_is_listed_whole_each_page_the_newest_first() {
    let (_folder, handler) = embedded().await;
    // Ids against time.
    for n in (0..7).rev() {
        let body = json!({ "id": format!("c-{n}"), "type": "t", "actor": user("ann"), "approval": { "required": 1 } });
        handler.dispatch(body).await;
    }
    assert_eq!(
        handler.pages("status=pending-approval").await,
        [["c-0", "c-1", "c-2", "c-3", "c-4", "c-5", "c-6"]]
    );
    handler.approve("c-3", "bob").await;
    let mut pages = handler.pages("status=pending-approval&limit=4").await;
    assert!(pages.iter().all(|page| page.is_sorted()), "{pages:?}");
    pages.iter_mut().for_each(|page| page.sort());
    assert_eq!(pages.concat(), ["c-0", "c-1", "c-2", "c-4", "c-5", "c-6"]);
    // A cursor belongs to the list that gave it.
    let (_, page) = handler.api("GET", &format!("{COMMANDS}?limit=1"), None).await;
    let path = format!("{COMMANDS}?status=pending-approval&cursor={}", page["cursor"].as_str().unwrap());
    assert_eq!(handler.api("GET", &path, None).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_page_ends_before_it_is_too_large_for_a_small_instance() {
    let folder = tempfile::tempdir().unwrap();
    let handler = Handler::start(&[("ANNALS_DATA_DIR", folder.path().to_str().unwrap())]).await;
    let settings = json!({ "partitions": 3 });
    assert_eq!(handler.api("PUT", "/api/tenants/acme", Some(&settings)).await.0, StatusCode::CREATED);
    let large = "x".repeat(400 * 1024);
    for n in 0..20 {
        let body = json!({ "id": format!("c-{n:02}"), "type": "t", "data": large, "correlationId": "r" });
        assert_eq!(handler.dispatch(body).await.0, StatusCode::CREATED);
    }
    for query in ["limit=100", "limit=100&correlation=r"] {
        let pages = handler.pages(query).await;
        assert!(pages.len() > 1 && pages.iter().all(|page| page.len() <= 16), "{query}: {pages:?}");
        assert!(pages.iter().all(|page| page.is_sorted_by(|a, b| a > b)), "{query}: {pages:?}");
        let mut all = pages.concat();
        all.sort_by(|a, b| b.cmp(a));
        let newest_first: Vec<_> = (0..20).rev().map(|n| format!("c-{n:02}")).collect();
        assert_eq!(all, newest_first, "{query}: each once");
        // Places of a correlation id are those of its partitions.
        assert!(query.contains("correlation") || pages.concat() == newest_first, "{pages:?}");
    }
    let (_, found) = handler.api("GET", "/api/tenants/acme/correlations/r", None).await;
    assert_eq!(found["truncated"], true);
    assert!((10..20).contains(&found["commands"].as_array().unwrap().len()));
}

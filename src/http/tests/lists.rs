//! Lists and counts that end somewhere, and say so.

use serde_json::{Value, json};

use super::{StatusCode, World, boss, event};
use crate::domain::signing::SigningKey;

const EVENTS: &str = "/api/tenants/acme/events";

/// Every page of a list, by its cursor.
async fn pages(world: &World, path: &str, member: &str) -> Vec<Vec<Value>> {
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("{path}{cursor}"), &boss()).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.body);
        let page = page.json();
        pages.push(page[member].as_array().unwrap().clone());
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return pages,
        }
    }
}

#[tokio::test]
async fn consumers_are_listed_page_by_page_each_with_its_own_lag() {
    let world = World::new(&[]).await;
    world.tenant("acme", json!({ "partitions": 4 })).await;
    let read = async || world.get(&format!("{EVENTS}?limit=1000"), &boss()).await.json();
    let start = read().await["cursor"].as_str().unwrap().to_owned();
    for n in 0..6 {
        let sent = world.post(EVENTS, &boss(), &event(&format!("e-{n}"), &json!({}))).await;
        assert_eq!(sent.status, StatusCode::CREATED, "{}", sent.body);
    }
    let end = read().await["cursor"].as_str().unwrap().to_owned();
    for (name, at) in [("a", &start), ("a.b", &end), ("a~b", &start), ("b", &end), ("c", &start)] {
        let segment = crate::links::segment(name);
        let path = format!("/api/tenants/acme/consumers/{segment}");
        let kept = world.put(&path, &boss(), &json!({ "cursor": at })).await;
        assert_eq!(kept.status, StatusCode::CREATED, "{}", kept.body);
        assert_eq!(kept.json()["lag"]["events"], if *at == start { 6 } else { 0 }, "{}", kept.body);
    }
    for (limit, lengths) in [(2, &[2, 2, 1][..]), (5, &[5]), (1000, &[5])] {
        let path = format!("/api/tenants/acme/consumers?limit={limit}");
        let pages = pages(&world, &path, "consumers").await;
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), lengths);
        let mut told: Vec<_> = pages
            .concat()
            .iter()
            .map(|one| (one["name"].as_str().unwrap().to_owned(), one["lag"]["events"].as_u64().unwrap()))
            .collect();
        told.sort();
        let want = [("a", 6), ("a.b", 0), ("a~b", 6), ("b", 0), ("c", 6)];
        assert_eq!(told, want.map(|(name, lag)| (name.to_owned(), lag)));
    }
    let foreign = world.get(&format!("/api/tenants/acme/consumers?cursor={end}"), &boss()).await;
    assert_eq!(foreign.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_page_of_checkpoints_is_no_longer_than_was_asked_for() {
    let key = SigningKey::generate("annals.example/tests").unwrap().secret();
    let world = World::new(&[("ANNALS_CHECKPOINT_KEY", &key)]).await;
    world.tenant("acme", json!({ "partitions": 4 })).await;
    for round in 0..3 {
        for n in 0..12 {
            world.post(EVENTS, &boss(), &event(&format!("e-{round}-{n}"), &json!({}))).await;
        }
        world.app.checkpoints.round(&world.app.store).await.unwrap();
    }
    for (limit, length) in [(1, 4), (4, 4), (7, 4), (8, 8), (100, 12)] {
        let page = world.get(&format!("/api/tenants/acme/checkpoints?limit={limit}"), &boss()).await.json();
        let page = page["checkpoints"].as_array().unwrap().clone();
        assert_eq!(page.len(), length, "limit {limit}: {page:?}");
        let partitions: std::collections::BTreeSet<_> =
            page.iter().map(|one| one["partition"].to_string()).collect();
        assert_eq!(partitions.len(), 4, "the newest of each is there");
    }
}

/// Each is as large as a message and read whole: they are counted as far as that is cheap.
#[tokio::test]
async fn completeness_counts_dead_letters_up_to_a_bound_and_says_when_there_are_more() {
    let world = World::new(&[]).await;
    world.tenant("acme", json!({})).await;
    let counted = async || {
        let waiting = world.get("/api/tenants/acme/completeness", &boss()).await.json()["waiting"].clone();
        (waiting["deadLetters"].as_u64().unwrap(), waiting["moreDeadLetters"].as_bool().unwrap())
    };
    let bury = async |n: usize| {
        let letter = json!({ "specversion": "9", "id": format!("dead-{n}"), "tenantid": "acme" });
        assert_eq!(world.invoke("ingest", &letter.to_string()).await.status, StatusCode::OK);
    };
    for n in 0..3 {
        bury(n).await;
    }
    assert_eq!(counted().await, (3, false));
    for n in 3..330 {
        bury(n).await;
    }
    assert_eq!(counted().await, (320, true), "at least so many");
}

#[tokio::test]
async fn a_letter_is_replayed_to_its_own_queue_and_not_to_one_whose_name_begins_alike() {
    let world = World::new(&[("ANNALS_INGEST_QUEUE", "annals-publish-in")]).await;
    let early = event("1", &json!({})).to_string().replace(r#""id""#, r#""tenantid":"acme","id""#);
    assert_eq!(world.invoke("ingest", &early).await.status, StatusCode::OK);
    world.tenant("acme", json!({})).await;
    let letters = world.get("/api/dead-letters", &boss()).await.json();
    let letter = &letters["deadLetters"][0];
    assert_eq!(letter["queue"], "annals-publish-in", "{letters}");
    let path = format!("/api/dead-letters/{}/replay", letter["id"].as_str().unwrap());
    let replayed = world.post(&path, &boss(), &json!({})).await;
    assert_eq!(
        (replayed.status, &replayed.json()[0]["version"]),
        (StatusCode::OK, &json!(1)),
        "{}",
        replayed.body
    );
}

#[tokio::test]
async fn what_is_no_truth_value_is_refused() {
    let world = World::new(&[]).await;
    world.tenant("acme", json!({})).await;
    for (proof, status) in [("true", 200), ("false", 200), ("1", 400), ("TRUE", 400), ("", 400)] {
        let page = world.get(&format!("/api/tenants/acme/export?proof={proof}"), &boss()).await;
        assert_eq!(page.status.as_u16(), status, "{proof}: {}", page.body);
    }
}

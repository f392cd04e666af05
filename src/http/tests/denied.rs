//! Who is turned away, who reads, and who asks too often.

use std::time::Duration;

use serde_json::{Value, json};

use super::{StatusCode, World, boss};
use crate::testing::issuer::Issuer;

async fn audit(world: &World, kind: &str) -> Vec<Value> {
    let now = world.app.store.clock().now();
    world.app.gatekeeper.ledger.write(&world.app.store, now.plus(Duration::from_secs(61))).await;
    let history = world.get("/api/tenants/acme/streams/tenant/audit/events", &boss()).await.json();
    let events = history["events"].as_array().unwrap().clone();
    events.into_iter().filter(|event| event["type"] == kind).collect()
}

#[tokio::test]
async fn denied_attempts_become_one_event_for_each_reason_and_minute() {
    let world = World::new(&[]).await;
    world.tenant("acme", json!({})).await;
    for n in 0..20 {
        let stranger = Issuer::token(&format!("s-{}", n % 3), &["reader:other"]);
        assert_eq!(world.get("/api/tenants/acme/streams", &stranger).await.status, StatusCode::FORBIDDEN);
        assert_eq!(world.get("/api/tenants/acme/streams", "x.y.z").await.status, StatusCode::UNAUTHORIZED);
        world.get("/api/tenants/nowhere/streams", "x.y.z").await;
    }
    let denied = audit(&world, "annals.access.denied").await;
    assert_eq!(denied.len(), 2, "{denied:?}");
    for event in &denied {
        assert_eq!((&event["data"]["count"], &event["recordedBy"]), (&json!(20), &json!("annals")));
    }
    let forbidden = denied.iter().find(|event| event["data"]["reason"] == "forbidden").unwrap();
    let callers = ["entra:directory:s-0", "entra:directory:s-1", "entra:directory:s-2"];
    assert_eq!(forbidden["data"]["callers"], json!(callers));
    assert!(audit(&world, "annals.access.denied").await.len() == 2, "each is told once");
}

#[tokio::test]
async fn reads_are_audited_where_a_tenant_asks_for_it() {
    let world = World::new(&[]).await;
    for (setting, events) in [("off", 0), ("exports", 0), ("all", 1)] {
        world.tenant("acme", json!({ "readAudit": setting })).await;
        for _ in 0..3 {
            let reader = Issuer::token("r", &["reader:acme"]);
            assert_eq!(world.get("/api/tenants/acme/streams?limit=5", &reader).await.status, StatusCode::OK);
        }
        let read = audit(&world, "annals.access.read").await;
        let of_reader: Vec<_> =
            read.iter().filter(|event| event["data"]["caller"] == "entra:directory:r").collect();
        assert_eq!(of_reader.len(), events, "{setting}: {read:?}");
        if let Some(event) = of_reader.first() {
            let want = (&json!(3), &json!(["/tenants/acme/streams"]));
            assert_eq!((&event["data"]["count"], &event["data"]["paths"]), want);
        }
    }
}

/// A question that stands in a body is a read like any other.
#[tokio::test]
async fn who_asks_whether_a_value_was_a_secret_is_audited() {
    let world = World::new(&[]).await;
    world.tenant("acme", json!({ "readAudit": "all" })).await;
    let commands = "/api/tenants/acme/commands";
    let told = json!({ "status": "succeeded", "result": { "key": "k" }, "secretOnce": ["/key"] });
    for (path, body) in [("", json!({ "id": "c", "type": "t" })), ("/c/outcome", told)] {
        let answer = world.post(&format!("{commands}{path}"), &boss(), &body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    }
    let reader = Issuer::token("r", &["reader:acme"]);
    let asked = json!({ "pointer": "/key", "value": "k" });
    let answer = world.post(&format!("{commands}/c/secret-check"), &reader, &asked).await;
    assert_eq!(answer.json()["matches"], true, "{}", answer.body);
    let read = audit(&world, "annals.access.read").await;
    let paths: Vec<_> =
        read.iter().map(|event| (&event["data"]["caller"], &event["data"]["paths"])).collect();
    let want = (&json!("entra:directory:r"), &json!(["/tenants/acme/commands/c/secret-check"]));
    assert_eq!(paths, [want], "and nothing that was written");
}

/// Whoever guesses at thousands of tenants cannot hide what is tried at one that exists.
#[tokio::test]
async fn guesses_at_tenants_do_not_crowd_out_the_audit_of_real_ones() {
    let world = World::new(&[]).await;
    world.tenant("acme", json!({})).await;
    assert_eq!(world.get("/api/tenants/acme/streams", &boss()).await.status, StatusCode::OK);
    for n in 0..5_100 {
        world.get(&format!("/api/tenants/guess-{n}/streams"), "x.y.z").await;
    }
    assert_eq!(world.app.gatekeeper.ledger.waiting(), 5_000, "guesses have an end");
    world.get("/api/tenants/acme/streams", "x.y.z").await;
    assert_eq!(world.app.gatekeeper.ledger.waiting(), 5_001);
    let denied = audit(&world, "annals.access.denied").await;
    assert_eq!(denied.len(), 1, "{denied:?}");
}

/// What storage does not take now is written later, and once.
#[tokio::test]
async fn an_attempt_that_cannot_be_audited_now_is_audited_later() {
    let world = World::new(&[]).await;
    world.tenant("acme", json!({})).await;
    let ledger = &world.app.gatekeeper.ledger;
    assert_eq!(world.get("/api/tenants/acme/streams", "x.y.z").await.status, StatusCode::UNAUTHORIZED);
    let now = world.app.store.clock().now();
    assert_eq!(ledger.write(&world.app.store, now).await, 0, "its minute is not over");
    assert_eq!(ledger.waiting(), 1);
    let within = Duration::from_secs(60);
    assert_eq!(ledger.flush(&world.app.store, now, within).await, 1);
    assert_eq!((ledger.waiting(), ledger.flush(&world.app.store, now, within).await), (0, 0));
    assert_eq!(audit(&world, "annals.access.denied").await.len(), 1);
}

#[tokio::test]
async fn a_tenant_that_asks_too_often_is_told_when_to_come_back() {
    let world = World::new(&[("ANNALS_READS_PER_SECOND", "2")]).await;
    world.tenant("acme", json!({})).await;
    world.tenant("other", json!({})).await;
    let mut turned_away = 0;
    for _ in 0..12 {
        let answer = world.get("/api/tenants/acme/streams", &boss()).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            turned_away += 1;
            assert_eq!(answer.headers["retry-after"], "1");
            assert_eq!(answer.json()["code"], "too-many-requests");
        }
    }
    assert!(turned_away > 0);
    assert_eq!(world.get("/api/tenants/other/streams", &boss()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn paths_headers_and_bodies_have_limits_and_a_stranger_never_gets_to_the_body() {
    use axum::{body::Body, http::Request};
    let world = World::new(&[]).await;
    world.tenant("acme", json!({})).await;
    let long = world.get(&format!("/api/tenants/acme/streams/event/{}", "x".repeat(5_000)), &boss()).await;
    assert_eq!(long.status, StatusCode::URI_TOO_LONG);
    let request = Request::builder().uri("/api/tenants/acme").header("x-long", "x".repeat(60_000));
    let answer = world.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let large = |token: String| {
        Request::post("/api/tenants/acme/events")
            .header("authorization", format!("Bearer {token}"))
            .header("content-length", 7 * 1024 * 1024)
            .body(Body::empty())
            .unwrap()
    };
    assert_eq!(world.send(large(boss())).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(world.send(large("x.y.z".to_owned())).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn what_the_framework_refuses_is_a_problem_too() {
    let world = World::new(&[]).await;
    world.tenant("acme", json!({})).await;
    for path in [
        "acme/events?limit=1&limit=2",
        "acme/streams?category=%FF&category=b",
        "%FF/streams",
        "acme/events/%FF",
        "acme/streams/event/%C3/events",
    ] {
        let answer = world.get(&format!("/api/tenants/{path}"), &boss()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}: {}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{path}");
        assert_eq!(answer.json()["code"], "invalid-request", "{path}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_cut_off() {
    use axum::{body::Body, http::Request};
    let world = World::new(&[]).await;
    world.tenant("acme", json!({})).await;
    let reader = Issuer::token("w", &["writer:acme"]);
    // Known by now, so that nothing but the body is waited for.
    assert_eq!(world.get("/api/tenants/acme", &boss()).await.status, StatusCode::OK);
    tokio::time::pause();
    let endless = futures::stream::unfold((), async |()| {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, std::convert::Infallible>("x"), ()))
    });
    let request = Request::post("/api/tenants/acme/events")
        .header("authorization", format!("Bearer {reader}"))
        .header("content-type", "application/cloudevents+json")
        .body(Body::from_stream(endless))
        .unwrap();
    let answer = world.send(request).await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT, "{}", answer.body);
}

#[tokio::test]
async fn the_queue_can_be_held_to_some_tenants() {
    let world = World::new(&[("ANNALS_QUEUE_TENANTS", "acme")]).await;
    for tenant in ["acme", "other"] {
        world.tenant(tenant, json!({})).await;
        let mut event = super::event("1", &json!({}));
        event["tenantid"] = tenant.into();
        assert_eq!(world.invoke("ingest", &event.to_string()).await.status, StatusCode::OK);
    }
    assert_eq!(world.get("/api/tenants/acme/events/1", &boss()).await.status, StatusCode::OK);
    assert_eq!(world.get("/api/tenants/other/events/1", &boss()).await.status, StatusCode::NOT_FOUND);
    let letters = world.get("/api/dead-letters", &boss()).await.json();
    assert_eq!(letters["deadLetters"][0]["code"], "unknown-tenant");
}

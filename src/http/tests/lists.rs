//! Lists and counts that end somewhere, and say so.

use serde_json::{Value, json};

use super::{StatusCode, World, boss, event};
use crate::domain::signing::SigningKey;

const EVENTS: &str = "/api/tenants/acme/events";

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

//! What can never be stored is kept, and can be stored after all.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::handler::{embedded, instance_event};

#[tokio::test]
async fn what_cannot_be_stored_becomes_one_dead_letter_and_can_be_replayed() {
    let (_folder, handler) = embedded().await;
    for message in ["not json", r#"{"specversion":"1.0"}"#] {
        for count in 1..=2 {
            assert_eq!(handler.invoke("ingest", message, count).await, Ok(Vec::new()));
        }
    }
    let early = instance_event("later", "e-1", "i-1", "created", json!({})).to_string();
    assert_eq!(handler.invoke("ingest", &early, 1).await, Ok(Vec::new()));
    let (_, list) = handler.api("GET", "/api/dead-letters", None).await;
    let letters = list["deadLetters"].as_array().unwrap();
    assert_eq!(letters.len(), 3, "{list}");
    let letter = letters.iter().find(|letter| letter["code"] == "unknown-tenant").unwrap();
    let path = format!("/api/dead-letters/{}", letter["id"].as_str().unwrap());
    let (_, whole) = handler.api("GET", &path, None).await;
    assert_eq!(whole["body"], Value::String(early));
    let (status, _) = handler.api("POST", &format!("{path}/replay"), None).await;
    assert_eq!(status, StatusCode::CONFLICT, "the tenant is still unknown");
    handler.register("later").await;
    let (status, answers) = handler.api("POST", &format!("{path}/replay"), None).await;
    assert_eq!((status, &answers[0]["version"]), (StatusCode::OK, &json!(1)), "{answers}");
}

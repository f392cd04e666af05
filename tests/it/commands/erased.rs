//! What is erased of a command takes nothing from what was decided: people and payloads go, the
//! quorum, the claim and the outcome stay.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{COMMANDS, embedded, user};
use crate::support::handler::Handler;

impl Handler {
    /// Erases the event at this version of a command's stream, its actor too.
    async fn erase_of(&self, command: &str, version: usize, pointers: &[&str]) {
        let path = format!("/api/tenants/acme/streams/command/{command}/events?limit=1000");
        let (_, history) = self.api("GET", &path, None).await;
        let event = &history["events"][version - 1];
        assert_eq!(event["version"], version, "{history}");
        let body = json!({
            "event": { "id": event["id"], "source": event["source"] }, "actor": true, "pointers": pointers,
            "reason": "asked for",
        });
        let (status, receipt) = self.api("POST", "/api/tenants/acme/erasures", Some(&body)).await;
        assert_eq!(
            (status, receipt["erased"].as_array().map(Vec::len)),
            (StatusCode::OK, Some(1)),
            "{receipt}"
        );
    }

    /// The record, the stored status and the proof agree.
    async fn agrees(&self, command: &str, status: &str) -> Value {
        let record = self.command(command).await;
        assert_eq!(record["status"], status, "{record}");
        assert_eq!(self.stored_status(command).await, status);
        let (_, report) = self.api("GET", "/api/tenants/acme/verification?include=data", None).await;
        assert_eq!((&report["verified"], &report["differences"]), (&json!(true), &json!([])), "{report}");
        assert!(!record.to_string().contains("canary"), "{record}");
        record
    }
}

fn dispatch() -> Value {
    json!({
        "id": "c", "type": "DeleteKey", "actor": user("ann-canary"), "data": { "note": "canary" },
        "approval": { "required": 2, "approvers": ["bob-canary", "cid", "ann-canary", "dan"] },
    })
}

fn approval() -> Value {
    json!({ "id": "op-1", "decision": "approve", "comment": "canary", "actor": user("bob-canary") })
}

#[tokio::test]
async fn an_approval_that_is_erased_while_the_command_is_pending_still_counts() {
    let (_folder, handler) = embedded().await;
    handler.dispatch(dispatch()).await;
    assert_eq!(handler.ask("c", "approvals", approval()).await.1["approvals"], 1);
    // First the dispatch, with its policy, its type and who asked; then the approval.
    handler.erase_of("c", 1, &[]).await;
    handler.erase_of("c", 2, &[]).await;
    let record = handler.agrees("c", "pending-approval").await;
    assert_eq!((&record["approval"]["required"], &record["approval"]["approvals"]), (&json!(2), &json!(1)));
    assert!(record["erased"]["time"].is_string(), "{record}");
    assert!(record["approval"]["decisions"][0]["erased"]["time"].is_string(), "{record}");
    let (_, listed) = handler.api("GET", &format!("{COMMANDS}?status=pending-approval"), None).await;
    assert_eq!(listed["commands"][0]["id"], "c");
    // The erased people are who they were: nobody decides twice, nobody on their own command.
    assert_eq!(handler.approve("c", "bob-canary").await.1["ignored"], "repeated");
    assert_eq!(handler.approve("c", "ann-canary").await.1["code"], "requester-excluded");
    assert_eq!(handler.approve("c", "eve").await.1["code"], "not-an-approver");
    // A repetition of what was erased is one, and its body is dropped.
    let (status, again) = handler.ask("c", "approvals", approval()).await;
    assert_eq!((status, &again["repeated"], &again["approvals"]), (StatusCode::OK, &json!(true), &json!(1)));
    assert_eq!(handler.dispatch(dispatch()).await.0, StatusCode::OK);
    assert_eq!(handler.approve("c", "cid").await.1["status"], "approved");
    let types = ["dispatched", "given", "given", "given", "approved"];
    assert_eq!(handler.events_of("c").await, types);
    handler.erase_of("c", 3, &[]).await;
    handler.agrees("c", "approved").await;
}

#[tokio::test]
async fn a_claim_and_an_outcome_that_are_erased_still_stand() {
    let (_folder, handler) = embedded().await;
    handler.dispatch(dispatch()).await;
    handler.ask("c", "approvals", approval()).await;
    handler.approve("c", "cid").await;
    let (_, claim) = handler.ask("c", "claim", json!({ "actor": user("worker-canary") })).await;
    for version in [1, 2, 5] {
        handler.erase_of("c", version, &[]).await;
    }
    assert_eq!(handler.agrees("c", "claimed").await["claim"]["fence"], claim["fence"]);
    let (status, held) = handler.ask("c", "claim", json!({ "actor": user("w-2") })).await;
    assert_eq!((status, &held["code"]), (StatusCode::CONFLICT, &json!("claimed-by-another")));
    assert_eq!(held["holder"], Value::Null, "whoever holds it is erased: {held}");
    let outcome = json!({
        "status": "succeeded", "fence": claim["fence"],
        "result": { "key": "canary", "before": { "a": 1 }, "after": { "a": 2 } }, "secretOnce": ["/key"],
    });
    assert_eq!(handler.ask("c", "outcome", outcome.clone()).await.0, StatusCode::CREATED);
    assert_eq!(handler.agrees("c", "succeeded").await["changes"].as_array().map(Vec::len), Some(1));
    // Part of it, then all of it.
    handler.erase_of("c", 6, &["/result/before"]).await;
    let record = handler.agrees("c", "succeeded").await;
    assert_eq!(record["outcome"]["erased"]["pointers"], json!(["/result/before"]));
    assert!(record["changes"].is_null() || !record["changes"].to_string().contains('1'), "{record}");
    handler.erase_of("c", 6, &[]).await;
    let record = handler.agrees("c", "succeeded").await;
    assert_eq!(
        (&record["outcome"]["status"], &record["outcome"]["result"]),
        (&json!("succeeded"), &Value::Null)
    );
    // The fingerprint of the secret went with it.
    let asked = json!({ "pointer": "/key", "value": "canary" });
    assert_eq!(handler.ask("c", "secret-check", asked).await.1["code"], "no-such-secret");
    // Another outcome is none, and the first is repeated.
    assert_eq!(handler.ask("c", "outcome", outcome).await.0, StatusCode::OK);
    let other = json!({ "id": "op-9", "status": "failed", "fence": claim["fence"] });
    assert_eq!(handler.ask("c", "outcome", other).await.1["code"], "command-ended");
}

#[tokio::test]
async fn what_falls_due_does_so_although_the_dispatch_is_erased() {
    let (_folder, handler) = embedded().await;
    let body = json!({
        "id": "c", "type": "t", "timeLimit": 0.2, "data": "canary", "actor": user("canary"), "correlationId": "r",
    });
    handler.dispatch(body).await;
    handler.erase_of("c", 1, &[]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    handler.invoke("sweep", "{}", 1).await.unwrap();
    handler.agrees("c", "in-doubt").await;
    // The requester, and nobody else, withdraws a command whose dispatch is erased.
    handler
        .dispatch(
            json!({ "id": "w", "type": "t", "actor": user("ann-canary"), "approval": { "required": 1 } }),
        )
        .await;
    handler.erase_of("w", 1, &[]).await;
    let by = |who: &str| json!({ "actor": user(who) });
    assert_eq!(handler.ask("w", "withdraw", by("bob")).await.1["code"], "not-the-requester");
    assert_eq!(handler.ask("w", "withdraw", by("ann-canary")).await.1["status"], "withdrawn");
    let path = "/api/tenants/acme/correlations/r";
    let (_, found) = handler.api("GET", path, None).await;
    assert_eq!((&found["statuses"], &found["commands"][0]["id"]), (&json!({ "in-doubt": 1 }), &json!("c")));
}

//! Approvals with a quorum, and one executor.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{embedded, user};
use crate::support::handler::Handler;

async fn ask_for_two(handler: &Handler, id: &str, more: Value) {
    let mut approval = json!({ "required": 2 });
    approval.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let body = json!({ "id": id, "type": "DeleteKey", "actor": user("ann"), "approval": approval });
    let (status, answer) = handler.dispatch(body).await;
    assert_eq!((status, &answer["status"]), (StatusCode::CREATED, &json!("pending-approval")), "{answer}");
}

#[tokio::test]
async fn two_people_approve_one_executor_claims_and_the_story_is_on_record() {
    let (_folder, handler) = embedded().await;
    ask_for_two(&handler, "c", json!({})).await;
    let (_, first) = handler
        .ask("c", "approvals", json!({ "decision": "approve", "comment": "fine", "actor": user("bob") }))
        .await;
    assert_eq!((&first["status"], &first["approvals"]), (&json!("pending-approval"), &json!(1)));
    let (status, again) = handler.approve("c", "bob").await;
    assert_eq!(
        (status, &again["ignored"], &again["approvals"]),
        (StatusCode::CREATED, &json!("repeated"), &json!(1))
    );
    let (status, own) = handler.approve("c", "ann").await;
    assert_eq!((status, &own["code"]), (StatusCode::FORBIDDEN, &json!("requester-excluded")));
    // One person does not become two by being called something else.
    let renamed = json!({ "decision": "approve", "actor": { "type": "service_account", "id": "bob" } });
    assert_eq!(handler.ask("c", "approvals", renamed).await.1["ignored"], "repeated");
    assert_eq!(handler.ask("c", "claim", json!({})).await.1["code"], "not-approved");
    assert_eq!(handler.approve("c", "cid").await.1["status"], "approved");
    let (_, late) = handler.ask("c", "approvals", json!({ "decision": "deny", "actor": user("dan") })).await;
    assert_eq!((&late["ignored"], &late["status"]), (&json!("late"), &json!("approved")));

    let (_, claim) = handler.ask("c", "claim", json!({ "actor": user("worker-1"), "lease": 60 })).await;
    let fence = claim["fence"].as_u64().unwrap();
    let (status, held) = handler.ask("c", "claim", json!({ "actor": user("worker-2") })).await;
    assert_eq!((status, &held["code"]), (StatusCode::CONFLICT, &json!("claimed-by-another")));
    assert_eq!(held["holder"], user("worker-1"));
    for (body, code) in [
        (json!({ "status": "succeeded" }), "fence-required"),
        (json!({ "status": "succeeded", "fence": fence + 1 }), "stale-fence"),
    ] {
        assert_eq!(handler.ask("c", "outcome", body).await.1["code"], code);
    }
    let (_, renewed) = handler.ask("c", "claim/renew", json!({ "fence": fence, "lease": 120 })).await;
    assert!(renewed["until"].as_str() > claim["until"].as_str());
    let (status, _) = handler.ask("c", "outcome", json!({ "status": "succeeded", "fence": fence })).await;
    assert_eq!(status, StatusCode::CREATED);
    let command = handler.command("c").await;
    assert_eq!(command["status"], handler.stored_status("c").await.as_str());
    let decisions = command["approval"]["decisions"].as_array().unwrap();
    assert_eq!((decisions[0]["comment"].as_str(), decisions.len()), (Some("fine"), 5));
    assert_eq!(command["approval"]["approvals"], 2);
    let want = [
        "dispatched",
        "given",
        "given",
        "given",
        "given",
        "approved",
        "given",
        "claimed",
        "claim-renewed",
        "succeeded",
    ];
    assert_eq!(handler.events_of("c").await, want);
}

#[tokio::test]
async fn the_last_approval_is_told_on_the_change_feed_once_and_names_nobody() {
    let (_folder, handler) = embedded().await;
    ask_for_two(&handler, "c", json!({})).await;
    for who in ["bob", "cid", "dan"] {
        let yes = json!({ "decision": "approve", "comment": "canary", "actor": user(who) });
        handler.ask("c", "approvals", yes).await;
    }
    let (_, history) = handler.api("GET", "/api/tenants/acme/streams/command/c/events", None).await;
    let events = history["events"].as_array().unwrap();
    let mut feed = Vec::new();
    // The second yes and what follows from it are one commit.
    for index in [0, 1, 3, 4] {
        let last = &events[index]["position"]["sequence"];
        let commit = json!({ "tenant": "acme", "partition": "p00", "last": last }).to_string();
        feed.extend(handler.invoke("publish", &commit, 1).await.unwrap());
    }
    let types: Vec<_> = feed.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let [given, approved] = ["annals.approval.given", "annals.command.approved"];
    assert_eq!(types, ["annals.command.dispatched", given, given, approved, given]);
    let told = &feed[3];
    assert_eq!(told["subject"], "command/c");
    let data = &told["data"];
    assert_eq!(
        (&data["commandId"], &data["commandType"], &data["newStatus"]),
        (&json!("c"), &json!("DeleteKey"), &json!("approved"))
    );
    assert_eq!((&data["approvals"], &data["approvalsRequired"]), (&json!("2"), &json!("2")));
    let all = json!(feed).to_string();
    for private in ["ann\"", "bob", "cid", "dan", "canary"] {
        assert!(!all.contains(private), "{private} in {all}");
    }
}

#[tokio::test]
async fn listed_approvers_alone_decide_one_no_is_enough_and_the_requester_may_withdraw() {
    let (_folder, handler) = embedded().await;
    ask_for_two(&handler, "c", json!({ "approvers": ["bob", user("cid"), "dan"] })).await;
    assert_eq!(handler.approve("c", "eve").await.1["code"], "not-an-approver");
    let (_, denied) =
        handler.ask("c", "approvals", json!({ "decision": "deny", "actor": user("dan") })).await;
    assert_eq!(denied["status"], "denied");
    assert_eq!(handler.ask("c", "claim", json!({})).await.1["code"], "command-ended");

    ask_for_two(&handler, "w", json!({})).await;
    let by = |who: &str| json!({ "actor": user(who), "comment": "changed my mind" });
    assert_eq!(handler.ask("w", "withdraw", by("bob")).await.1["code"], "not-the-requester");
    assert_eq!(handler.ask("w", "withdraw", by("ann")).await.1["status"], "withdrawn");
    assert_eq!(handler.approve("w", "bob").await.1["ignored"], "late");
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_without_end_are_refused_and_the_command_still_runs() {
    let (_folder, handler) = embedded().await;
    ask_for_two(&handler, "c", json!({})).await;
    handler.approve("c", "bob").await;
    for _ in 0..200 {
        assert_eq!(handler.approve("c", "bob").await.1["ignored"], "repeated");
    }
    let (status, full) = handler.approve("c", "bob").await;
    assert_eq!((status, &full["code"]), (StatusCode::CONFLICT, &json!("command-full")), "{full}");
    assert_eq!(handler.approve("c", "cid").await.1["status"], "approved");
    let (_, claim) = handler.ask("c", "claim", json!({})).await;
    let outcome = json!({ "status": "succeeded", "fence": claim["fence"] });
    assert_eq!(handler.ask("c", "outcome", outcome).await.0, StatusCode::CREATED);
    assert_eq!(handler.command("c").await["status"], handler.stored_status("c").await.as_str());
}

#[tokio::test]
async fn approval_expires_and_a_lost_claim_comes_back_with_the_timer() {
    let (_folder, handler) = embedded().await;
    let soon = std::time::SystemTime::now() + Duration::from_secs(5);
    let soon =
        time::OffsetDateTime::from(soon).format(&time::format_description::well_known::Rfc3339).unwrap();
    ask_for_two(&handler, "late", json!({ "expiresAt": soon })).await;
    ask_for_two(&handler, "lost", json!({})).await;
    handler.approve("lost", "bob").await;
    handler.approve("lost", "cid").await;
    let (_, claim) = handler.ask("lost", "claim", json!({ "lease": 1 })).await;
    handler.becomes("late", "expired").await;
    handler.becomes("lost", "approved").await;
    handler.invoke("sweep", "{}", 1).await.unwrap();
    assert_eq!(handler.stored_status("late").await, "expired");
    assert_eq!(handler.approve("late", "bob").await.1["ignored"], "late");
    assert_eq!(handler.stored_status("lost").await, "approved");
    let (_, second) = handler.ask("lost", "claim", json!({ "actor": user("w-2") })).await;
    assert!(second["fence"].as_u64() > claim["fence"].as_u64());
    let stale = json!({ "status": "succeeded", "fence": claim["fence"] });
    assert_eq!(handler.ask("lost", "outcome", stale).await.1["code"], "stale-fence");
    let good = json!({ "status": "succeeded", "fence": second["fence"] });
    assert_eq!(handler.ask("lost", "outcome", good).await.0, StatusCode::CREATED);
    // Nothing is left for the timer.
    handler.invoke("sweep", "{}", 1).await.unwrap();
    let want = ["dispatched", "given", "given", "approved", "claimed", "lease-ended", "claimed", "succeeded"];
    assert_eq!(handler.events_of("lost").await, want);
}

//! What is put on record, and what can be read back.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;

use super::{COMMANDS, embedded, user};

#[tokio::test]
async fn every_column_of_commanded_audit_middleware_is_read_back() {
    let (_folder, handler) = embedded().await;
    let (status, receipt) = handler
        .dispatch(json!({
            "id": "CreateApiKey/7 of tenant 'x'", "type": "Elixir.MyApp.CreateApiKey",
            "causationId": "F9zq-not-a-uuid", "correlationId": "req/abc",
            "occurredAt": "2026-11-24T09:00:00.123456Z",
            "data": { "attrs": { "name": "ci", "password": "canary-1", "nested": [{ "client_secret": "canary-2" }] } },
            "metadata": { "ip": "10.0.0.1", "authorization": "Bearer canary-3" },
        }))
        .await;
    assert_eq!((status, &receipt["status"]), (StatusCode::CREATED, &json!("dispatched")), "{receipt}");
    let id = receipt["id"].as_str().unwrap();
    let (status, _) = handler
        .ask(
            id,
            "outcome",
            json!({
                "status": "failed", "error": { "code": 7, "token": "canary-4" }, "errorReason": "no quota",
                "durationMicros": 123_457, "events": ["e-1", "e/2"],
            }),
        )
        .await;
    assert_eq!(status, StatusCode::CREATED);
    let command = handler.command(id).await;
    for (column, want) in [
        ("id", json!("CreateApiKey/7 of tenant 'x'")),
        ("causationId", json!("F9zq-not-a-uuid")),
        ("correlationId", json!("req/abc")),
        ("occurredAt", json!("2026-11-24T09:00:00.123456Z")),
        ("type", json!("Elixir.MyApp.CreateApiKey")),
        ("status", json!("failed")),
    ] {
        assert_eq!(command[column], want, "{column} in {command}");
    }
    assert_eq!(command["data"]["attrs"]["name"], "ci");
    assert_eq!(command["metadata"]["ip"], "10.0.0.1");
    let outcome = &command["outcome"];
    assert_eq!((&outcome["durationMicros"], &outcome["errorReason"]), (&json!(123_457), &json!("no quota")));
    assert_eq!(outcome["error"]["code"], 7);
    assert_eq!(outcome["events"][1]["href"], "/api/tenants/acme/events/~ZS8y");
    assert!(!command.to_string().contains("canary"), "{command}");
    assert_eq!(handler.stored_status(id).await, "failed");
}

#[tokio::test]
async fn every_call_is_idempotent_by_its_own_id() {
    let (_folder, handler) = embedded().await;
    let body = json!({ "id": "c", "type": "t", "data": { "n": 1 } });
    let (first, receipt) = handler.dispatch(body.clone()).await;
    let (second, again) = handler.dispatch(json!({ "type": "t", "data": { "n": 1 }, "id": "c" })).await;
    assert_eq!((first, second), (StatusCode::CREATED, StatusCode::OK));
    assert_eq!((&again["version"], &again["status"]), (&receipt["version"], &receipt["status"]));
    let (status, problem) = handler.dispatch(json!({ "id": "c", "type": "t", "data": { "n": 2 } })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("command-exists")));
    let outcome = json!({ "status": "succeeded", "result": 1 });
    assert_eq!(handler.ask("c", "outcome", outcome.clone()).await.0, StatusCode::CREATED);
    let (status, repeated) = handler.ask("c", "outcome", outcome).await;
    assert_eq!((status, &repeated["repeated"]), (StatusCode::OK, &json!(true)));
    let (status, problem) = handler.ask("c", "outcome", json!({ "status": "failed" })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("command-ended")));
    assert_eq!(problem["commandStatus"], "succeeded");
    // The dispatch still gets its first answer, although the command has moved on.
    assert_eq!(handler.dispatch(body).await.1["status"], "dispatched");
    assert_eq!(handler.events_of("c").await, ["dispatched", "succeeded"]);
    // Two calls under one id that say different things are two operations, and one of them is refused.
    handler
        .dispatch(json!({ "id": "d", "type": "t", "approval": { "required": 2 }, "actor": user("ann") }))
        .await;
    let decide = |id: &str, who: &str| json!({ "id": id, "decision": "approve", "actor": user(who) });
    assert_eq!(handler.ask("d", "approvals", decide("op-1", "bob")).await.0, StatusCode::CREATED);
    assert_eq!(handler.ask("d", "approvals", decide("op-1", "bob")).await.0, StatusCode::OK);
    let (status, problem) = handler.ask("d", "approvals", decide("op-1", "cid")).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("operation-reused")));
    assert_eq!(handler.events_of("d").await, ["dispatched", "given"]);
}

#[tokio::test]
async fn what_is_not_a_command_is_refused_with_the_place_and_never_repeated() {
    let (_folder, handler) = embedded().await;
    for (body, code) in [
        (json!({ "data": 1 }), "invalid-request"),
        (json!({ "type": "" }), "invalid-request"),
        (json!({ "type": "t", "timelimit": 5 }), "invalid-request"),
        (json!({ "type": "t", "timeLimit": "canary" }), "invalid-request"),
        (json!({ "type": "t", "timeLimit": 0 }), "invalid-request"),
        (json!({ "type": "t", "approval": { "required": 0 } }), "invalid-request"),
        (json!({ "type": "t", "approval": { "required": 2, "approvers": ["a"] } }), "invalid-request"),
        (json!({ "type": "t", "occurredAt": "canary" }), "invalid-request"),
        (json!([1]), "invalid-request"),
    ] {
        let (status, problem) = handler.dispatch(body.clone()).await;
        assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!(code)), "{body} {problem}");
        assert!(!problem.to_string().contains("canary"), "{problem}");
    }
    let large = json!({ "type": "t", "data": "x".repeat(512 * 1024) });
    assert_eq!(handler.dispatch(large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, _) = handler.ask("nobody", "outcome", json!({ "status": "failed" })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    // What becomes of a command is decided, not said.
    let forged = json!({
        "specversion": "1.0", "id": "1", "source": "/s", "type": "annals.command.approved", "subject": "c",
    });
    let (status, problem) = handler.api("POST", "/api/tenants/acme/events", Some(&forged)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("journal-type")));
    let foreign = json!({
        "specversion": "1.0", "id": "1", "source": "/s", "type": "t", "category": "command", "subject": "c",
    });
    let (status, problem) = handler.api("POST", "/api/tenants/acme/events", Some(&foreign)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("reserved")));
}

#[tokio::test]
async fn before_and_after_are_told_as_a_patch_and_a_secret_shown_once_as_a_fingerprint() {
    let (_folder, handler) = embedded().await;
    let before = json!({ "enabled": true, "name": "a", "tags": [1, 2] });
    let after = json!({ "enabled": false, "name": "a", "tags": [1] });
    handler.dispatch(json!({ "id": "c", "type": "DisableKey", "data": { "before": before } })).await;
    let result = json!({ "after": after, "apiKey": "canary-key", "id": 5 });
    let (status, answer) = handler
        .ask("c", "outcome", json!({ "status": "succeeded", "result": result, "secretOnce": ["/apiKey"] }))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let command = handler.command("c").await;
    let want = json!([
        { "op": "replace", "path": "/enabled", "value": false }, { "op": "remove", "path": "/tags/1" }
    ]);
    assert_eq!(command["changes"], want);
    assert!(!command.to_string().contains("canary"), "{command}");
    assert_eq!(command["outcome"]["result"]["id"], 5);
    let was = |value: &str| json!({ "pointer": "/apiKey", "value": value });
    assert_eq!(handler.ask("c", "secret-check", was("canary-key")).await.1["matches"], true);
    assert_eq!(handler.ask("c", "secret-check", was("canary-kex")).await.1["matches"], false);
    let elsewhere = json!({ "pointer": "/x", "value": 1 });
    assert_eq!(handler.ask("c", "secret-check", elsewhere).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn time_alone_puts_a_command_in_doubt_and_a_late_outcome_ends_it() {
    let (_folder, handler) = embedded().await;
    handler.dispatch(json!({ "id": "c", "type": "t", "timeLimit": 3 })).await;
    assert_eq!(handler.command("c").await["status"], "dispatched");
    // Derived at once, on record with the next sweep, and once however often it sweeps.
    handler.becomes("c", "in-doubt").await;
    assert_eq!(handler.stored_status("c").await, "dispatched");
    for _ in 0..3 {
        handler.invoke("sweep", "{}", 1).await.unwrap();
    }
    assert_eq!(handler.events_of("c").await, ["dispatched", "in-doubt"]);
    let (_, listed) = handler.api("GET", &format!("{COMMANDS}?status=in-doubt"), None).await;
    assert_eq!(listed["commands"][0]["id"], "c");
    assert_eq!(handler.ask("c", "outcome", json!({ "status": "succeeded" })).await.0, StatusCode::CREATED);
    assert_eq!(handler.command("c").await["status"], "succeeded");
    let (_, listed) = handler.api("GET", &format!("{COMMANDS}?status=in-doubt"), None).await;
    assert_eq!(listed["commands"], json!([]));
}

#[tokio::test]
async fn everything_that_belongs_to_one_request_is_folded() {
    let (_folder, handler) = embedded().await;
    for id in ["a", "b"] {
        handler.dispatch(json!({ "id": id, "type": "t", "correlationId": "req/7" })).await;
    }
    // The outcome says nothing of the request, and belongs to it all the same.
    handler.ask("a", "outcome", json!({ "status": "succeeded" })).await;
    let event = json!({
        "specversion": "1.0", "id": "e", "source": "/s", "type": "t", "subject": "x", "correlationid": "req/7",
    });
    handler.api("POST", "/api/tenants/acme/events", Some(&event)).await;
    let path = format!("/api/tenants/acme/correlations/{}", annals::links::segment("req/7"));
    let (status, found) = handler.api("GET", &path, None).await;
    assert_eq!(status, StatusCode::OK, "{found}");
    assert_eq!(found["statuses"], json!({ "dispatched": 1, "succeeded": 1 }));
    assert_eq!((&found["events"][0]["id"], &found["truncated"]), (&json!("e"), &json!(false)));
    assert_eq!(found["commands"].as_array().unwrap().len(), 2);
    let (status, _) = handler.api("GET", "/api/tenants/acme/correlations/other", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_is_told_at_once() {
    let (_folder, handler) = embedded().await;
    let (mut late, mut plain) = (Vec::new(), Vec::new());
    for n in 0..9 {
        let id = format!("c-{n}");
        handler.dispatch(json!({ "id": id, "type": "t" })).await;
        let path = format!("{COMMANDS}/{id}?wait=20");
        let waiting = async {
            let (_, command) = handler.api("GET", &path, None).await;
            (command, Instant::now())
        };
        let ending = async {
            tokio::time::sleep(Duration::from_millis(150)).await;
            handler.ask(&id, "outcome", json!({ "status": "succeeded" })).await;
            Instant::now()
        };
        let ((command, told), ended) = tokio::join!(waiting, ending);
        assert_eq!(command["status"], "succeeded");
        late.push(told.saturating_duration_since(ended));
        let started = Instant::now();
        handler.command(&id).await;
        plain.push(started.elapsed());
    }
    late.sort();
    plain.sort();
    // 300 ms, and more only on a machine on which everything is slow.
    let allowed = Duration::from_millis(300).max(plain[4] * 6);
    assert!(late[4] < allowed, "told after {late:?}, where an answer takes {plain:?}");
    // What has ended is told without waiting; what has not, when the time is over.
    let started = Instant::now();
    handler.api("GET", &format!("{COMMANDS}/c-0?wait=20"), None).await;
    assert!(started.elapsed() < Duration::from_secs(10));
    handler.dispatch(json!({ "id": "quiet", "type": "t" })).await;
    let (status, command) = handler.api("GET", &format!("{COMMANDS}/quiet?wait=1"), None).await;
    assert_eq!((status, &command["status"]), (StatusCode::OK, &json!("dispatched")));
}

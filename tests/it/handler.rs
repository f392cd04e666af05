//! The built handler, end to end, on the embedded store and on Azurite.

use std::{collections::BTreeSet, process::Command, sync::Arc};

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::SliceRandom};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    azurite::Azurite,
    handler::{Handler, instance_event},
};

async fn embedded() -> (TempDir, Handler) {
    let folder = tempfile::tempdir().unwrap();
    let handler = Handler::start(&[("ANNALS_DATA_DIR", folder.path().to_str().unwrap())]).await;
    handler.register("acme").await;
    (folder, handler)
}

fn created(id: &str, instance: &str) -> String {
    instance_event("acme", id, instance, "created", json!({ "newStatus": "waiting" })).to_string()
}

/// Every event that was sent to the tenant, through the history of each of its streams. Annals itself
/// tells first that the tenant was added.
async fn everything(handler: &Handler, tenant: &str) -> Vec<Value> {
    let mut events = Vec::new();
    let mut cursor = String::new();
    loop {
        let (status, page) =
            handler.api("GET", &format!("/api/tenants/{tenant}/streams?limit=1000{cursor}"), None).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        for stream in page["streams"].as_array().unwrap() {
            let (category, id) = (stream["category"].as_str().unwrap(), stream["id"].as_str().unwrap());
            let path = format!("/api/tenants/{tenant}/streams/{category}/{id}/events?limit=1000");
            let (_, history) = handler.api("GET", &path, None).await;
            let mut history = history["events"].as_array().unwrap().clone();
            let versions: Vec<_> = history.iter().map(|event| event["version"].as_u64().unwrap()).collect();
            assert_eq!(
                versions,
                (1..=stream["version"].as_u64().unwrap()).collect::<Vec<_>>(),
                "{category}/{id}"
            );
            history.retain(|event| event["source"] != "/annals/registry");
            events.extend(history);
        }
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return events,
        }
    }
}

fn sequences(events: &[Value]) -> Vec<u64> {
    let mut all: Vec<_> =
        events.iter().map(|event| event["position"]["sequence"].as_u64().unwrap()).collect();
    all.sort_unstable();
    all
}

/// Delivers a mixed load, each message 1 to 3 times in random order, 32 at a time, killing the
/// handler `kills` times; then checks what must be true.
async fn load(mut handler: Handler, messages: usize, streams: usize, kills: usize, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let body = move |n: usize| {
        let instance = format!("i-{}", n % streams);
        let data = json!({ "newStatus": "waiting", "trigger": { "parameters": { "secret": "canary" } } });
        instance_event("acme", &format!("e-{n}"), &instance, "transition-completed", data).to_string()
    };
    let mut deliveries: Vec<usize> =
        (0..messages).flat_map(|n| vec![n; random.random_range(1..=3)]).collect();
    deliveries.shuffle(&mut random);
    let mut published: BTreeSet<String> = BTreeSet::new();
    let mut first: std::collections::HashMap<usize, String> = std::collections::HashMap::new();
    let chunk = deliveries.len().div_ceil(kills + 1).max(1);
    for part in deliveries.chunks(chunk) {
        let shared = Arc::new(handler);
        let queue = Arc::new(tokio::sync::Mutex::new(part.to_vec()));
        let workers = (0..32).map(|_| {
            let (handler, queue) = (Arc::clone(&shared), Arc::clone(&queue));
            tokio::spawn(async move {
                let mut done = Vec::new();
                loop {
                    let Some(n) = queue.lock().await.pop() else { return done };
                    // The queue delivers again what was not completed.
                    let mut count = 1;
                    loop {
                        match handler.invoke("ingest", &body(n), count).await {
                            Ok(events) => {
                                done.push((n, events));
                                break;
                            }
                            Err(error) if count > 50 => panic!("{error}"),
                            Err(_) => count += 1,
                        }
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    }
                }
            })
        });
        for worker in futures::future::join_all(workers).await {
            for (n, events) in worker.unwrap() {
                assert_eq!(events.len(), 1, "every delivery publishes its event");
                assert!(!events[0].to_string().contains("canary"));
                let id = events[0]["id"].as_str().unwrap().to_owned();
                assert_eq!(first.entry(n).or_insert_with(|| id.clone()), &id, "one event, one place");
                published.insert(id);
            }
        }
        handler = Arc::into_inner(shared).expect("all workers are done");
        if kills > 0 {
            handler.kill_and_restart().await;
        }
    }
    let events = everything(&handler, "acme").await;
    assert_eq!(sequences(&events), (2..=messages as u64 + 1).collect::<Vec<_>>());
    assert_eq!(published.len(), messages);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_with_repeats_and_restarts_is_stored_once_and_published() {
    let (_folder, handler) = embedded().await;
    load(handler, 10_000, 500, 4, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_with_repeats_is_stored_once_and_published_on_azurite() {
    let azurite = Azurite::start();
    let handler = Handler::start(&[("AnnalsStorage", &azurite.connection_string)]).await;
    handler.register("acme").await;
    load(handler, 3_000, 100, 2, 2).await;
}

/// SIGKILL in the middle of deliveries, twenty times, at random moments.
#[tokio::test(flavor = "multi_thread")]
async fn a_handler_killed_at_random_moments_loses_nothing_and_doubles_nothing() {
    let (_folder, mut handler) = embedded().await;
    let mut random = SmallRng::seed_from_u64(3);
    let mut places: std::collections::HashMap<usize, Value> = std::collections::HashMap::new();
    let mut open: Vec<usize> = (0..1_000).collect();
    for kill in 0..=20 {
        let url = handler.url("/ingest");
        let client = reqwest::Client::new();
        let sends = open.iter().copied().map(|n| {
            let (client, url) = (client.clone(), url.clone());
            let message = instance_event("acme", &format!("e-{n}"), &format!("i-{}", n % 50), "transition-completed", json!({})).to_string();
            tokio::spawn(async move {
                use base64::Engine;
                let data = base64::engine::general_purpose::STANDARD.encode(message);
                let body = json!({ "Data": { "msg": data }, "Metadata": { "DequeueCount": (kill + 1).to_string() } });
                let answer = client.post(url).body(body.to_string()).send().await.ok()?;
                if !answer.status().is_success() {
                    return None;
                }
                let answer: Value = serde_json::from_str(&answer.text().await.ok()?).ok()?;
                let event: Value = serde_json::from_str(answer["Outputs"]["events"][0].as_str()?).ok()?;
                Some((n, event["id"].clone()))
            })
        });
        let sends: Vec<_> = sends.collect();
        if kill < 20 {
            tokio::time::sleep(std::time::Duration::from_millis(random.random_range(1..40))).await;
            handler.kill_and_restart().await;
        }
        for (n, place) in futures::future::join_all(sends).await.into_iter().filter_map(Result::unwrap) {
            assert_eq!(places.entry(n).or_insert_with(|| place.clone()), &place);
        }
        // Half of what was answered is delivered again all the same.
        open.retain(|n| !places.contains_key(n) || random.random_bool(0.5) && kill < 19);
    }
    assert_eq!(places.len(), 1_000);
    let events = everything(&handler, "acme").await;
    assert_eq!(sequences(&events), (2..=1_001).collect::<Vec<_>>());
}

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

#[tokio::test]
async fn one_identity_with_other_content_is_refused_and_names_the_first() {
    let (_folder, handler) = embedded().await;
    let event = |text: &str| json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "t", "subject": "x", "data": text });
    let (status, first) = handler.api("POST", "/api/tenants/acme/events", Some(&event("a"))).await;
    assert_eq!(status, StatusCode::CREATED, "{first}");
    let (status, again) = handler.api("POST", "/api/tenants/acme/events", Some(&event("a"))).await;
    assert_eq!((status, &again[0]["position"]), (StatusCode::OK, &first[0]["position"]));
    let (status, problem) = handler.api("POST", "/api/tenants/acme/events", Some(&event("b"))).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("identity-reused")));
    assert_eq!(problem["position"], first[0]["position"]);
}

#[tokio::test]
async fn an_expected_version_decides_and_a_batch_is_whole_or_nothing() {
    let (_folder, handler) = embedded().await;
    let event = |id: &str, expected: Value| json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "t", "subject": "x", "expectedversion": expected });
    let append = async |body: Value| handler.api("POST", "/api/tenants/acme/events", Some(&body)).await;
    assert_eq!(append(event("1", json!("no-stream"))).await.0, StatusCode::CREATED);
    let (status, problem) = append(event("2", json!("no-stream"))).await;
    assert_eq!(
        (status, &problem["code"], &problem["actual"]),
        (StatusCode::CONFLICT, &json!("version-conflict"), &json!(1))
    );
    // A retry of what was stored gets its first answer before its version is looked at.
    assert_eq!(append(event("1", json!("no-stream"))).await.0, StatusCode::OK);
    assert_eq!(append(json!([event("3", json!(1)), event("4", json!(7))])).await.0, StatusCode::CONFLICT);
    assert_eq!(append(json!([event("3", json!(1)), event("4", json!(2))])).await.0, StatusCode::CREATED);
    let (_, stream) = handler.api("GET", "/api/tenants/acme/streams/event/x", None).await;
    assert_eq!(stream["version"], 3);
    let body = event("5", json!("any")).to_string().replace(r#""expectedversion":"any","#, "").into_bytes();
    let headers = [("content-type", "application/cloudevents+json"), ("if-match", "\"2\"")];
    assert_eq!(
        handler.send("POST", "/api/tenants/acme/events", &headers, Some(body)).await.status(),
        StatusCode::CONFLICT
    );
}

#[tokio::test]
async fn a_history_is_read_in_pages_in_both_orders_and_foreign_cursors_are_refused() {
    let (_folder, handler) = embedded().await;
    handler.register("other").await;
    for batch in 0..10 {
        let event = |n: usize| {
            let id = format!("{batch}-{n}");
            json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "t", "subject": "x", "data": { "n": n } })
        };
        let body = Value::Array((0..20).map(event).collect());
        assert_eq!(handler.api("POST", "/api/tenants/acme/events", Some(&body)).await.0, StatusCode::CREATED);
    }
    let base = "/api/tenants/acme/streams/event/x/events";
    for (order, want) in [("asc", (1..=200).collect::<Vec<u64>>()), ("desc", (1..=200).rev().collect())] {
        let (mut seen, mut path) = (Vec::new(), format!("{base}?limit=90&order={order}"));
        loop {
            let (_, page) = handler.api("GET", &path, None).await;
            seen.extend(
                page["events"].as_array().unwrap().iter().map(|event| event["version"].as_u64().unwrap()),
            );
            let Some(cursor) = page["cursor"].as_str() else { break };
            path = format!("{base}?limit=90&cursor={cursor}");
        }
        assert_eq!(seen, want);
    }
    let (_, page) = handler.api("GET", &format!("{base}?limit=9"), None).await;
    let cursor = page["cursor"].as_str().unwrap();
    let foreign = format!("/api/tenants/other/streams/event/x/events?cursor={cursor}");
    for path in [foreign, format!("{base}?cursor=x{cursor}"), format!("{base}?cursor=%00")] {
        assert_eq!(handler.api("GET", &path, None).await.0, StatusCode::BAD_REQUEST, "{path}");
    }
}

#[tokio::test]
async fn a_forwarded_request_reaches_no_function() {
    let (_folder, handler) = embedded().await;
    let body = json!({ "Data": { "msg": created("1", "i") } });
    for path in ["/ingest", "/ingest-poison", "/publish", "/publish-poison", "/sweep"] {
        assert_eq!(handler.api("POST", path, Some(&body)).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert!(everything(&handler, "acme").await.is_empty());
}

#[tokio::test]
async fn hostile_ids_are_stored_and_read_back_exactly_or_refused() {
    let (_folder, handler) = embedded().await;
    for id in ["../", "'", "%2F", "😀", "\u{2028}", "victim',RowKey='x", "~", ".", "a|b"] {
        let event = json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "t", "subject": id });
        let (status, answer) = handler.api("POST", "/api/tenants/acme/events", Some(&event)).await;
        assert_eq!((status, &answer[0]["id"]), (StatusCode::CREATED, &json!(id)), "{answer}");
        let segment = annals::links::segment(id);
        let (status, found) = handler.api("GET", &format!("/api/tenants/acme/events/{segment}"), None).await;
        assert_eq!(
            (status, &found["id"], &found["subject"]),
            (StatusCode::OK, &json!(id), &json!(id)),
            "{found}"
        );
        let (_, history) =
            handler.api("GET", &format!("/api/tenants/acme/streams/event/{segment}/events"), None).await;
        assert_eq!(history["events"][0]["id"], json!(id));
    }
    for id in ["", "a\0b", &"x".repeat(1 << 20)] {
        let event = json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "t" });
        let (status, problem) = handler.api("POST", "/api/tenants/acme/events", Some(&event)).await;
        assert!(matches!(status.as_u16(), 400 | 413), "{status} {problem}");
    }
}

#[tokio::test]
async fn what_http_stored_is_published_through_the_queue_on_azurite() {
    let azurite = Azurite::shared();
    let handler = Handler::start(&[("AnnalsStorage", &azurite.connection_string)]).await;
    let settings = json!({ "changeFeed": { "enabled": true } });
    let tenant = format!("t{}", rand::random::<u64>());
    assert_eq!(
        handler.api("PUT", &format!("/api/tenants/{tenant}"), Some(&settings)).await.0,
        StatusCode::CREATED
    );
    let event = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "t", "subject": "x", "data": "canary" });
    let path = format!("/api/tenants/{tenant}/events");
    assert_eq!(handler.api("POST", &path, Some(&event)).await.0, StatusCode::CREATED);
    // Whatever the queue did with it: this is the message that is owed.
    let message = json!({ "tenant": tenant, "partition": "p00", "last": 2 }).to_string();
    let events = handler.invoke("publish", &message, 1).await.unwrap();
    assert_eq!((events.len(), &events[0]["id"]), (1, &json!("p00-2")));
    assert!(!events[0].to_string().contains("canary"));
    let href = events[0]["data"]["href"]
        .as_str()
        .unwrap()
        .strip_prefix("https://annals.example")
        .unwrap()
        .to_owned();
    assert_eq!(handler.api("GET", &href, None).await.1["data"], json!("canary"));
    assert_eq!(handler.invoke("publish-poison", &message, 1).await, Ok(Vec::new()));
}

#[test]
fn a_bad_setting_stops_the_start_with_its_name() {
    let output = Command::new(env!("CARGO_BIN_EXE_annals"))
        .env_clear()
        .envs([
            ("FUNCTIONS_CUSTOMHANDLER_PORT", "1"),
            ("ANNALS_DATA_DIR", "/tmp/x"),
            ("ANNALS_PUBLIC_URL", "nonsense"),
        ])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("ANNALS_PUBLIC_URL must be an absolute http or https URL"), "{said}");
}

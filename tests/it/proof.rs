//! The all-stream, verification, erasure, export and checkpoints, end to end over the real port and
//! through the command line.

use std::{
    path::Path,
    process::{Command, Output},
    sync::Arc,
    time::{Duration, Instant},
};

use annals::{
    checkpoint::SigningKey,
    feed::all_stream::{self, Query, ReadFailure},
    testing::azurite::Azurite,
    verify::{self, Anchor, Options, Outcome},
};
use rand::{SeedableRng, rngs::SmallRng};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    handler::Handler,
    history::{acme, event, events, play, store, until, verified},
    memory::Memory,
};

async fn embedded(settings: &[(&str, &str)]) -> (TempDir, Handler) {
    let folder = tempfile::tempdir().unwrap();
    let mut all = vec![("ANNALS_DATA_DIR", folder.path().to_str().unwrap())];
    all.extend(settings);
    let handler = Handler::start(&all).await;
    handler.register("acme").await;
    (folder, handler)
}

async fn get(handler: &Handler, path: &str) -> Value {
    let (status, body) = handler.api("GET", &format!("/api/tenants/acme/{path}"), None).await;
    assert_eq!(status, StatusCode::OK, "{path}: {body}");
    body
}

async fn post(handler: &Handler, path: &str, body: Value) -> Value {
    let (status, answer) = handler.api("POST", &format!("/api/tenants/acme/{path}"), Some(&body)).await;
    assert!(status.is_success(), "{path}: {status} {answer}");
    answer
}

/// Events `from` to `to`, each with data that nothing else holds.
async fn fill(handler: &Handler, from: u64, to: u64) {
    let mut random = SmallRng::seed_from_u64(from);
    for n in from..to {
        post(handler, "events", event(n, &mut random)).await;
    }
}

fn annals(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_annals"))
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap_or_default())
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn sequences(page: &Value) -> Vec<u64> {
    let events = page["events"].as_array().unwrap();
    events.iter().map(|event| event["position"]["sequence"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_follows_the_log_page_by_page_and_waits_for_news() {
    let (_folder, handler) = embedded(&[]).await;
    let begun = get(&handler, "events").await;
    let old = sequences(&begun).len() as u64;
    fill(&handler, 0, 25).await;
    let mut seen = Vec::new();
    let mut cursor = begun["cursor"].as_str().unwrap().to_owned();
    loop {
        let page = get(&handler, &format!("events?limit=7&after={cursor}")).await;
        seen.extend(sequences(&page));
        let next = page["cursor"].as_str().unwrap().to_owned();
        if page["end"] == json!(true) && page["events"].as_array().unwrap().is_empty() {
            break;
        }
        assert_ne!(next, cursor, "a page moves the cursor on");
        cursor = next;
    }
    assert_eq!(seen, (old + 1..=old + 25).collect::<Vec<_>>());
    // Newest first, to the beginning.
    let mut newest = sequences(&get(&handler, "events?order=desc&limit=1000").await);
    newest.reverse();
    assert_eq!(newest, (1..=old + 25).collect::<Vec<_>>());
    // Filtered out: the cursor moves on all the same.
    let none =
        get(&handler, &format!("events?type=nothing&after={}", begun["cursor"].as_str().unwrap())).await;
    assert!(none["events"].as_array().unwrap().is_empty() && none["end"] == json!(true));
    assert!(
        get(&handler, &format!("events?after={}", none["cursor"].as_str().unwrap())).await["events"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let marain =
        get(&handler, "events?type=io.marain.*&category=workflow-instance&include=data&limit=1000").await;
    let all = marain["events"].as_array().unwrap();
    assert!(
        !all.is_empty() && all.iter().all(|event| event["type"].as_str().unwrap().starts_with("io.marain."))
    );
    assert!(all.iter().all(|event| event["data"]["newStatus"] == json!("waiting")));
    // Time: halfway through.
    let middle = get(&handler, &format!("events?limit=1&after={cursor}&wait=0")).await;
    assert!(middle["events"].as_array().unwrap().is_empty());
    let third =
        get(&handler, "events?limit=1000").await["events"][5]["recordedTime"].as_str().unwrap().to_owned();
    let later = get(&handler, &format!("events?limit=1000&from={third}")).await;
    assert_eq!(sequences(&later).first(), Some(&6));
    assert_eq!(
        sequences(&get(&handler, &format!("events?limit=1000&to={third}")).await),
        vec![1, 2, 3, 4, 5]
    );
    // A reader that waits hears of what comes.
    let waiting = async {
        let started = Instant::now();
        let page = get(&handler, &format!("events?after={cursor}&wait=20")).await;
        (sequences(&page), started.elapsed())
    };
    let sending = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        fill(&handler, 900, 901).await;
    };
    let ((news, took), ()) = tokio::join!(waiting, sending);
    assert_eq!(news, vec![old + 26]);
    assert!(took < Duration::from_secs(15), "{took:?}");
    // More than the seats of a tenant: an answer at once.
    let end = get(&handler, "events?limit=1000").await["cursor"].as_str().unwrap().to_owned();
    let path = format!("/api/tenants/acme/events?after={end}&wait=3");
    let asked = (0..8).map(|_| handler.send("GET", &path, &[], None));
    let answers = futures::future::join_all(asked).await;
    let turned_away = answers.iter().filter(|answer| answer.headers().contains_key("retry-after")).count();
    assert!(turned_away >= 4, "{turned_away}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_shares_a_correlation_id_is_found_and_consumers_keep_their_place() {
    let (_folder, handler) = embedded(&[]).await;
    fill(&handler, 0, 40).await;
    let all = get(&handler, "events?limit=1000").await;
    let wanted: Vec<u64> = all["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["correlationId"] == json!("c-1"))
        .map(|event| event["position"]["sequence"].as_u64().unwrap())
        .collect();
    let (mut found, mut query) = (Vec::new(), String::new());
    loop {
        let page = get(&handler, &format!("correlations/c-1/events?limit=2{query}")).await;
        found.extend(sequences(&page));
        match page["cursor"].as_str() {
            Some(next) => query = format!("&cursor={next}"),
            None => break,
        }
    }
    assert!(!wanted.is_empty());
    assert_eq!(found, wanted);
    assert_eq!(sequences(&get(&handler, "events?limit=1000&correlation=c-1").await), wanted);

    let early = get(&handler, "events?limit=5").await["cursor"].clone();
    let late = get(&handler, "events?limit=20").await["cursor"].clone();
    let put =
        async |body: Value| handler.api("PUT", "/api/tenants/acme/consumers/billing", Some(&body)).await;
    assert_eq!(put(json!({ "cursor": late })).await.0, StatusCode::CREATED);
    let (status, problem) = put(json!({ "cursor": early })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("place-moved-back")));
    let kept = get(&handler, "consumers/billing").await;
    let events = sequences(&all).len() - 20;
    assert_eq!(kept["lag"]["events"], json!(events));
    assert_eq!(put(json!({ "cursor": early, "reset": true })).await.0, StatusCode::OK);
    assert_eq!(get(&handler, "consumers").await["consumers"][0]["lag"]["events"], json!(events + 15));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_rewound_is_told_from_one_that_went_on() {
    let mut random = SmallRng::seed_from_u64(3);
    let memory = Memory::new(3);
    let early = store(Arc::clone(&memory) as _);
    let tenant = acme(&early, 1).await;
    play(&early, &tenant, 20, &mut random).await;
    let restored = memory.copy();
    play(&early, &tenant, 20, &mut random).await;
    let read = async |memory: &Arc<Memory>, after| {
        let store = store(Arc::clone(memory) as _);
        all_stream::read(&store.log(&tenant), &store.history(&tenant), &Query::after(after, 1_000)).await
    };
    let page = read(&memory, None).await.unwrap();
    assert!(read(&memory, Some(page.places.clone())).await.unwrap().items.is_empty());
    // The end is gone.
    assert!(matches!(read(&restored, Some(page.places.clone())).await, Err(ReadFailure::Changed)));
    // Something else stands there now.
    let other = store(Arc::clone(&restored) as _);
    play(&other, &tenant, 60, &mut SmallRng::seed_from_u64(4)).await;
    assert!(matches!(read(&restored, Some(page.places)).await, Err(ReadFailure::Changed)));
}

#[tokio::test(start_paused = true)]
async fn a_past_rewritten_whole_is_found_through_a_checkpoint_alone() {
    let memory = Memory::new(5);
    let honest = store(Arc::clone(&memory) as _);
    let tenant = acme(&honest, 1).await;
    let before = memory.copy();
    play(&honest, &tenant, 30, &mut SmallRng::seed_from_u64(5)).await;
    let head = honest.log(&tenant).head(tenant.partitions().next().unwrap()).await.unwrap();
    let partition = tenant.partitions().next().unwrap();
    let anchors = vec![Anchor { partition, sequence: head.last, digest: head.digest }];
    // The forger writes the same log with other events, every digest right.
    let forged = store(Arc::clone(&before) as _);
    play(&forged, &tenant, 60, &mut SmallRng::seed_from_u64(6)).await;
    assert!(verified(&forged, &tenant).await.is_clean());
    let options = Options { anchors, ..Options::default() };
    for (store, clean) in [(&honest, true), (&forged, false)] {
        let outcome = verify::verify(&store.log(&tenant), &options, None, None, &|_| {}).await.unwrap();
        let Outcome::Done(report) = outcome else { unreachable!("there is no time limit") };
        assert_eq!(report.is_clean(), clean, "{report:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_goes_on_in_many_calls_finds_the_same() {
    let memory = Memory::new(8);
    let all = store(Arc::clone(&memory) as _);
    let tenant = acme(&all, 3).await;
    play(&all, &tenant, 120, &mut SmallRng::seed_from_u64(8)).await;
    let run = async |memory: &Arc<Memory>| {
        let store = store(Arc::clone(memory) as _);
        let (log, options) = (store.log(&tenant), Options { data: true, ..Options::default() });
        let (mut state, mut calls) = (None, 0);
        loop {
            calls += 1;
            // The time is always up.
            match verify::verify(
                &log,
                &options,
                state.take(),
                Some(until() - Duration::from_secs(100)),
                &|_| {},
            )
            .await
            .unwrap()
            {
                Outcome::Done(report) => return (report, calls),
                Outcome::More(more) => {
                    let text = serde_json::to_string(&more).unwrap();
                    state = Some(serde_json::from_str(&text).unwrap());
                }
            }
        }
    };
    let (report, calls) = run(&memory).await;
    assert!(report.is_clean() && calls > 3, "{calls}: {report:#?}");
    let copy = memory.copy();
    let gone = copy.state().rows.keys().find(|(_, _, key)| key.starts_with("s|")).unwrap().clone();
    copy.state().rows.remove(&gone);
    let (report, _) = run(&copy).await;
    assert_eq!(report.differences.first().map(|difference| &difference.row), Some(&gone.2), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_event_is_blank_everywhere_and_the_proof_stays_whole() {
    let (folder, handler) = embedded(&[]).await;
    fill(&handler, 0, 30).await;
    let first = get(&handler, "events?type=t.*&include=data&limit=1").await["events"][0].clone();
    let (id, source) =
        (first["id"].as_str().unwrap().to_owned(), first["source"].as_str().unwrap().to_owned());
    // A pointer first, then the rest.
    let body =
        json!({ "event": { "id": id, "source": source }, "pointers": ["/note"], "reason": "asked for" });
    let receipt = post(&handler, "erasures", body.clone()).await;
    assert_eq!(receipt["erased"].as_array().unwrap().len(), 1, "{receipt}");
    let half = get(&handler, &format!("events/{id}?source={}", source.replace('/', "%2F"))).await;
    assert_eq!((&half["data"]["note"], &half["erased"]["pointers"]), (&Value::Null, &json!(["/note"])));
    assert!(half["data"]["n"].is_u64());
    assert_eq!(post(&handler, "erasures", body).await["alreadyErased"].as_array().unwrap().len(), 1);
    let wrong = json!({ "event": { "id": id, "source": source }, "pointers": ["/nowhere"], "reason": "x" });
    assert_eq!(
        handler.api("POST", "/api/tenants/acme/erasures", Some(&wrong)).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    post(&handler, "erasures", json!({ "event": { "id": id, "source": source }, "reason": "asked for" }))
        .await;
    let whole = get(&handler, &format!("events/{id}")).await;
    assert_eq!(whole["data"], Value::Null);
    assert!(whole["erased"].get("pointers").is_none() && whole["erased"]["time"].is_string(), "{whole}");
    // A later delivery of that identity is a duplicate whose body is dropped.
    let again = json!({ "specversion": "1.0", "id": id, "source": source, "type": "t.happened", "subject": "elsewhere", "data": "new" });
    assert_eq!(post(&handler, "events", again).await[0]["duplicate"], json!(true));
    // Everything about a person.
    let receipt = post(&handler, "erasures", json!({ "subject": "person-1", "reason": "left" })).await;
    assert!(!receipt["erased"].as_array().unwrap().is_empty(), "{receipt}");
    let left = get(&handler, "events?include=data&limit=1000").await;
    assert!(!left.to_string().contains("\"person-1\",\"data"), "the subject is gone");
    assert!(
        left["events"]
            .as_array()
            .unwrap()
            .iter()
            .all(|event| event["extensions"]["datasubject"] != json!("person-1"))
    );
    // Nobody but Annals says so.
    let forged = json!({ "specversion": "1.0", "id": "f", "source": "/s", "type": "annals.erasure.erased", "category": "erasure", "subject": "p00" });
    let (status, problem) = handler.api("POST", "/api/tenants/acme/events", Some(&forged)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("reserved")));
    let report = get(&handler, "verification?include=data").await;
    assert_eq!((&report["verified"], &report["differences"]), (&json!(true), &json!([])), "{report}");
    assert!(report["partitions"][0]["erasures"].as_u64().unwrap() >= 3);
    drop(handler);
    let data = folder.path().to_str().unwrap();
    let output = annals(&["verify", "--tenant", "acme", "--data", data, "--include-data"], &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_work_over_http_and_on_a_folder_that_nothing_else_holds() {
    let key = SigningKey::generate("annals.example/test").unwrap();
    let (folder, handler) = embedded(&[("ANNALS_CHECKPOINT_KEY", &key.secret())]).await;
    fill(&handler, 0, 60).await;
    post(&handler, "erasures", json!({ "event": { "id": "e-3", "source": get(&handler, "events/e-3").await["source"] }, "reason": "r" })).await;
    handler.invoke("checkpoint", "", 1).await.unwrap();
    let signed = get(&handler, "checkpoints").await["checkpoints"].as_array().unwrap().clone();
    handler.invoke("checkpoint", "", 1).await.unwrap();
    assert_eq!(
        get(&handler, "checkpoints").await["checkpoints"].as_array().unwrap().len(),
        signed.len(),
        "nothing new, nothing signed"
    );
    let work = tempfile::tempdir().unwrap();
    let note = work.path().join("checkpoint.txt");
    std::fs::write(&note, signed[0]["note"].as_str().unwrap()).unwrap();
    let data = folder.path().to_str().unwrap().to_owned();
    let url = format!("http://127.0.0.1:{}", handler.port);
    // The folder is in use: said at once.
    let started = Instant::now();
    let busy = annals(&["verify", "--tenant", "acme", "--data", &data], &[]);
    let said = String::from_utf8_lossy(&busy.stderr).into_owned();
    assert!(!busy.status.success() && said.contains("in use by another process"), "{said}");
    assert!(started.elapsed() < Duration::from_secs(10));
    both(&["--url", &url], work.path(), "remote", &note, &key);
    drop(handler);
    both(&["--data", &data], work.path(), "local", &note, &key);
    let read = |name: &str| std::fs::read_to_string(work.path().join(name)).unwrap();
    assert_eq!(read("remote.ndjson"), read("local.ndjson"));
    assert_eq!(read("remote-proof.ndjson"), read("local-proof.ndjson"));
    let nothing = annals(&["tail", "--tenant", "acme", "--data", work.path().to_str().unwrap()], &[]);
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("there is no store in"));
}

fn both(place: &[&str], work: &Path, name: &str, note: &Path, key: &SigningKey) {
    let run = |arguments: &[&str]| {
        let output = annals(&[arguments, &["--tenant", "acme"], place].concat(), &[]);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let tail = run(&["tail", "-n", "1000"]);
    assert!(tail.lines().count() >= 61 && tail.contains(" t.happened "), "{tail}");
    assert!(
        run(&["tail", "-n", "5", "--json"]).lines().all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
    let report = run(&[
        "verify",
        "--include-data",
        "--checkpoint",
        note.to_str().unwrap(),
        "--key",
        &key.verifier().to_string(),
    ]);
    assert!(report.contains("1 erasures"), "{report}");
    let file = |suffix: &str| work.join(format!("{name}{suffix}")).to_str().unwrap().to_owned();
    run(&["export", "--output", &file(".ndjson")]);
    let lines = std::fs::read_to_string(file(".ndjson")).unwrap();
    let end: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(end["count"], json!(lines.lines().count() - 1));
    assert_eq!(end["partitions"][0]["digestAfter"].as_str().unwrap().len(), 64);
    run(&["export", "--format", "csv", "--output", &file(".csv")]);
    let table = std::fs::read_to_string(file(".csv")).unwrap();
    assert!(table.starts_with("partition,sequence,recordedTime"), "{table}");
    run(&["export", "--proof", "--output", &file("-proof.ndjson")]);
    check_with_python(Path::new(&file("-proof.ndjson")));
}

/// Another language comes to the same, and sees what was changed.
fn check_with_python(export: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify_export.py");
    let run = |export: &Path| Command::new("python3").arg(&script).arg(export).output();
    let Ok(output) = run(export) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("verified: "));
    let text = std::fs::read_to_string(export).unwrap();
    let changed = export.with_extension("changed");
    let digest = text.lines().nth(3).unwrap();
    for (from, to) in [("\"i\",\"1\"", "\"i\",\"9\""), (digest, ""), ("\"first\":3", "\"first\":4")] {
        assert!(text.contains(from), "{from}");
        let altered: String = text
            .replacen(from, to, 1)
            .lines()
            .filter(|line| !line.is_empty())
            .map(|line| format!("{line}\n"))
            .collect();
        std::fs::write(&changed, altered).unwrap();
        assert!(!run(&changed).unwrap().status.success(), "{from} went unseen");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn completeness_says_what_is_there_and_when_nothing_can_be_added() {
    let (_folder, handler) = embedded(&[]).await;
    fill(&handler, 0, 20).await;
    let all = get(&handler, "events?limit=1000").await;
    let time = |index: usize| all["events"][index]["recordedTime"].as_str().unwrap().to_owned();
    let past = get(&handler, &format!("completeness?from={}&to={}", time(4), time(12))).await;
    assert_eq!(
        (&past["complete"], &past["closed"], &past["events"]),
        (&json!(true), &json!(true), &json!(8)),
        "{past}"
    );
    let open = get(&handler, "completeness?to=2999-01-01T00:00:00Z").await;
    assert_eq!((&open["complete"], &open["closed"]), (&json!(true), &json!(false)));
    assert_eq!(open["events"], json!(all["events"].as_array().unwrap().len()));
    assert_eq!(open["waiting"]["deadLetters"], json!(0));
    let bad = json!({ "specversion": "1.0", "id": "x", "source": "/s", "type": "annals.checkpoint.signed", "tenantid": "acme", "datasubject": "person-9" });
    handler.invoke("ingest", &bad.to_string(), 1).await.unwrap();
    assert_eq!(get(&handler, "completeness").await["waiting"]["deadLetters"], json!(1));
    let receipt = post(&handler, "erasures", json!({ "subject": "person-9", "reason": "left" })).await;
    assert_eq!(receipt["deadLetters"], json!(1), "{receipt}");
    assert_eq!(get(&handler, "completeness").await["waiting"]["deadLetters"], json!(0));
}

/// Lists every table of an account and prints every property, binary ones decoded: not our client.
const FOREIGN: &str = r#"
import base64, datetime, hashlib, hmac, json, sys, urllib.request
endpoint, account, key = sys.argv[1:4]
def get(path, query=""):
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
    resource = "/" + account + "/" + account + "/" + path
    mac = hmac.new(base64.b64decode(key), (date + "\n" + resource).encode(), hashlib.sha256).digest()
    headers = {"Authorization": "SharedKeyLite " + account + ":" + base64.b64encode(mac).decode(), "x-ms-date": date,
               "x-ms-version": "2019-02-02", "Accept": "application/json;odata=fullmetadata"}
    request = urllib.request.Request(endpoint + "/" + path + query, headers=headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        return json.load(answer)["value"], answer.headers
for table in get("Tables")[0]:
    query = ""
    while True:
        rows, headers = get(table["TableName"] + "()", query)
        for row in rows:
            for name, value in row.items():
                if row.get(name + "@odata.type") == "Edm.Binary":
                    value = base64.b64decode(value).decode("utf-8", "replace")
                print(table["TableName"], name, value)
        if "x-ms-continuation-NextPartitionKey" not in headers:
            break
        query = "?NextPartitionKey=" + headers["x-ms-continuation-NextPartitionKey"] + "&NextRowKey=" + headers["x-ms-continuation-NextRowKey"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn after_an_erasure_a_foreign_client_finds_the_bytes_nowhere() {
    let azurite = Azurite::start().unwrap();
    let handler = Handler::start(&[("AnnalsStorage", &azurite.connection_string())]).await;
    handler.register("acme").await;
    let secret = "canary-of-a-person";
    let mut sent = json!({
        "specversion": "1.0", "id": "one", "source": "/s", "type": "t", "subject": "x", "correlationid": "c",
        "datasubject": "person-canary", "data": { "note": secret, "rest": "stays" },
    });
    post(&handler, "events", sent.clone()).await;
    // A dead letter with the same: it can never be stored as it is.
    sent["tenantid"] = json!("acme");
    sent["type"] = json!("annals.erasure.erased");
    sent["id"] = json!("two");
    handler.invoke("ingest", &sent.to_string(), 1).await.unwrap();
    handler.invoke("checkpoint", "", 1).await.unwrap();
    let connection = azurite.connection_string();
    let part = |name: &str| {
        let parts = connection.split(';');
        parts.filter_map(|part| part.split_once('=')).find(|(given, _)| *given == name).unwrap().1.to_owned()
    };
    let dump = || {
        let output = Command::new("python3")
            .args(["-c", FOREIGN, &part("TableEndpoint"), &part("AccountName"), &part("AccountKey")])
            .output()
            .expect("python3 runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(dump().matches(secret).count(), 2, "the event and the dead letter hold it");
    let receipt = post(&handler, "erasures", json!({ "subject": "person-canary", "reason": "left" })).await;
    assert_eq!(
        (receipt["erased"].as_array().unwrap().len(), &receipt["deadLetters"]),
        (1, &json!(1)),
        "{receipt}"
    );
    let left = dump();
    assert!(!left.contains(secret) && !left.contains("person-canary"), "{left}");
    assert_eq!(get(&handler, "verification?include=data").await["verified"], json!(true));
    let served = get(&handler, "events?include=data&limit=1000").await.to_string();
    assert!(!served.contains(secret));
}

#[tokio::test]
async fn two_sources_with_one_id_are_listed_and_one_is_chosen() {
    let (_folder, handler) = embedded(&[]).await;
    for source in ["/a", "/b"] {
        let one =
            json!({ "specversion": "1.0", "id": "same", "source": source, "type": "t", "subject": "x" });
        assert_eq!(events(&one).len(), 1);
        post(&handler, "events", one).await;
    }
    let (status, problem) = handler.api("GET", "/api/tenants/acme/events/same", None).await;
    assert_eq!((status, &problem["sources"]), (StatusCode::CONFLICT, &json!(["/a", "/b"])));
    assert_eq!(get(&handler, "events/same?source=%2Fb").await["source"], json!("/b"));
}

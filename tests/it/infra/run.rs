//! The log of real handlers that go through everything an alert or the workbook asks about.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use annals::{
    checkpoint::SigningKey,
    queue::QueueName,
    testing::{
        azurite::Azurite,
        proxy::{Fault, FaultProxy, Plan},
    },
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::model::{Deployment, Query, sources};
use crate::support::{
    dev::until,
    handler::{Handler, instance_event},
};

/// A trace context that senders put into events.
pub(super) const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// Texts of the host's own lines, stable across its versions.
const HOST_LINES: [&str; 3] = [
    "Message has reached MaxDequeueCount",
    "Language Worker Process exited",
    "Failed to start Worker Channel",
];

/// Every line that the handlers wrote, once for all tests.
pub(super) async fn lines() -> &'static [Value] {
    static LINES: OnceCell<Vec<Value>> = OnceCell::const_new();
    LINES.get_or_init(gather).await
}

async fn gather() -> Vec<Value> {
    let lines = [embedded().await, azurite().await, nobody_gives_a_token().await].concat();
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

pub(super) fn faulted(tenant: &str, id: &str) -> String {
    let mut event = instance_event(tenant, id, "claim-1", "faulted", json!({ "newStatus": "faulted" }));
    event["traceparent"] = TRACE.into();
    event.to_string()
}

async fn embedded() -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::generate("annals.example/test").unwrap().secret();
    let settings = [
        ("ANNALS_DATA_DIR", folder.path().to_str().unwrap()),
        ("ANNALS_CHECKPOINT_KEY", key.as_str()),
        ("ANNALS_LOG", "info"),
    ];
    let handler = Handler::start(&settings).await;
    handler.register("acme").await;
    handler.invoke("ingest", &faulted("acme", "f-1"), 1).await.unwrap();
    handler.invoke("ingest", &faulted("acme", "f-1"), 2).await.unwrap();
    handler.invoke("ingest", "no event at all", 1).await.unwrap();
    handler.invoke("ingest", &faulted("nobody", "f-1"), 1).await.unwrap();
    handler.invoke("publish", r#"{"tenant":"acme","partition":"p00","last":1}"#, 1).await.unwrap();
    handler.invoke("publish-poison", r#"{"tenant":"acme","partition":"p00","last":1}"#, 1).await.unwrap();
    // No queue service is there: debt waits, and the gauge says what it could not read.
    let direct = instance_event("acme", "d-1", "claim-2", "created", json!({}));
    let content = [("content-type", "application/cloudevents+json"), ("traceparent", TRACE)];
    let sent =
        handler.send("POST", "/api/tenants/acme/events", &content, Some(direct.to_string().into())).await;
    assert!(sent.status().is_success());
    handler.invoke("gauge", "", 1).await.unwrap();
    handler.invoke("checkpoint", "", 1).await.unwrap();
    handler.invoke("gauge", "", 1).await.unwrap();
    // What collapses onto a function, and what no host would send.
    handler.send("POST", "/ingest", &[], None).await;
    handler.send("POST", "/ingest", &[("host", "127.0.0.1")], None).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let refused = client.post(handler.url("/ingest")).body("{}").send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 500);
    said(&handler).await
}

async fn azurite() -> Vec<String> {
    let azurite = Azurite::shared().expect("Azurite starts");
    let proxy = FaultProxy::start(&azurite).await.expect("the proxy starts");
    let base = format!("q{}", uuid::Uuid::new_v4().simple());
    for suffix in ["", "-poison", "-out", "-out-poison"] {
        let queue = QueueName::new(&format!("{base}{suffix}")).unwrap();
        crate::azure_faults::raw_queue(&azurite, &queue).create().await.unwrap();
    }
    let connection = proxy.connection_string();
    let settings = [
        ("AnnalsStorage", connection.as_str()),
        ("ANNALS_INGEST_QUEUE", base.as_str()),
        ("ANNALS_PUBLISH_QUEUE", &format!("{base}-out")),
        ("ANNALS_LOG", "info"),
    ];
    let handler = Handler::start(&settings).await;
    handler.register("silo").await;
    let poison = QueueName::new(&format!("{base}-poison")).unwrap();
    crate::azure_faults::raw_queue(&azurite, &poison).put_message("x").await.unwrap();
    handler.invoke("ingest", &faulted("silo", "f-2"), 1).await.unwrap();
    handler.invoke("ingest", &json!({ "no": "event", "tenantid": "silo" }).to_string(), 1).await.unwrap();
    handler.invoke("gauge", "", 1).await.unwrap();
    let busy = Plan { faults: vec![(Fault::Answer(503), 1.0)], retry_after: Some(1), ..Plan::default() };
    proxy.set(1, busy);
    let event = faulted("silo", "f-3");
    let stored = handler.invoke("ingest", &event, 1);
    let healed = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        proxy.heal();
    };
    tokio::join!(stored, healed).0.unwrap();
    said(&handler).await
}

/// An identity that gives no token: the handler starts all the same, and says so.
async fn nobody_gives_a_token() -> Vec<String> {
    let settings = [
        ("AnnalsStorage__tableServiceUri", "http://127.0.0.1:1/devstoreaccount1"),
        ("AnnalsStorage__queueServiceUri", "http://127.0.0.1:1/devstoreaccount1"),
        ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/token"),
        ("IDENTITY_HEADER", "h"),
        ("ANNALS_LOG", "info"),
    ];
    let handler = Handler::start(&settings).await;
    let asked = handler.invoke("sweep", "", 1);
    assert!(tokio::time::timeout(Duration::from_secs(60), asked).await.expect("an answer").is_err());
    said(&handler).await
}

/// All that a handler has said, its last line included: it is made to say one more thing, and lines come
/// in order.
async fn said(handler: &Handler) -> Vec<String> {
    const LAST: &str = "host.forged-invocation";
    let before = handler.logged(LAST).len();
    assert_eq!(handler.send("POST", "/ingest", &[], None).await.status().as_u16(), 404);
    until("its last line comes", || (handler.logged(LAST).len() > before).then_some(())).await;
    handler.logged("")
}

/// The fields of each line, by its `evt`.
fn fields(lines: &[Value]) -> BTreeMap<String, BTreeSet<String>> {
    let mut fields = BTreeMap::<String, BTreeSet<String>>::new();
    for line in lines {
        let Some(evt) = line["evt"].as_str() else { continue };
        let names = line.as_object().unwrap().keys().cloned();
        fields.entry(evt.to_owned()).or_default().extend(names);
    }
    fields
}

/// Every literal after `start`, up to `end`.
fn literals<'t>(text: &'t str, start: &str, end: char) -> Vec<&'t str> {
    text.split(start).skip(1).filter_map(|rest| rest.split(end).next()).collect()
}

/// What is wrong with a query, given the lines that handlers really write.
fn check(query: &Query, lines: &[Value]) -> Vec<String> {
    let (name, text) = (&query.name, &query.text);
    let known = fields(lines);
    let mut findings = Vec::new();
    if text.trim_start().starts_with("AppRequests") {
        let functions = Deployment::read(&sources()).functions;
        let unknown =
            literals(text, "\"", '"').into_iter().step_by(2).filter(|name| !functions.contains(*name));
        return unknown.map(|function| format!("{name}: there is no function {function}")).collect();
    }
    let host = literals(text, "\"", '"').into_iter().step_by(2).any(|one| HOST_LINES.contains(&one));
    if host {
        return findings;
    }
    let events = literals(text, "tostring(line.evt) == \"", '"');
    let [evt] = events.as_slice() else {
        return vec![format!("{name}: a query parses the line and compares its evt, once")];
    };
    if !text.contains("parse_json(Message)") || !text.contains(&format!("Message has \"{evt}\"")) {
        findings.push(format!("{name}: a query looks for its literal first, and parses the line then"));
    }
    let Some(line) = known.get(*evt) else {
        findings.push(format!("{name}: no handler writes the line {evt}"));
        return findings;
    };
    for field in literals(text, "line.", ')').into_iter().filter(|field| !field.contains(' ')) {
        if !line.contains(field) {
            findings.push(format!("{name}: the line {evt} has no field {field}"));
        }
    }
    findings
}

#[tokio::test]
async fn every_alert_and_chart_reads_lines_that_a_handler_really_writes() {
    let lines = lines().await;
    let deployment = Deployment::read(&sources());
    assert!(deployment.alerts.len() >= 12, "{:?}", deployment.alerts);
    let findings: Vec<_> = deployment.queries.iter().flat_map(|query| check(query, lines)).collect();
    super::assert_nothing(&findings);
    let wrong = |text: &str| {
        let query = Query { name: "x".to_owned(), text: text.to_owned() };
        !check(&query, lines).is_empty()
    };
    assert!(wrong("AppTraces | where Message has \"instance.faulted\""));
    let parsed = "AppTraces | where Message has \"E\" | extend line = parse_json(Message) | where tostring(line.evt) == \"E\"";
    assert!(wrong(&parsed.replace('E', "instance.broken")));
    assert!(wrong(&format!("{} | summarize tolong(line.nothing)", parsed.replace('E', "gauge.done"))));
}

#[tokio::test]
async fn a_fault_is_told_once_with_its_trace_and_without_what_was_in_it() {
    let lines = lines().await;
    let told: Vec<_> =
        lines.iter().filter(|line| line["evt"] == "instance.faulted" && line["tenant"] == "acme").collect();
    let [line] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(
        (&line["category"], &line["stream"], &line["event_id"]),
        (&json!("workflow-instance"), &json!("claim-1"), &json!("f-1"))
    );
    let invocations: Vec<_> = lines
        .iter()
        .filter(|line| {
            line["evt"] == "invocation" && line["tenant"] == "acme" && line["function"] == "ingest"
        })
        .collect();
    assert_eq!(invocations.len(), 2, "{invocations:?}");
    assert_eq!(invocations[0]["stream"], "workflow-instance/claim-1");
    assert_eq!(invocations[0]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!((&invocations[0]["stored"], &invocations[1]["duplicates"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn the_gauge_counts_what_is_there_and_says_what_it_could_not_read() {
    let lines = lines().await;
    let tenant =
        |id: &str| lines.iter().find(|line| line["evt"] == "gauge.tenant" && line["tenant"] == id).unwrap();
    assert_eq!((&tenant("acme")["faulted"], &tenant("acme")["feed_owed"]), (&json!(1), &json!(2)));
    assert_eq!((&tenant("silo")["faulted"], &tenant("silo")["dead_letters"]), (&json!(1), &json!(1)));
    assert!(tenant("acme")["checkpoint_age_s"].is_u64(), "with a key: {}", tenant("acme"));
    assert!(tenant("silo").get("checkpoint_age_s").is_none(), "without one: {}", tenant("silo"));
    let done: Vec<_> =
        lines.iter().filter(|line| line["evt"] == "gauge.done").map(|line| &line["complete"]).collect();
    assert_eq!(
        done,
        [false, false, true].map(|complete| json!(complete)).each_ref(),
        "without a queue service, and with one"
    );
    let queues: Vec<_> = lines.iter().filter(|line| line["evt"] == "gauge.queue").collect();
    assert_eq!(queues.len(), 4);
    let poison = queues.iter().find(|line| line["poison"] == true && line["depth"] == 1);
    assert!(poison.is_some_and(|line| line["oldest_s"].is_u64()), "{queues:?}");
}

/// Fields of the last line of a gauge of `acme`.
async fn gauged(handler: &Handler) -> Value {
    handler.invoke("gauge", "", 1).await.unwrap();
    let lines = said(handler).await;
    let mut of_tenant =
        lines.iter().filter(|line| line.contains("\"gauge.tenant\"") && line.contains("\"acme\""));
    serde_json::from_str(of_tenant.next_back().expect("a line of the tenant")).unwrap()
}

#[tokio::test]
async fn the_age_of_what_no_checkpoint_covers_grows_until_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::generate("annals.example/test").unwrap().secret();
    let settings = [
        ("ANNALS_DATA_DIR", folder.path().to_str().unwrap()),
        ("ANNALS_CHECKPOINT_KEY", key.as_str()),
        ("ANNALS_LOG", "info"),
    ];
    let handler = Handler::start(&settings).await;
    handler.register("acme").await;
    handler.invoke("checkpoint", "", 1).await.unwrap();
    assert_eq!(gauged(&handler).await["checkpoint_age_s"], 0, "all is covered");
    let before = Instant::now();
    handler.invoke("ingest", &faulted("acme", "f-1"), 1).await.unwrap();
    let after = Instant::now();
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    handler.invoke("ingest", &faulted("acme", "f-2"), 1).await.unwrap();
    let at_least = after.elapsed().as_secs();
    let age = gauged(&handler).await["checkpoint_age_s"].as_u64().unwrap();
    assert!(
        (at_least..=before.elapsed().as_secs()).contains(&age),
        "{age} s of the older event, not the newer"
    );
    handler.invoke("checkpoint", "", 1).await.unwrap();
    assert_eq!(gauged(&handler).await["checkpoint_age_s"], 0, "all is covered again");
}

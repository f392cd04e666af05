//! `annals dev` in the place of the Functions host, in front of a handler that misbehaves: the
//! verdicts of the real host, and nothing lost while a handler starts again.

use std::{fs, path::Path};

use serde_json::json;
use tempfile::TempDir;

use crate::support::dev::{Dev, runs, until};

/// Deliveries before a message is poison.
const DELIVERIES: usize = 2;

const SUCCESSES: [(&str, u64); 12] = [
    ("nothing-to-publish", 0),
    ("with-charset", 0),
    ("text-json", 0),
    ("status-202", 0),
    ("null-output", 0),
    ("empty-array", 0),
    ("unknown-output", 0),
    ("array-of-texts", 2),
    ("array-of-objects", 1),
    ("one-text", 1),
    ("one-object", 1),
    ("lower-case-outputs", 1),
];

const FAILURES: [&str; 21] = [
    "status-204",
    "empty-body",
    "blank-body",
    "null-body",
    "array-body",
    "scalar-body",
    "broken-json",
    "plain-text",
    "no-type",
    "redirect",
    "not-found",
    "server-error",
    "null-item",
    "item-not-json",
    "array-in-array",
    "base64-text",
    "event-without-id",
    "event-of-an-old-version",
    "extension-in-capitals",
    "extension-too-large",
    "too-much-for-one-request",
];

/// An application with the handler of `tests/fixtures/handler`, and `annals dev` in front of it.
async fn app(functions: &[(&str, &str)]) -> (TempDir, Dev) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/handler/handler.js");
    fs::copy(fixture, root.join("handler")).unwrap();
    executable(&root.join("handler"));
    let host = json!({
        "version": "2.0",
        "functionTimeout": "00:00:02",
        "customHandler": { "description": { "defaultExecutablePath": "handler" } },
        "extensions": { "queues": {
            "messageEncoding": "none", "maxDequeueCount": DELIVERIES, "visibilityTimeout": "00:00:00"
        } },
    });
    fs::write(root.join("host.json"), host.to_string()).unwrap();
    for (name, queue) in functions {
        let function = root.join("function-definitions").join(name);
        fs::create_dir_all(&function).unwrap();
        let bindings = json!({ "bindings": [
            { "type": "queueTrigger", "direction": "jobs", "name": "msg", "queueName": queue, "dataType": "binary" },
            { "type": "eventGrid", "direction": "out", "name": "events" },
        ] });
        fs::write(function.join("function.json"), bindings.to_string()).unwrap();
    }
    let dev = Dev::start(root, &root.join("data"), &[]).await;
    (folder, dev)
}

fn executable(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The deliveries that the handler noted: `{function} {dequeue count} {message}`.
fn calls(folder: &TempDir) -> Vec<String> {
    let noted = fs::read_to_string(folder.path().join("calls.log")).unwrap_or_default();
    noted.lines().map(str::to_owned).collect()
}

fn starts(folder: &TempDir) -> usize {
    calls(folder).iter().filter(|call| call.starts_with("start ")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_taken_or_refused_as_the_real_host_does() {
    let (folder, dev) = app(&[("work", "jobs")]).await;
    for (message, published) in SUCCESSES {
        let before = dev.get("/dev/change-feed?limit=0").await["published"].as_u64().unwrap();
        dev.put("jobs", message).await;
        dev.drained("jobs").await;
        let after = dev.get("/dev/change-feed?limit=0").await["published"].as_u64().unwrap();
        assert_eq!(after - before, published, "{message}: {}", dev.said());
        assert_eq!(dev.depth("jobs-poison").await, 0, "{message} was refused: {}", dev.said());
    }
    let before = dev.get("/dev/change-feed?limit=0").await["published"].clone();
    for (nth, message) in FAILURES.into_iter().enumerate() {
        dev.put("jobs", message).await;
        dev.drained("jobs").await;
        assert_eq!(dev.depth("jobs-poison").await, nth as u64 + 1, "{message} was taken");
        let deliveries = |call: &&String| call.ends_with(&format!(" {message}"));
        assert_eq!(calls(&folder).iter().filter(deliveries).count(), DELIVERIES, "{message}");
    }
    let after = dev.get("/dev/change-feed?limit=0").await["published"].clone();
    assert_eq!(before, after, "a refused answer published something");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_while_a_crashed_handler_starts_again() {
    let (folder, dev) = app(&[("work", "jobs")]).await;
    fs::write(folder.path().join("slow"), "").unwrap();
    let handler = dev.handler().await;
    dev.put("jobs", "crash").await;
    until("the handler crashed", || (!runs(handler)).then_some(())).await;
    // Of two deliveries and with no pause between them, one lost to the wait would show.
    for n in 0..40 {
        dev.put("jobs", &format!("patient-{n}")).await;
    }
    dev.drained("jobs").await;
    let mut expected: Vec<_> = (0..40).map(|n| format!("work 1 patient-{n}")).collect();
    expected.extend(["work 1 crash".to_owned(), "work 2 crash".to_owned()]);
    let mut delivered = calls(&folder);
    delivered.retain(|call| call.starts_with("work "));
    expected.sort();
    delivered.sort();
    assert_eq!(delivered, expected, "{}", dev.said());
    assert_eq!((dev.depth("jobs-poison").await, starts(&folder)), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_always_crashes_the_handler_is_poison_and_the_next_is_served() {
    let (folder, dev) = app(&[("work", "jobs")]).await;
    dev.put("jobs", "crash-always").await;
    dev.drained("jobs").await;
    assert_eq!(dev.depth("jobs-poison").await, 1, "{}", dev.said());
    dev.put("jobs", "after").await;
    dev.drained("jobs").await;
    assert!(calls(&folder).contains(&"work 1 after".to_owned()));
    assert_eq!(starts(&folder), 1 + DELIVERIES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_hangs_is_killed_after_function_timeout_and_started_again() {
    let (folder, dev) = app(&[("work", "jobs")]).await;
    dev.put("jobs", "hang").await;
    dev.drained("jobs").await;
    assert_eq!(dev.depth("jobs-poison").await, 1);
    assert!(dev.said().contains("killed after functionTimeout"), "{}", dev.said());
    dev.put("jobs", "after").await;
    dev.drained("jobs").await;
    assert!(calls(&folder).contains(&"work 1 after".to_owned()));
    assert_eq!(starts(&folder), 1 + DELIVERIES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_exits_with_0_is_started_again_with_a_warning() {
    let (_folder, dev) = app(&[("work", "jobs")]).await;
    dev.put("jobs", "exit-0").await;
    dev.drained("jobs").await;
    assert!(dev.said().contains("older hosts start no handler again that exits with 0"), "{}", dev.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_queue_stops_delivering_after_the_last_try() {
    let (folder, dev) = app(&[("work", "jobs"), ("work-poison", "jobs-poison")]).await;
    dev.put("jobs", "server-error").await;
    dev.drained("jobs").await;
    dev.drained("jobs-poison").await;
    assert_eq!(dev.get("/dev/queues").await["jobs-poison"]["exhausted"], 1, "{}", dev.said());
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let of = |function: &str| calls(&folder).iter().filter(|call| call.starts_with(function)).count();
    assert_eq!((of("work "), of("work-poison ")), (DELIVERIES, DELIVERIES));
}

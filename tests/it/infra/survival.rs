//! What the host does to a handler, and what the handler must make of it.

use std::{
    net::TcpListener,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use annals::testing::azurite::Azurite;
use serde_json::json;

use crate::support::handler::{Handler, instance_event};

/// A handler that cannot serve, as the host starts it; gives its exit code.
fn fails_with(settings: &[(&str, &str)]) -> Option<i32> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
    command
        .env_clear()
        .env("ANNALS_AUTH", "keys")
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if started.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it goes on running: {settings:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_handler_that_cannot_serve_never_exits_with_0() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let cases = [
        vec![("FUNCTIONS_CUSTOMHANDLER_PORT", port.as_str()), ("ANNALS_DATA_DIR", folder)],
        vec![("ANNALS_DATA_DIR", folder)],
        vec![("FUNCTIONS_CUSTOMHANDLER_PORT", "0"), ("ANNALS_DATA_DIR", folder)],
        vec![("FUNCTIONS_CUSTOMHANDLER_PORT", "1")],
    ];
    for settings in cases {
        let code = fails_with(&settings);
        assert!(code.is_some_and(|code| code != 0 && code != 200), "{settings:?}: {code:?}");
    }
}

#[tokio::test]
async fn it_answers_the_host_while_storage_cannot_be_reached() {
    let started = Instant::now();
    let unreachable =
        "AccountName=a;AccountKey=a2V5;TableEndpoint=http://127.0.0.1:1/a;QueueEndpoint=http://127.0.0.1:1/a";
    // `start` waits for the first answer to `GET /`, for 10 s; the host would wait for 30.
    let handler = Handler::start(&[("AnnalsStorage", unreachable)]).await;
    assert!(started.elapsed() < Duration::from_secs(10));
    let event = instance_event("acme", "e-1", "i-1", "created", json!({})).to_string();
    assert!(handler.invoke("ingest", &event, 1).await.is_err(), "the message stays on its queue");
    assert!(handler.send("GET", "/", &[], None).await.status().is_success(), "and it goes on serving");
}

/// A restart of the script host: the old handler drains while the new one serves already.
#[tokio::test]
async fn two_handlers_that_overlap_store_everything_once() {
    let azurite = Azurite::shared().expect("Azurite starts");
    let connection = azurite.connection_string();
    let old = Handler::start(&[("AnnalsStorage", &connection)]).await;
    let new = Handler::start(&[("AnnalsStorage", &connection)]).await;
    let tenant = format!("overlap-{}", uuid::Uuid::new_v4().simple());
    old.register(&tenant).await;
    let event =
        |id: usize| instance_event(&tenant, &format!("e-{id}"), "one", "created", json!({})).to_string();
    for id in 0..20 {
        let message = event(id);
        let (first, second) =
            tokio::join!(old.invoke("ingest", &message, 1), new.invoke("ingest", &message, 2));
        // One of them may fail for now; the host would deliver it again.
        assert!(first.is_ok() || second.is_ok(), "{first:?} {second:?}");
        if id == 10 {
            new.kill_and_restart().await;
        }
    }
    drop(old);
    for id in 0..20 {
        new.invoke("ingest", &event(id), 3).await.unwrap();
    }
    let path = format!("/api/tenants/{tenant}/streams/workflow-instance/one");
    let (status, stream) = new.api("GET", &path, None).await;
    assert!(status.is_success(), "{stream}");
    assert_eq!(stream["version"], 20, "{stream}");
}

//! Storage that is not there: the handler starts, answers `GET /`, fails invocations in time and
//! says why, and goes on by itself when storage is there.

use std::time::{Duration, Instant};

use annals::testing::{
    azurite::{self, Azurite},
    proxy::{Fault, FaultProxy, Plan},
};
use reqwest::StatusCode;
use serde_json::json;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use crate::support::{
    handler::{Handler, instance_event},
    read::{assert_contiguous, everything},
};

/// What the host's own patience must allow.
const IN_TIME: Duration = Duration::from_secs(30);

fn message(id: &str) -> String {
    instance_event("acme", id, "i-1", "created", json!({ "newStatus": "waiting" })).to_string()
}

/// An address at which nobody listens yet.
async fn nobody() -> String {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    address.to_string()
}

/// Listens at an address from now on, in front of an endpoint of Azurite's.
async fn appear(address: &str, endpoint: &str) {
    let listener = TcpListener::bind(address).await.unwrap();
    let upstream = endpoint.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut service = TcpStream::connect(&upstream).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut service).await });
        }
    });
}

/// Every function fails, in time, with a line in the log that names the cause and no address.
async fn assert_all_fail_in_time(handler: &Handler) {
    let publish = json!({ "tenant": "acme", "partition": "p00", "last": 1 }).to_string();
    let event = message("during");
    let messages = [
        ("ingest", event.as_str()),
        ("ingest", "not json"),
        ("ingest-poison", event.as_str()),
        ("publish", publish.as_str()),
        ("publish-poison", publish.as_str()),
        ("sweep", ""),
    ];
    let began = Instant::now();
    let answers = messages.map(|(function, message)| handler.invoke(function, message, 1));
    for ((function, message), answer) in messages.iter().zip(futures::future::join_all(answers).await) {
        assert!(answer.is_err(), "{function} {message:.20}");
    }
    assert!(began.elapsed() < IN_TIME, "invocations took {:?} to fail", began.elapsed());
    let clear = ["cannot be reached", "gave no answer", "no answer in time"];
    for (function, _) in messages {
        let function = format!("\"function\":\"{function}\"");
        let is_clear =
            |line: &String| line.contains(&function) && clear.iter().any(|word| line.contains(word));
        while !handler.logged("invocation.failed").iter().any(is_clear) {
            assert!(began.elapsed() < IN_TIME * 2, "{function}: {:?}", handler.logged(&function));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for line in handler.logged("") {
        assert!(!line.contains("127.0.0.1") && !line.contains("AccountKey"), "{line}");
    }
    let began = Instant::now();
    let (status, problem) = handler.api("GET", "/api/tenants/acme/streams", None).await;
    assert!(began.elapsed() < IN_TIME);
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable")),
        "{problem}"
    );
}

/// Goes on by itself: what failed before is stored now.
async fn assert_recovers(handler: &Handler) {
    let began = Instant::now();
    loop {
        match handler.invoke("ingest", &message("during"), 2).await {
            Ok(events) => {
                assert_eq!(events.len(), 1);
                return;
            }
            Err(error) => assert!(began.elapsed() < Duration::from_secs(60), "{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_without_storage_starts_fails_in_time_and_recovers() {
    let (tables, queues) = (nobody().await, nobody().await);
    let connection = azurite::connection_string(
        &format!("http://{tables}/devstoreaccount1"),
        &format!("http://{queues}/devstoreaccount1"),
    );
    let handler = Handler::start(&[("AnnalsStorage", &connection)]).await;
    assert_eq!(handler.api("GET", "/", None).await.0, StatusCode::OK);
    assert_all_fail_in_time(&handler).await;
    assert_eq!(handler.api("GET", "/", None).await.0, StatusCode::OK);

    let azurite = Azurite::start().unwrap();
    appear(&tables, azurite.tables()).await;
    appear(&queues, azurite.queues()).await;
    handler.register("acme").await;
    assert_recovers(&handler).await;
    assert_contiguous(&everything(&handler, "acme").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_whose_storage_falls_silent_fails_in_time_and_recovers() {
    let azurite = Azurite::start().unwrap();
    let proxy = FaultProxy::start(&azurite).await.unwrap();
    let handler = Handler::start(&[("AnnalsStorage", &proxy.connection_string())]).await;
    handler.register("acme").await;
    handler.invoke("ingest", &message("before"), 1).await.unwrap();
    proxy.set(1, Plan { faults: vec![(Fault::Hang, 1.0)], ..Plan::default() });
    assert_all_fail_in_time(&handler).await;
    proxy.heal();
    assert_recovers(&handler).await;
    assert_contiguous(&everything(&handler, "acme").await, 2);
}

//! What a process that is asked to stop still does.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::{dev::until, handler::Handler};

/// Who was turned away and who read, as the tenant's audit stream tells it.
async fn audited(handler: &Handler, kind: &str) -> Vec<Value> {
    let (status, history) = handler.api("GET", "/api/tenants/acme/streams/tenant/audit/events", None).await;
    assert_eq!(status, StatusCode::OK, "{history}");
    let events = history["events"].as_array().unwrap().clone();
    events.into_iter().filter(|event| event["type"] == kind).map(|event| event["data"].clone()).collect()
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_asked_to_stop_writes_what_it_has_not_audited_yet() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let open = Handler::start(&[("ANNALS_DATA_DIR", data)]).await;
    let settings = json!({ "readAudit": "all" });
    assert_eq!(open.api("PUT", "/api/tenants/acme", Some(&settings)).await.0, StatusCode::CREATED);
    let key = json!({ "label": "reader", "roles": ["reader"] });
    let (_, key) = open.api("POST", "/api/tenants/acme/keys", Some(&key)).await;
    open.stop().await;

    let handler =
        Handler::start(&[("ANNALS_DATA_DIR", data), ("ANNALS_AUTH", "keys"), ("ANNALS_LOG", "info")]).await;
    let with = [("x-annals-key", key["key"].as_str().unwrap())];
    for _ in 0..3 {
        let read = handler.send("GET", "/api/tenants/acme/streams", &with, None).await.status();
        let forbidden = handler.send("GET", "/api/tenants/acme/keys", &with, None).await.status();
        let nobody = handler.send("GET", "/api/tenants/acme/streams", &[], None).await.status();
        let told = [read, forbidden, nobody].map(|status| status.as_u16());
        assert_eq!(told, [200, 403, 401]);
    }
    // Somebody waits for news. That is no reason to go on for long.
    let mut waits = tokio::net::TcpStream::connect(("127.0.0.1", handler.port)).await.unwrap();
    let asked = format!(
        "GET /api/tenants/acme/events?type=no.such&wait=20 HTTP/1.1\r\nHost: annals.example\r\nX-Annals-Key: {}\r\n\r\n",
        with[0].1
    );
    waits.write_all(asked.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let started = Instant::now();
    let status = handler.stop().await;
    assert!(!status.success(), "the host does not restart a handler that exits with 0");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    let said = until("the log tells of it", || {
        let said = handler.logged("handler.stopped");
        (!said.is_empty()).then_some(said)
    });
    assert_eq!(said.await.len(), 1);

    let open = Handler::start(&[("ANNALS_DATA_DIR", data)]).await;
    let denied = audited(&open, "annals.access.denied").await;
    for reason in ["forbidden", "unauthenticated"] {
        let found: Vec<_> = denied.iter().filter(|data| data["reason"] == reason).collect();
        assert!(found.len() == 1 && found[0]["count"] == 3, "{reason}: {denied:?}");
    }
    let read = audited(&open, "annals.access.read").await;
    let count: u64 = read.iter().map(|data| data["count"].as_u64().unwrap()).sum();
    assert!(count >= 3, "{read:?}");
}

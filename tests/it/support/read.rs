//! Reading a whole tenant back through the API.

use reqwest::StatusCode;
use serde_json::Value;

use super::handler::Handler;

/// Every event of the tenant, through the history of each of its streams, whose versions must be
/// contiguous.
pub(crate) async fn everything(handler: &Handler, tenant: &str) -> Vec<Value> {
    let mut events = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/api/tenants/{tenant}/streams?limit=1000{cursor}");
        let (status, page) = handler.api("GET", &path, None).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        for stream in page["streams"].as_array().unwrap() {
            let history = history(handler, tenant, stream).await;
            let versions: Vec<_> = history.iter().map(|event| event["version"].as_u64().unwrap()).collect();
            let all: Vec<_> = (1..=stream["version"].as_u64().unwrap()).collect();
            assert_eq!(versions, all, "{}", stream["stream"]);
            events.extend(history);
        }
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return events,
        }
    }
}

async fn history(handler: &Handler, tenant: &str, stream: &Value) -> Vec<Value> {
    let category = stream["category"].as_str().unwrap();
    let id = annals::links::segment(stream["id"].as_str().unwrap());
    let path = format!("/api/tenants/{tenant}/streams/{category}/{id}/events?limit=1000");
    let (mut events, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, mut page) = handler.api("GET", &format!("{path}{cursor}"), None).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        events.append(page["events"].as_array_mut().unwrap());
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return events,
        }
    }
}

/// The sequences of events, in order.
pub(crate) fn sequences(events: &[Value]) -> Vec<u64> {
    let mut all: Vec<_> =
        events.iter().map(|event| event["position"]["sequence"].as_u64().unwrap()).collect();
    all.sort_unstable();
    all
}

/// Those of the events that somebody sent: a tenant's own record begins with its registration.
pub(crate) fn sent(events: &[Value]) -> impl Iterator<Item = &Value> {
    events.iter().filter(|event| !event["type"].as_str().unwrap().starts_with("annals."))
}

/// Asserts that so many were sent, and that the sequences of all are contiguous from 1, none twice.
pub(crate) fn assert_contiguous(events: &[Value], count: usize) {
    let wrong = sequences(events).into_iter().zip(1..).find(|(found, wanted)| found != wanted);
    assert_eq!((sent(events).count(), wrong), (count, None), "stored, and the first sequence out of place");
}

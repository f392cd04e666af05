//! `examples/legacy-api`, end to end: the caller's answers stay as they were, and everything is on
//! record.

#[path = "../../examples/legacy-api/api.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)]
mod api;
#[path = "../../examples/legacy-api/journal.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)]
mod journal;

use std::sync::Arc;

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::{commands::queue::queues, support::handler::Handler};

struct Legacy {
    base: String,
    client: Client,
}

impl Legacy {
    async fn start(journal: Option<journal::Journal>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = api::router(Arc::new(api::Service::new(journal)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base, client: Client::builder().no_proxy().build().unwrap() }
    }

    async fn call(&self, who: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).header("x-user", who);
        request = request.header("x-request-id", "req/1");
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null))
    }

    /// Creates, disables and enables a key; gives what was answered, ids and secrets apart.
    async fn routine(&self) -> (String, String, Vec<(u16, Value)>) {
        let created = self.call("ann", Method::POST, "/keys", Some(json!({ "name": "ci" }))).await;
        let id = created.1["id"].as_str().unwrap().to_owned();
        let secret = created.1["secret"].as_str().unwrap().to_owned();
        let mut answers = vec![created];
        for path in
            [format!("/keys/{id}/disable"), format!("/keys/{id}/enable"), "/keys/none/disable".to_owned()]
        {
            answers.push(self.call("ann", Method::POST, &path, None).await);
        }
        answers.push(self.call("ann", Method::GET, &format!("/keys/{id}"), None).await);
        for (_, answer) in &mut answers {
            if let Some(members) = answer.as_object_mut() {
                members.retain(|name, _| name != "id" && name != "secret");
            }
        }
        (id, secret, answers)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_service_answers_as_before_and_everything_is_on_record() {
    let (queue, messages) = queues().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = [("ANNALS_DATA_DIR", folder.path().to_str().unwrap()), ("ANNALS_DEV_QUEUES", &queue)];
    let handler = Handler::start(&settings).await;
    handler.api("PUT", "/api/tenants/acme", Some(&json!({}))).await;
    let journal = || journal::Journal::new(&handler.url("/api"), "acme", None).unwrap();

    let (_, _, before) = Legacy::start(None).await.routine().await;
    let legacy = Legacy::start(Some(journal())).await;
    let (key, secret, answers) = legacy.routine().await;
    assert_eq!(answers, before, "the journal changed an answer");
    let sent = std::mem::take(&mut *messages.lock().unwrap());
    for message in sent {
        assert!(!message.contains(&secret));
        handler.invoke("ingest", &message, 1).await.unwrap();
    }

    // Two others must agree; who asks does not count, and nobody counts twice.
    let (status, asked) = legacy.call("ann", Method::DELETE, &format!("/keys/{key}"), None).await;
    assert_eq!(status, 202);
    let request = asked["request"].as_str().unwrap();
    let approve = format!("{request}/approve");
    let decide = |who: &'static str| legacy.call(who, Method::POST, &approve, None);
    assert_eq!(decide("ann").await.0, 403);
    assert_eq!(decide("bob").await.1["status"], "pending-approval");
    assert_eq!(decide("bob").await.1["ignored"], "repeated");
    assert_eq!(legacy.call("ann", Method::GET, &format!("/keys/{key}"), None).await.0, 200);
    assert_eq!(decide("cid").await.1["status"], "approved");
    assert_eq!(legacy.call("ann", Method::GET, &format!("/keys/{key}"), None).await.0, 404);
    assert_eq!(legacy.call("ann", Method::GET, request, None).await.1["status"], "succeeded");

    let (_, page) = handler.api("GET", "/api/tenants/acme/commands?correlation=req%2F1", None).await;
    let commands = page["commands"].as_array().unwrap();
    let mut told: Vec<_> =
        commands.iter().map(|one| (one["type"].as_str().unwrap(), one["status"].as_str().unwrap())).collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            ("CreateApiKey", "succeeded"),
            ("DeleteApiKey", "succeeded"),
            ("DisableApiKey", "failed"),
            ("DisableApiKey", "succeeded"),
            ("EnableApiKey", "succeeded"),
        ]
    );
    assert!(!page.to_string().contains(&secret), "the secret is on record");
    let disabled = commands.iter().find(|one| one["type"] == "DisableApiKey" && one["status"] == "succeeded");
    assert_eq!(
        disabled.unwrap()["changes"],
        json!([{ "op": "replace", "path": "/enabled", "value": false }])
    );
    let created = commands.iter().find(|one| one["type"] == "CreateApiKey").unwrap();
    let path = format!("/api/tenants/acme/commands/{}/secret-check", created["id"].as_str().unwrap());
    let was = json!({ "pointer": "/secret", "value": secret });
    assert_eq!(handler.api("POST", &path, Some(&was)).await.1["matches"], true);
}

#[tokio::test]
async fn without_a_journal_what_fails_closed_is_refused_and_what_fails_open_is_done() {
    let nowhere = journal::Journal::new("http://127.0.0.1:9/api", "acme", None).unwrap();
    let legacy = Legacy::start(Some(nowhere)).await;
    assert_eq!(legacy.call("ann", Method::POST, "/keys", Some(json!({ "name": "ci" }))).await.0, 503);
    assert_eq!(legacy.call("ann", Method::POST, "/keys/k/disable", None).await.0, 404);
    assert_eq!(legacy.call("ann", Method::DELETE, "/keys/k", None).await.0, 503);
}

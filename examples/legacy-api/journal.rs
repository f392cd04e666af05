//! The journal's side of the service: five calls over HTTP, and nothing of Annals' own code.

use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};

/// What the journal said, or that it could not be asked.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The HTTP status; 0 where there was no answer.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Value,
}

impl Answer {
    /// Whether it was a yes.
    pub(crate) fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// The journal of one tenant.
#[derive(Debug)]
pub(crate) struct Journal {
    client: Client,
    base: String,
    key: Option<String>,
}

impl Journal {
    /// The journal below this URL.
    pub(crate) fn new(url: &str, tenant: &str, key: Option<String>) -> anyhow::Result<Self> {
        let client = Client::builder().timeout(Duration::from_secs(20)).no_proxy().build()?;
        Ok(Self { client, base: format!("{}/tenants/{tenant}", url.trim_end_matches('/')), key })
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>, wait: bool) -> Answer {
        let mut request = self.client.request(method, format!("{}/{path}", self.base));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        if !wait {
            request = request.header("prefer", "respond-async");
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        match request.send().await {
            Err(_) => Answer { status: 0, body: Value::Null },
            Ok(response) => {
                let status = response.status().as_u16();
                let text = response.text().await.unwrap_or_default();
                Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null) }
            }
        }
    }

    /// Puts a command on record. With `wait` the answer means that it is durable.
    pub(crate) async fn dispatch(&self, command: Value, wait: bool) -> Answer {
        self.call(Method::POST, "commands", Some(command), wait).await
    }

    /// Tells what became of it; tried again, since every call is idempotent.
    pub(crate) async fn outcome(&self, id: &str, outcome: Value, wait: bool) -> Answer {
        let path = format!("commands/{id}/outcome");
        let first = self.call(Method::POST, &path, Some(outcome.clone()), wait).await;
        if first.status != 0 && first.status < 500 {
            return first;
        }
        self.call(Method::POST, &path, Some(outcome), wait).await
    }

    /// Says for a person yes or no.
    pub(crate) async fn decide(&self, id: &str, user: &str, decision: &str, comment: Option<&str>) -> Answer {
        let body =
            json!({ "decision": decision, "comment": comment, "actor": { "type": "user", "id": user } });
        self.call(Method::POST, &format!("commands/{id}/approvals"), Some(body), true).await
    }

    /// Takes on an approved command: exactly one caller wins.
    pub(crate) async fn claim(&self, id: &str) -> Answer {
        self.call(Method::POST, &format!("commands/{id}/claim"), Some(json!({ "lease": 60 })), true).await
    }

    /// What became of a command.
    pub(crate) async fn status(&self, id: &str) -> Answer {
        self.call(Method::GET, &format!("commands/{id}"), None, true).await
    }

    /// Commands that may run and that nobody runs.
    pub(crate) async fn approved(&self) -> Answer {
        self.call(Method::GET, "commands?status=approved&type=DeleteApiKey", None, true).await
    }
}

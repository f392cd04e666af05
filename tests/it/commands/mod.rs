//! The command journal, over the real port.

mod approvals;
mod callers;
mod erased;
mod lists;
pub(crate) mod queue;
mod races;
mod records;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::handler::Handler;

const COMMANDS: &str = "/api/tenants/acme/commands";

async fn embedded() -> (TempDir, Handler) {
    let folder = tempfile::tempdir().unwrap();
    let handler = Handler::start(&[("ANNALS_DATA_DIR", folder.path().to_str().unwrap())]).await;
    handler.register("acme").await;
    (folder, handler)
}

fn user(id: &str) -> Value {
    json!({ "type": "user", "id": id })
}

impl Handler {
    async fn dispatch(&self, body: Value) -> (StatusCode, Value) {
        self.api("POST", COMMANDS, Some(&body)).await
    }

    async fn ask(&self, id: &str, what: &str, body: Value) -> (StatusCode, Value) {
        let path = format!("{COMMANDS}/{}/{what}", annals::links::segment(id));
        self.api("POST", &path, Some(&body)).await
    }

    async fn command(&self, id: &str) -> Value {
        let path = format!("{COMMANDS}/{}", annals::links::segment(id));
        let (status, command) = self.api("GET", &path, None).await;
        assert_eq!(status, StatusCode::OK, "{command}");
        command
    }

    /// Waits until time has made this of a command; a slow machine gets a minute.
    async fn becomes(&self, id: &str, status: &str) {
        let started = std::time::Instant::now();
        loop {
            let command = self.command(id).await;
            if command["status"] == status {
                return;
            }
            assert!(started.elapsed() < std::time::Duration::from_secs(60), "never {status}: {command}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    async fn approve(&self, id: &str, who: &str) -> (StatusCode, Value) {
        self.ask(id, "approvals", json!({ "decision": "approve", "actor": user(who) })).await
    }

    /// The types of a command's events, without what they have in common.
    async fn events_of(&self, id: &str) -> Vec<String> {
        let segment = annals::links::segment(id).into_owned();
        let path = format!("/api/tenants/acme/streams/command/{segment}/events?limit=1000");
        let (_, history) = self.api("GET", &path, None).await;
        let types = history["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap());
        types.map(|text| text.rsplit_once('.').unwrap().1.to_owned()).collect()
    }

    /// The status under which the command is listed, which must be that of its record.
    async fn stored_status(&self, id: &str) -> String {
        let segment = annals::links::segment(id).into_owned();
        let path = format!("/api/tenants/acme/streams/command/{segment}");
        let (_, stream) = self.api("GET", &path, None).await;
        stream["status"].as_str().unwrap_or_default().to_owned()
    }
}

//! Who may do what with a command.

use std::{path::Path, process::Command};

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{COMMANDS, user};
use crate::support::handler::Handler;

/// Runs a command of the command line on a data folder.
fn annals(folder: &Path, args: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_annals"))
        .args(args)
        .args(["--data", folder.to_str().unwrap()])
        .env_clear()
        .env("ANNALS_AUTH", "keys")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn key(folder: &Path, label: &str, roles: &[&str]) -> String {
    let mut args = vec!["key", "create", "acme", "--label", label];
    args.extend(roles.iter().flat_map(|role| ["--role", role]));
    let created = annals(folder, &args);
    created["secret"].as_str().or(created["key"].as_str()).unwrap_or_else(|| panic!("{created}")).to_owned()
}

struct Caller<'a> {
    handler: &'a Handler,
    key: String,
}

impl Caller<'_> {
    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let headers = [("content-type", "application/json"), ("x-annals-key", self.key.as_str())];
        let body = body.map(|body| body.to_string().into_bytes());
        let response = self.handler.send(method, path, &headers, body).await;
        let status = response.status();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null))
    }
}

#[tokio::test]
async fn a_writer_reads_what_it_recorded_a_reader_everything_and_only_a_delegate_speaks_for_others() {
    let folder = tempfile::tempdir().unwrap();
    annals(folder.path(), &["tenant", "add", "acme"]);
    let keys = [
        key(folder.path(), "one", &["writer", "delegate"]),
        key(folder.path(), "two", &["writer"]),
        key(folder.path(), "reads", &["reader"]),
    ];
    let settings = [("ANNALS_DATA_DIR", folder.path().to_str().unwrap()), ("ANNALS_AUTH", "keys")];
    let handler = Handler::start(&settings).await;
    let [one, two, reads] = keys.map(|key| Caller { handler: &handler, key });
    let command = |id: &str| json!({ "id": id, "type": "t", "correlationId": "r" });
    let mut asked = command("c");
    asked["actor"] = user("ann");
    assert_eq!(one.call("POST", COMMANDS, Some(asked.clone())).await.0, StatusCode::CREATED);
    asked["id"] = "d".into();
    let (status, problem) = two.call("POST", COMMANDS, Some(asked)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("not-a-delegate")));
    assert_eq!(two.call("POST", COMMANDS, Some(command("d"))).await.0, StatusCode::CREATED);
    assert_eq!(reads.call("POST", COMMANDS, Some(command("e"))).await.0, StatusCode::FORBIDDEN);

    for (caller, id, want) in [
        (&one, "c", 200),
        (&two, "c", 404),
        (&two, "d", 200),
        (&one, "d", 404),
        (&reads, "c", 200),
        (&reads, "d", 200),
    ] {
        let (status, _) = caller.call("GET", &format!("{COMMANDS}/{id}"), None).await;
        assert_eq!(status.as_u16(), want, "{id}");
    }
    for (caller, want) in [(&one, vec!["c"]), (&two, vec!["d"]), (&reads, vec!["c", "d"])] {
        for path in [COMMANDS.to_owned(), "/api/tenants/acme/correlations/r".to_owned()] {
            let (_, page) = caller.call("GET", &path, None).await;
            let mut ids: Vec<_> =
                page["commands"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
            ids.sort_by_key(Value::to_string);
            assert_eq!(ids, want, "{path}");
        }
    }
    let (_, seen) = reads.call("GET", &format!("{COMMANDS}/c"), None).await;
    assert_eq!(seen["actor"], user("ann"));
    assert!(seen["recordedBy"].as_str().unwrap().starts_with("key:"), "{seen}");
}

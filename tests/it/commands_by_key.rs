//! `tail`, `verify` and `export` against a running system, with the credentials of the environment.

use std::process::Output;

use serde_json::{Value, json};

use crate::{proof::annals, support::handler::Handler};

fn key(folder: &str, role: &str) -> String {
    let made = annals(&["key", "create", "acme", "--label", role, "--role", role, "--data", folder], &[]);
    assert!(made.status.success(), "{}", said(&made));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    made["key"].as_str().unwrap().to_owned()
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_take_their_credentials_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let added = annals(&["tenant", "add", "acme", "--data", data], &[]);
    assert!(added.status.success(), "{}", said(&added));
    let (reader, auditor) = (key(data, "reader"), key(data, "auditor"));
    let handler = Handler::start(&[("ANNALS_DATA_DIR", data), ("ANNALS_AUTH", "keys")]).await;
    let event = json!({ "specversion": "1.0", "id": "e", "source": "/s", "type": "t", "subject": "x", "tenantid": "acme", "data": { "n": 1 } });
    handler.invoke("ingest", &event.to_string(), 1).await.unwrap();
    let url = handler.url("");
    let run = |command: &[&str], environment: &[(&str, &str)]| {
        annals(&[command, &["--tenant", "acme", "--url", &url]].concat(), environment)
    };
    let commands: [(&[&str], &str); 3] =
        [(&["tail"], "event/x@1"), (&["verify"], "commits, head"), (&["export"], "\"kind\":\"end\"")];
    for (command, wanted) in commands {
        let nobody = run(command, &[]);
        assert!(!nobody.status.success() && said(&nobody).contains("401"), "{command:?}: {}", said(&nobody));
        let done = run(command, &[("ANNALS_API_KEY", &auditor)]);
        assert!(done.status.success() && said(&done).contains(wanted), "{command:?}: {}", said(&done));
        let wrong = run(command, &[("ANNALS_API_KEY", "annals_no-such-key")]);
        assert!(!wrong.status.success() && !said(&wrong).contains("no-such-key"), "{}", said(&wrong));
        let both = run(command, &[("ANNALS_API_KEY", &auditor), ("ANNALS_TOKEN", "x")]);
        assert!(said(&both).contains("one is enough"), "{}", said(&both));
    }
    // Whoever may read follows the log, with its data; the rest is the auditor's.
    assert!(run(&["tail"], &[("ANNALS_API_KEY", &reader)]).status.success());
    for command in ["verify", "export"] {
        let refused = run(&[command], &[("ANNALS_API_KEY", &reader)]);
        assert!(!refused.status.success() && said(&refused).contains("403"), "{}", said(&refused));
    }
}

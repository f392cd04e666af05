//! Tenants from the command line on, on Azurite: as the README shows it, and each in its own account.

use std::process::Command;

use annals::{queue::QueueName, testing::azurite::Azurite};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{foreign::dump, handler::Handler};

/// Runs `annals` with these settings; gives what it said.
fn annals(settings: &[(&str, &str)], args: &[&str]) -> Result<Value, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_annals"))
        .args(args)
        .env_clear()
        .envs(settings.iter().copied())
        .output()
        .expect("annals runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => serde_json::from_str(&said).map_err(|_| said),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

async fn get(handler: &Handler, path: &str, key: &str) -> (StatusCode, Value) {
    let response = handler.send("GET", path, &[("x-annals-key", key)], None).await;
    let status = response.status();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null))
}

fn message(tenant: &str, id: &str) -> String {
    let event = json!({
        "specversion": "1.0", "id": id, "source": "/engine", "type": "t", "subject": "x", "tenantid": tenant,
        "data": { "marker": format!("marker-of-{tenant}") },
    });
    event.to_string()
}

fn direct() -> Value {
    json!({
        "specversion": "1.0", "id": "direct-of-apart", "source": "/engine", "type": "t", "subject": "x",
        "data": { "marker": "marker-of-apart" },
    })
}

/// Azurite takes seconds to start on a small machine, and starts empty.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_a_message_and_its_history_with_a_key() {
    let azurite = Azurite::start().unwrap();
    let connection = azurite.connection_string();
    let storage = [("AnnalsStorage", connection.as_str())];
    let added = annals(&storage, &["tenant", "add", "acme", "--name", "Acme"]).unwrap();
    assert_eq!((&added["id"], &added["displayName"]), (&json!("acme"), &json!("Acme")));
    annals(&storage, &["tenant", "add", "acme"]).unwrap();
    assert_eq!(
        annals(&storage, &["tenant", "show", "acme"]).unwrap()["displayName"],
        "Acme",
        "twice is harmless"
    );
    let refused = annals(&storage, &["tenant", "add", "acme", "--partitions", "4"]).unwrap_err();
    assert!(refused.contains("fixed"), "{refused}");
    let made = annals(&storage, &["key", "create", "acme", "--label", "demo", "--role", "reader"]).unwrap();
    let key = made["key"].as_str().unwrap();

    let settings = [storage[0], ("ANNALS_AUTH", "keys")];
    let handler = Handler::start(&settings).await;
    // Through the queue: put there by anybody who may, taken off as the host does.
    let queue = crate::azure_faults::raw_queue(&azurite, &QueueName::new("annals-ingest").unwrap());
    queue.create().await.unwrap();
    queue.put_message(message("acme", "e-1")).await.unwrap();
    let taken = queue.get_messages().await.unwrap().messages.pop().unwrap();
    handler.invoke("ingest", &taken.message_text, 1).await.unwrap();
    queue.pop_receipt_client(taken).delete().await.unwrap();
    let (status, history) = get(&handler, "/api/tenants/acme/streams/event/x/events", key).await;
    assert_eq!((status, &history["events"][0]["id"]), (StatusCode::OK, &json!("e-1")), "{history}");
    assert_eq!(history["events"][0]["recordedBy"], "queue");
    let (status, _) = get(&handler, "/api/tenants/acme/streams/event/x/events", "annals_0_0").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);

    // A key that another process disables dies within 30 seconds.
    annals(&storage, &["key", "disable", "acme", made["id"].as_str().unwrap()]).unwrap();
    let started = std::time::Instant::now();
    while get(&handler, "/api/tenants/acme/streams", key).await.0 != StatusCode::UNAUTHORIZED {
        assert!(started.elapsed().as_secs() < 30, "the key lives on");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_its_own_account_never_touches_the_shared_one() {
    let azurite = Azurite::start().unwrap();
    let (shared, own) = (azurite.connection_string(), azurite.second_connection_string());
    let (shared, own) = (shared.as_str(), own.as_str());
    let settings = [("AnnalsStorage", shared), ("AnnalsSilos__vault", own)];
    annals(&settings, &["tenant", "add", "common"]).unwrap();
    let added = annals(&settings, &["tenant", "add", "apart", "--connection", "vault"]).unwrap();
    assert_eq!(added["storage"], json!({ "connection": "vault" }));
    for bad in ["nowhere", "../x"] {
        assert!(annals(&settings, &["tenant", "add", "third", "--connection", bad]).is_err(), "{bad}");
    }
    let handler = Handler::start(&settings).await;
    for tenant in ["common", "apart"] {
        handler.invoke("ingest", &message(tenant, "e-1"), 1).await.unwrap();
        let dead =
            json!({ "specversion": "9", "id": format!("dead-of-{tenant}"), "tenantid": tenant }).to_string();
        handler.invoke("ingest", &dead, 1).await.unwrap();
        let (status, event) = handler.api("GET", &format!("/api/tenants/{tenant}/events/e-1"), None).await;
        assert_eq!(
            (status, &event["data"]["marker"]),
            (StatusCode::OK, &json!(format!("marker-of-{tenant}")))
        );
    }
    // Over HTTP too, as a command, and as somebody who is kept as a consumer.
    let (status, _) = handler.api("POST", "/api/tenants/apart/events", Some(&direct())).await;
    assert_eq!(status, StatusCode::CREATED);
    let command = json!({ "id": "command-of-apart", "type": "t", "data": { "marker": "marker-of-apart" } });
    let (status, _) = handler.api("POST", "/api/tenants/apart/commands", Some(&command)).await;
    assert_eq!(status, StatusCode::CREATED);
    // A foreign client of each account, which knows nothing of tenants.
    let everything = [dump(shared), dump(own)];
    assert!(everything[0].contains("marker-of-common") && !everything[0].contains("marker-of-apart"));
    assert!(everything[1].contains("marker-of-apart") && !everything[1].contains("marker-of-common"));
    let theirs = ["command-of-apart", "direct-of-apart", "dead-of-apart"];
    assert!(theirs.iter().all(|marker| everything[1].contains(marker) && !everything[0].contains(marker)));
    // Of the tenant with its own account the shared one holds its registry row and what operators did to it,
    // which is the system tenant's: nothing among what other tenants have.
    let holds = |marker: &str| everything[0].lines().find(|line| line.contains(marker)).unwrap();
    let common = holds("marker-of-common").split(' ').next().unwrap();
    let of_common: Vec<_> = everything[0].lines().filter(|line| line.starts_with(common)).collect();
    assert!(of_common.len() > 10 && of_common.iter().all(|line| !line.contains("apart")), "{of_common:?}");
    assert!(!everything[1].contains("annalsregistry"), "the registry is the shared account's");
    let tables = |dump: &str| dump.lines().filter(|line| line.starts_with("table ")).count();
    assert_eq!(
        (tables(&everything[0]), tables(&everything[1])),
        (3, 1),
        "registry, system and common; apart"
    );
    // Without its connection the tenant is not available, and nobody mistakes the shared account for its own.
    drop(handler);
    let handler = Handler::start(&settings[..1]).await;
    let (status, _) = handler.api("GET", "/api/tenants/apart/events/e-1", None).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(handler.api("GET", "/api/tenants/common/events/e-1", None).await.0, StatusCode::OK);
}

#[test]
fn the_command_line_keeps_the_rules_of_the_api() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let here =
        |settings: &[(&str, &str)], args: &[&str]| annals(settings, &[args, &["--data", data]].concat());
    let fed = ["tenant", "add", "acme", "--change-feed", "true"];
    let refused = here(&[], &fed).unwrap_err();
    assert!(refused.contains("ANNALS_PUBLIC_URL must be set"), "{refused}");
    here(&[("ANNALS_PUBLIC_URL", "https://annals.example")], &fed).unwrap();
    // It is on: who changes a name switches nothing on.
    here(&[], &["tenant", "update", "acme", "--name", "Acme"]).unwrap();
    let key = here(&[], &["key", "create", "acme", "--label", "k", "--role", "reader"]).unwrap();
    let rotate =
        |grace: &str| here(&[], &["key", "rotate", "acme", key["id"].as_str().unwrap(), "--grace", grace]);
    let refused = rotate("604801").unwrap_err();
    assert!(refused.contains("at most a week"), "{refused}");
    assert!(rotate("604800").unwrap()["previousUntil"].is_string());
}

#[test]
fn a_slip_in_the_name_of_a_folder_makes_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    // A cleared setting names no account, and says nothing about the folder.
    let settings = [("AnnalsStorage", ""), ("ANNALS_DATA_DIR", nowhere)];
    let commands: [&[&str]; 7] = [
        &["tenant", "list"],
        &["tenant", "show", "acme"],
        &["tenant", "remove", "acme"],
        &["key", "list", "acme"],
        &["key", "create", "acme", "--label", "k", "--role", "reader"],
        &["role", "list", "acme"],
        &["tail", "--tenant", "acme"],
    ];
    for command in commands {
        for (settings, place) in [(&[][..], &["--data", nowhere][..]), (&settings, &[])] {
            let refused = annals(settings, &[command, place].concat()).unwrap_err();
            assert!(refused.contains("there is no store in"), "{command:?}: {refused}");
            assert!(!std::path::Path::new(nowhere).exists(), "{command:?}");
        }
    }
}

#[test]
fn a_handler_that_does_not_know_who_is_calling_does_not_start() {
    let start = |settings: &[(&str, &str)]| {
        let mut all = vec![("FUNCTIONS_CUSTOMHANDLER_PORT", "1"), ("ANNALS_DATA_DIR", "/nonexistent/annals")];
        all.extend(settings);
        annals(&all, &[]).unwrap_err()
    };
    for settings in [
        &[][..],
        &[("ANNALS_AUTH", "off")],
        &[("ANNALS_AUTH", "off"), ("ANNALS_DEV", "1"), ("WEBSITE_ANYTHING", "1")],
        &[("ANNALS_AUTH", "platform")],
    ] {
        let said = start(settings);
        assert!(said.contains("ANNALS_AUTH must"), "{settings:?}: {said}");
    }
}

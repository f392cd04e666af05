//! Tenants from the command line on, on Azurite: as the README shows it, and each in its own account.

use std::process::Command;

use annals::{
    store::table::{Range, Table, TableName},
    testing::azurite::{self, Azurite},
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::handler::Handler;

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
    handler.invoke("ingest", &message("acme", "e-1"), 1).await.unwrap();
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
        let dead = json!({ "specversion": "9", "id": "marker", "tenantid": tenant }).to_string();
        handler.invoke("ingest", &dead, 1).await.unwrap();
        let (status, event) = handler.api("GET", &format!("/api/tenants/{tenant}/events/e-1"), None).await;
        assert_eq!(
            (status, &event["data"]["marker"]),
            (StatusCode::OK, &json!(format!("marker-of-{tenant}")))
        );
    }
    // A foreign client of each account, which knows nothing of tenants.
    let everything = [dump(shared).await, dump(own).await];
    assert!(everything[0].contains("marker-of-common") && !everything[0].contains("marker-of-apart"));
    assert!(everything[1].contains("marker-of-apart") && !everything[1].contains("marker-of-common"));
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

/// Every row of every table of an account, as text.
async fn dump(connection: &str) -> String {
    let storage = azurite::storage(connection);
    let mut all = String::new();
    for name in table_names(&storage.table_endpoint, connection).await {
        all.push_str(&format!("table {name}\n"));
        let tables = annals::store::azure::Account::open(&storage).unwrap().tables();
        let table = TableName::new(&name).unwrap();
        let partitions = ["tenants", "dead", "p00"];
        for partition in partitions {
            let range = Range { from: " ".to_owned(), to: "~~~~".to_owned() };
            let page = tables.scan(&table, partition, &range, 1_000).await.unwrap();
            for stored in page.rows {
                all.push_str(&stored.row.key);
                for (name, value) in stored.row.properties {
                    let text = match value {
                        annals::store::table::Value::Bin(bytes) => {
                            String::from_utf8_lossy(&bytes).into_owned()
                        }
                        other => format!("{other:?}"),
                    };
                    all.push_str(&format!(" {name}={text}"));
                }
                all.push('\n');
            }
        }
    }
    all
}

/// The tables of an account, by the service's own protocol.
async fn table_names(endpoint: &str, connection: &str) -> Vec<String> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let part = |name: &str| connection.split(';').find_map(|part| part.strip_prefix(name)).unwrap();
    let (account, key) = (part("AccountName="), part("AccountKey="));
    let date = "Tue, 24 Nov 2026 20:00:00 GMT";
    let signed = format!("{date}\n/{account}/{account}/Tables");
    let signature = annals::store::digest::hmac(&STANDARD.decode(key).unwrap(), signed.as_bytes());
    let response = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .get(format!("{endpoint}/Tables"))
        .header("x-ms-date", date)
        .header("x-ms-version", "2020-12-06")
        .header("accept", "application/json;odata=nometadata")
        .header("authorization", format!("SharedKeyLite {account}:{}", STANDARD.encode(signature)))
        .send()
        .await
        .unwrap();
    let status = response.status();
    let body = response.text().await.unwrap();
    assert!(status.is_success(), "{status} {body}");
    let tables: Value = serde_json::from_str(&body).unwrap();
    tables["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| table["TableName"].as_str().unwrap().to_owned())
        .collect()
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

/// Many appends of one tenant do not keep those of another waiting: each has its own line, and each
/// line has one transaction in flight.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_tenant_is_served_while_a_noisy_one_floods() {
    use std::{sync::Arc, time::Instant};
    let folder = tempfile::tempdir().unwrap();
    let settings =
        [("ANNALS_DATA_DIR", folder.path().to_str().unwrap()), ("ANNALS_WRITES_PER_SECOND", "1000000")];
    let handler = Arc::new(Handler::start(&settings).await);
    handler.register("noisy").await;
    handler.register("quiet").await;
    let body = |id: String| {
        let event = json!({
            "specversion": "1.0", "id": id, "source": "/s", "type": "t", "subject": "x", "data": "y".repeat(2_000),
        });
        event.to_string().into_bytes()
    };
    let kind = [("content-type", "application/cloudevents+json")];
    let append = async |handler: &Handler, tenant: &str, id: String| {
        let started = Instant::now();
        let path = format!("/api/tenants/{tenant}/events");
        let status = handler.send("POST", &path, &kind, Some(body(id))).await.status();
        (status, started.elapsed())
    };
    let mut alone = Vec::new();
    for n in 0..20 {
        alone.push(append(&handler, "quiet", format!("alone-{n}")).await.1);
    }
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flood: Vec<_> = (0..48)
        .map(|worker| {
            let (handler, stop) = (Arc::clone(&handler), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut count = 0_u32;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let event = json!({
                        "specversion": "1.0", "id": format!("{worker}-{count}"), "source": "/s", "type": "t",
                        "subject": "x", "data": "y".repeat(2_000),
                    });
                    let headers = [("content-type", "application/cloudevents+json")];
                    let body = event.to_string().into_bytes();
                    handler.send("POST", "/api/tenants/noisy/events", &headers, Some(body)).await;
                    count += 1;
                }
                count
            })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let mut flooded = Vec::new();
    for n in 0..20 {
        let (status, took) = append(&handler, "quiet", format!("flooded-{n}")).await;
        assert_eq!(status, StatusCode::CREATED);
        flooded.push(took);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut noise = 0;
    for worker in flood {
        noise += worker.await.unwrap();
    }
    alone.sort_unstable();
    flooded.sort_unstable();
    println!(
        "median alone {:?}, flooded {:?}, worst {:?}, {noise} noisy appends",
        alone[10], flooded[10], flooded[19]
    );
    assert!(noise > 100, "there was no flood: {noise}");
    // The machine is shared, so only starvation would show: with one line for all, 48 appends would
    // stand before each of these.
    assert!(flooded[10].as_secs() < 3, "the quiet tenant waits: {:?}", flooded[10]);
}

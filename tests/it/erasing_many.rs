//! Everything about a person is erased, also when the call is cut off in the midst of it.

use std::{sync::Arc, time::Duration};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    proof::{get, post},
    support::handler::Handler,
};

/// Events about the person, and as many about somebody whose name begins alike.
const ABOUT: usize = 300;

async fn filled() -> (tempfile::TempDir, Arc<Handler>) {
    let folder = tempfile::tempdir().unwrap();
    let handler = Arc::new(Handler::start(&[("ANNALS_DATA_DIR", folder.path().to_str().unwrap())]).await);
    let settings = json!({ "partitions": 3 });
    assert_eq!(handler.api("PUT", "/api/tenants/acme", Some(&settings)).await.0, StatusCode::CREATED);
    for from in (0..ABOUT).step_by(20) {
        let batch: Vec<Value> =
            (from..from + 20).flat_map(|n| [about(n, "person-1"), about(n, "person-12")]).collect();
        handler.invoke("ingest", &json!(batch).to_string(), 1).await.unwrap();
    }
    (folder, handler)
}

fn about(n: usize, person: &str) -> Value {
    json!({
        "specversion": "1.0", "id": format!("{person}-{n}"), "source": "/s", "type": "t", "tenantid": "acme",
        "subject": format!("x-{}", n % 11), "datasubject": person, "data": { "mail": format!("{person}@example") },
    })
}

async fn held(handler: &Handler, text: &str) -> usize {
    let (mut found, mut after) = (0, String::new());
    loop {
        let page = get(handler, &format!("events?include=data&limit=1000{after}")).await;
        found += page["events"].to_string().matches(text).count();
        after = format!("&after={}", page["cursor"].as_str().unwrap());
        if page["end"] == json!(true) {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_was_killed_goes_on_and_takes_nothing_of_others() {
    let (_folder, handler) = filled().await;
    for person in ["person-1", "person-12"] {
        // It can never be stored as it is.
        let mut letter = about(9_999, person);
        letter["type"] = json!("annals.checkpoint.signed");
        handler.invoke("ingest", &letter.to_string(), 1).await.unwrap();
    }
    assert_eq!(held(&handler, "person-1@example").await, ABOUT);
    let body = json!({ "subject": "person-1", "reason": "left" });
    let mut killed = 0;
    for pause in [40, 80, 120] {
        let asked = async {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let url = handler.url("/api/tenants/acme/erasures");
            client.post(url).header("content-type", "application/json").body(body.to_string()).send().await
        };
        let kill = async {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            handler.kill_and_restart().await;
        };
        let (answer, ()) = tokio::join!(asked, kill);
        killed += usize::from(answer.is_err());
    }
    let before = held(&handler, "person-1@example").await;
    let receipt = post(&handler, "erasures", body.clone()).await;
    assert_eq!(receipt["next"], Value::Null, "{receipt}");
    assert_eq!(receipt["erased"].as_array().unwrap().len(), before, "killed {killed} times");
    assert_eq!(held(&handler, "person-1@example").await, 0);
    assert_eq!(held(&handler, "person-12@example").await, ABOUT, "somebody else's");
    let again = post(&handler, "erasures", body).await;
    assert_eq!((&again["erased"], &again["deadLetters"]), (&json!([]), &json!(0)), "{again}");
    assert_eq!(
        get(&handler, "completeness").await["waiting"]["deadLetters"],
        json!(1),
        "somebody else's letter"
    );
    let report = get(&handler, "verification?include=data").await;
    assert_eq!(report["verified"], json!(true), "{report}");
    let erasures: u64 =
        report["partitions"].as_array().unwrap().iter().map(|part| part["erasures"].as_u64().unwrap()).sum();
    assert_eq!(erasures, ABOUT as u64, "each is recorded once");
}

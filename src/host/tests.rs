//! What the host sees when we break on one element of a message.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use axum::{
    body::{Body, to_bytes},
    http::Request,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::{
    config::Settings,
    queue::dev::NoQueues,
    store::{
        embedded::Embedded,
        registry::Author,
        table::{ReadError, StoredRow, Table, TableName},
        testing::Layer,
    },
};

const PORT: u16 = 4712;

/// A table on which we break when it is asked for a certain tenant.
#[derive(Debug)]
struct Brittle(Embedded);

#[async_trait]
impl Layer for Brittle {
    fn below(&self) -> &dyn Table {
        &self.0
    }

    async fn get(
        &self,
        table: &TableName,
        partition: &str,
        key: &str,
    ) -> Result<Option<StoredRow>, ReadError> {
        assert!(!partition.contains("boom") && !key.contains("boom"), "we break on this tenant");
        self.0.get(table, partition, key).await
    }
}

async fn answer(app: &Arc<App>, request: Request<Body>) -> (StatusCode, Value) {
    let response = router(Arc::clone(app), PORT).oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn deliver(app: &Arc<App>, message: &Value, dequeue_count: u32) -> (StatusCode, Value) {
    let body = json!({
        "Data": { "msg": STANDARD.encode(message.to_string()) },
        "Metadata": { "DequeueCount": dequeue_count.to_string(), "Id": "\"m-1\"" },
    });
    let request = Request::post("/ingest").header("host", format!("127.0.0.1:{PORT}"));
    answer(app, request.body(Body::from(body.to_string())).unwrap()).await
}

#[tokio::test]
async fn what_we_break_on_becomes_a_dead_letter_alone_and_the_rest_of_its_message_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let map: HashMap<&str, &str> = [
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "4712"),
        ("ANNALS_DATA_DIR", data.as_str()),
        ("ANNALS_PUBLIC_URL", "https://annals.example"),
        ("ANNALS_AUTH", "off"),
        ("ANNALS_DEV", "1"),
    ]
    .into();
    let settings = Settings::read(&|name| map.get(name).map(|value| (*value).to_owned())).unwrap();
    let table = Brittle(Embedded::open(folder.path()).unwrap());
    let app = Arc::new(serve::over((Arc::new(table), Arc::new(NoQueues)), &settings).unwrap());
    let tenant =
        serde_json::from_value(json!({ "partitions": 1, "changeFeed": { "enabled": true } })).unwrap();
    let acme = TenantId::parse("acme").unwrap();
    app.store.administration(Author::annals()).put(&acme, &tenant).await.unwrap();
    let element = |id: &str, tenant: &str| {
        json!({
            "specversion": "1.0", "id": id, "source": "/t", "type": "t.x", "tenantid": tenant, "data": { "n": id },
        })
    };
    let message = json!([element("e-1", "acme"), element("e-2", "boom"), element("e-3", "acme")]);

    let (status, _) = deliver(&app, &message, 1).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "the host delivers it again");
    let (status, body) = deliver(&app, &message, ingest::GIVE_UP).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["Outputs"]["events"].as_array().map(Vec::len), Some(2), "{body}");

    let list = Request::get("/api/dead-letters").header("host", "annals.example");
    let (_, list) = answer(&app, list.body(Body::empty()).unwrap()).await;
    let letters = list["deadLetters"].as_array().unwrap();
    assert_eq!((letters.len(), &letters[0]["code"]), (1, &json!("internal-error")), "{list}");
    let one = Request::get(format!("/api/dead-letters/{}", letters[0]["id"].as_str().unwrap()));
    let (_, one) = answer(&app, one.header("host", "annals.example").body(Body::empty()).unwrap()).await;
    let kept = one.to_string();
    assert!(kept.contains("e-2") && !kept.contains("e-1") && !kept.contains("e-3"), "{kept}");
}

//! The whole router, with a store in a folder and an issuer on this machine.

mod apart;
mod canary;
mod denied;
mod lists;
mod walk;

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::{
    config::Settings,
    host::{self, App},
    testing::issuer::Issuer,
};

const PORT: u16 = 4711;

/// An answer, in full.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// Everything that a caller sees of it.
    fn text(&self) -> String {
        format!("{:?} {:?} {}", self.status, self.headers, self.body)
    }
}

struct World {
    app: Arc<App>,
    router: Router,
    folder: TempDir,
    #[expect(dead_code, reason = "it serves until the world ends")]
    issuer: Issuer,
}

impl World {
    async fn new(more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let issuer = Issuer::start().await.unwrap();
        let data = folder.path().display().to_string();
        let mut map: HashMap<&str, &str> = [
            ("FUNCTIONS_CUSTOMHANDLER_PORT", "4711"),
            ("ANNALS_DATA_DIR", data.as_str()),
            ("ANNALS_PUBLIC_URL", "https://annals.example"),
            ("ANNALS_AUTH", "entra,keys"),
            ("ANNALS_TOKEN_ISSUERS", Issuer::ISS),
            ("ANNALS_TOKEN_AUDIENCES", Issuer::AUD),
            ("ANNALS_JWKS_URL", issuer.jwks.as_str()),
            ("ANNALS_OPERATORS", "entra:directory:boss"),
        ]
        .into();
        map.extend(more.iter().copied());
        let settings = Settings::read(&|name| map.get(name).map(|value| (*value).to_owned())).unwrap();
        let app = Arc::new(host::app(&settings).unwrap());
        let router = host::router(Arc::clone(&app), PORT);
        Self { app, router, folder, issuer }
    }

    /// Adds a tenant, as an operator.
    async fn tenant(&self, id: &str, settings: Value) {
        let answer = self.put(&format!("/api/tenants/{id}"), &boss(), &settings).await;
        assert!(answer.status.is_success(), "{}", answer.body);
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let body = String::from_utf8_lossy(&body).into_owned();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn call(&self, method: Method, path: &str, token: Option<&str>, body: Option<&str>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "annals.example");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(body) = body {
            let kind =
                if path.ends_with("/events") { "application/cloudevents+json" } else { "application/json" };
            request = request.header("content-type", kind).header("content-length", body.len());
        }
        self.send(request.body(Body::from(body.unwrap_or_default().to_owned())).unwrap()).await
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        self.call(Method::GET, path, Some(token), None).await
    }

    async fn put(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.call(Method::PUT, path, Some(token), Some(&body.to_string())).await
    }

    async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, Some(token), Some(&body.to_string())).await
    }

    /// A function as the host invokes it; gives the answer's text.
    async fn invoke(&self, function: &str, message: &str) -> Answer {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let body =
            json!({ "Data": { "msg": STANDARD.encode(message) }, "Metadata": { "DequeueCount": "1" } });
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("/{function}"))
            .header("host", format!("127.0.0.1:{PORT}"))
            .body(Body::from(body.to_string()));
        self.send(request.unwrap()).await
    }
}

/// A token of an operator.
fn boss() -> String {
    Issuer::token("boss", &[])
}

fn event(id: &str, data: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/tests", "type": "t.happened", "subject": format!("s-{id}"),
        "data": data,
    })
}

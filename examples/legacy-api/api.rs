//! The service. Its own code is what stands in `Keys`; around it is what the journal asks for.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde_json::{Value, json};

use super::journal::Journal;

/// The old code: knows keys and nothing else.
#[derive(Debug, Default)]
struct Keys(BTreeMap<String, Key>);

#[derive(Debug, Clone)]
struct Key {
    name: String,
    enabled: bool,
}

impl Key {
    fn view(&self, id: &str) -> Value {
        json!({ "id": id, "name": self.name, "enabled": self.enabled })
    }
}

/// The service, with or without a journal around it.
#[derive(Debug)]
pub(crate) struct Service {
    keys: Mutex<Keys>,
    journal: Option<Journal>,
}

impl Service {
    /// A service that knows no keys yet.
    pub(crate) fn new(journal: Option<Journal>) -> Self {
        Self { keys: Mutex::default(), journal }
    }

    fn keys(&self) -> std::sync::MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs every approved deletion that this process can get hold of.
    pub(crate) async fn run_approved(&self) {
        let Some(journal) = &self.journal else { return };
        let approved = journal.approved().await;
        for command in approved.body["commands"].as_array().into_iter().flatten() {
            if let (Some(id), Some(key)) = (command["id"].as_str(), command["data"]["key"].as_str()) {
                self.delete(id, key).await;
            }
        }
    }

    /// Deletes a key under a claim. Doing it again, by whoever takes over, deletes nothing more.
    async fn delete(&self, command: &str, key: &str) {
        let Some(journal) = &self.journal else { return };
        let claim = journal.claim(command).await;
        if !claim.ok() {
            return;
        }
        let started = Instant::now();
        let before = self.keys().0.remove(key).map(|found| found.view(key));
        let outcome = json!({
            "status": "succeeded", "fence": claim.body["fence"], "durationMicros": micros(started),
            "result": { "before": before.unwrap_or(Value::Null), "after": null },
        });
        journal.outcome(command, outcome, true).await;
    }
}

/// The routes of the service.
pub(crate) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/keys", post(create))
        .route("/keys/{id}", get(read))
        .route("/keys/{id}", delete(request_deletion))
        .route("/keys/{id}/enable", post(enable))
        .route("/keys/{id}/disable", post(disable))
        .route("/requests/{command}", get(request))
        .route("/requests/{command}/{decision}", post(decide))
        .with_state(service)
}

fn user(headers: &HeaderMap) -> String {
    headers.get("x-user").and_then(|value| value.to_str().ok()).unwrap_or("nobody").to_owned()
}

fn correlation(headers: &HeaderMap) -> Value {
    headers.get("x-request-id").and_then(|value| value.to_str().ok()).map_or(Value::Null, Value::from)
}

fn micros(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn random_id() -> String {
    format!("{:016x}", RandomState::new().hash_one(Instant::now()))
}

fn command(kind: &str, headers: &HeaderMap, data: Value) -> Value {
    json!({
        "id": format!("{kind}-{}", random_id()), "type": kind, "data": data, "timeLimit": 30,
        "actor": { "type": "user", "id": user(headers) }, "correlationId": correlation(headers),
    })
}

type App = State<Arc<Service>>;

/// Fails closed: no key without a record of who made it. The answer is what it always was.
async fn create(State(service): App, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let record = command("CreateApiKey", &headers, body.clone());
    if let Some(journal) = &service.journal
        && !journal.dispatch(record.clone(), true).await.ok()
    {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": "try again later" })))
            .into_response();
    }
    let started = Instant::now();
    let (id, secret) = (random_id(), format!("{}{}", random_id(), random_id()));
    let key = Key { name: body["name"].as_str().unwrap_or_default().to_owned(), enabled: true };
    let mut answer = key.view(&id);
    answer["secret"] = secret.into();
    service.keys().0.insert(id, key);
    if let Some(journal) = &service.journal {
        // The secret goes to the caller; the journal keeps a fingerprint.
        let outcome = json!({
            "status": "succeeded", "result": answer, "secretOnce": ["/secret"], "durationMicros": micros(started),
        });
        journal.outcome(record["id"].as_str().unwrap_or_default(), outcome, true).await;
    }
    (StatusCode::CREATED, Json(answer)).into_response()
}

async fn read(State(service): App, Path(id): Path<String>) -> Response {
    let found = service.keys().0.get(&id).map(|key| key.view(&id));
    found.map_or(StatusCode::NOT_FOUND.into_response(), |view| Json(view).into_response())
}

async fn enable(service: App, id: Path<String>, headers: HeaderMap) -> Response {
    switch(service, id, headers, true).await
}

async fn disable(service: App, id: Path<String>, headers: HeaderMap) -> Response {
    switch(service, id, headers, false).await
}

/// Fails open: a key must be disabled now, whether or not that can be put on record now.
async fn switch(State(service): App, Path(id): Path<String>, headers: HeaderMap, on: bool) -> Response {
    let kind = if on { "EnableApiKey" } else { "DisableApiKey" };
    let record = command(kind, &headers, json!({ "key": id }));
    if let Some(journal) = &service.journal {
        journal.dispatch(record.clone(), false).await;
    }
    let started = Instant::now();
    let (before, after) = {
        let mut keys = service.keys();
        let key = keys.0.get_mut(&id);
        let before = key.as_ref().map(|key| key.view(&id));
        (
            before,
            key.map(|key| {
                key.enabled = on;
                key.view(&id)
            }),
        )
    };
    if let Some(journal) = &service.journal {
        let mut outcome = json!({ "durationMicros": micros(started) });
        match (&before, &after) {
            (Some(before), Some(after)) => {
                outcome["status"] = "succeeded".into();
                outcome["result"] = json!({ "before": before, "after": after });
            }
            _ => {
                outcome["status"] = "failed".into();
                outcome["error"] = "no such key".into();
            }
        }
        journal.outcome(record["id"].as_str().unwrap_or_default(), outcome, false).await;
    }
    after.map_or(StatusCode::NOT_FOUND.into_response(), |view| Json(view).into_response())
}

/// Policy: two others must agree before a key is deleted. The caller gets a reference.
async fn request_deletion(State(service): App, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let Some(journal) = &service.journal else {
        service.keys().0.remove(&id);
        return StatusCode::NO_CONTENT.into_response();
    };
    let mut record = command("DeleteApiKey", &headers, json!({ "key": id }));
    record["approval"] = json!({ "required": 2 });
    let answer = journal.dispatch(record, true).await;
    if !answer.ok() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let request = format!("/requests/{}", answer.body["id"].as_str().unwrap_or_default());
    (StatusCode::ACCEPTED, Json(json!({ "request": request }))).into_response()
}

/// What became of a request.
async fn request(State(service): App, Path(command): Path<String>) -> Response {
    let Some(journal) = &service.journal else { return StatusCode::NOT_FOUND.into_response() };
    let answer = journal.status(&command).await;
    let view = json!({
        "status": answer.body["status"], "approvals": answer.body["approval"]["approvals"],
        "required": answer.body["approval"]["required"],
    });
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    (status, Json(view)).into_response()
}

/// An approver's word; whoever's is the last that was missing has the work done on the spot.
async fn decide(
    State(service): App,
    Path((command, decision)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some(journal) = &service.journal else { return StatusCode::NOT_FOUND.into_response() };
    let answer = journal.decide(&command, &user(&headers), &decision, None).await;
    if answer.body["status"] == "approved" {
        service.run_approved().await;
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    (status, Json(answer.body)).into_response()
}

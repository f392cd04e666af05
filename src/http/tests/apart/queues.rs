//! A queue service in the test: what is put is kept.

use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

type Kept = Arc<Mutex<Vec<(String, String)>>>;

/// Ends when this value is dropped.
pub(super) struct Queues {
    kept: Kept,
    pub(super) url: String,
    task: JoinHandle<()>,
}

impl Queues {
    pub(super) async fn start() -> Self {
        let kept = Kept::default();
        let router = Router::new()
            .route("/", get(async || Json::<Value>(json!({}))))
            .route("/{queue}/messages", post(put))
            .with_state(Arc::clone(&kept));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { kept, url, task }
    }

    /// Takes everything: names of queues, and messages.
    pub(super) fn take(&self) -> Vec<(String, String)> {
        std::mem::take(&mut *self.kept.lock().unwrap())
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn put(State(kept): State<Kept>, Path(queue): Path<String>, message: String) -> StatusCode {
    kept.lock().unwrap().push((queue, message));
    StatusCode::ACCEPTED
}

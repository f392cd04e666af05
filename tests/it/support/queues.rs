//! The queue service, played by the test: what the handler puts is kept until the test takes it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::post,
};
use tokio::{net::TcpListener, task::JoinHandle};

#[derive(Debug, Default)]
struct Kept {
    messages: Mutex<HashMap<String, Vec<String>>>,
    down: AtomicBool,
    delay: AtomicU64,
}

/// A running queue service. It ends when this value is dropped.
#[derive(Debug)]
pub(crate) struct Queues {
    kept: Arc<Kept>,
    url: String,
    task: JoinHandle<()>,
}

impl Queues {
    pub(crate) async fn start() -> Self {
        let kept = Arc::new(Kept::default());
        let router = Router::new().route("/{queue}/messages", post(put)).with_state(Arc::clone(&kept));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { kept, url, task }
    }

    /// For `ANNALS_DEV_QUEUES`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Takes all messages off a queue.
    pub(crate) fn take(&self, queue: &str) -> Vec<String> {
        self.kept.messages.lock().unwrap().remove(queue).unwrap_or_default()
    }

    /// Refuses messages from now on, or takes them again.
    pub(crate) fn set_down(&self, down: bool) {
        self.kept.down.store(down, Ordering::SeqCst);
    }

    /// Takes this long over each message, half of it before and half after it is kept: time enough
    /// for a handler to be killed on either side.
    pub(crate) fn set_delay(&self, delay: Duration) {
        self.kept.delay.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn put(State(kept): State<Arc<Kept>>, Path(queue): Path<String>, message: String) -> StatusCode {
    let half = Duration::from_millis(kept.delay.load(Ordering::SeqCst) / 2);
    tokio::time::sleep(half).await;
    if kept.down.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    kept.messages.lock().unwrap().entry(queue).or_default().push(message);
    tokio::time::sleep(half).await;
    StatusCode::ACCEPTED
}

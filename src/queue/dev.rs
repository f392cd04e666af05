//! The queues of `annals dev`, over its own small HTTP door.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use serde::Deserialize;
use url::Url;

use super::{PutError, QueueName, QueueState, Queues, StateError};

/// Puts messages at `{base}/{queue}/messages`.
#[derive(Debug)]
pub struct DevQueues {
    base: String,
    client: reqwest::Client,
}

impl DevQueues {
    /// Queues below `base`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(base: &Url) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
        Ok(Self { base: base.as_str().trim_end_matches('/').to_owned(), client })
    }
}

#[async_trait]
impl Queues for DevQueues {
    async fn put(&self, queue: &QueueName, message: &[u8]) -> Result<(), PutError> {
        let failed = |reason: &str| PutError {
            queue: queue.to_string(),
            reason: reason.to_owned(),
            retry_after: None,
        };
        let request = self.client.post(format!("{}/{queue}/messages", self.base)).body(message.to_vec());
        let response = request.send().await.map_err(|_| failed("annals dev does not answer"))?;
        if response.status().is_success() { Ok(()) } else { Err(failed("annals dev refused it")) }
    }

    async fn state(&self, queue: &QueueName) -> Result<QueueState, StateError> {
        let failed = |reason: &str| StateError { queue: queue.to_string(), reason: reason.to_owned() };
        let response = self.client.get(&self.base).send().await;
        let response = response.map_err(|_| failed("annals dev does not answer"))?;
        let text = response.text().await.map_err(|_| failed("annals dev does not answer"))?;
        let depths: BTreeMap<String, Depth> =
            serde_json::from_str(&text).map_err(|_| failed("annals dev says something else"))?;
        let depth = depths.get(queue.as_str()).map_or(0, |depth| depth.visible + depth.invisible);
        Ok(QueueState { depth, oldest: None })
    }
}

/// What `annals dev` says of a queue.
#[derive(Deserialize)]
struct Depth {
    visible: u64,
    invisible: u64,
}

/// No queue service at all: an embedded store under a host of somebody else's. Feed debt stays where
/// it is, and nothing is lost.
#[derive(Debug)]
pub struct NoQueues;

#[async_trait]
impl Queues for NoQueues {
    async fn put(&self, queue: &QueueName, _: &[u8]) -> Result<(), PutError> {
        let reason = "no queue service is configured".to_owned();
        Err(PutError { queue: queue.to_string(), reason, retry_after: None })
    }

    async fn state(&self, queue: &QueueName) -> Result<QueueState, StateError> {
        let reason = "no queue service is configured".to_owned();
        Err(StateError { queue: queue.to_string(), reason })
    }
}

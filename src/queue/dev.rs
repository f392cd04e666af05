//! The queues of `annals dev`, over its own small HTTP door.

use std::time::Duration;

use async_trait::async_trait;
use url::Url;

use super::{PutError, QueueName, Queues};

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
}

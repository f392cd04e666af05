//! The Queue port: putting a message on a storage queue, and nothing else. (Receiving is the
//! Functions host's work.)

#[cfg(feature = "azure")]
pub mod azure;
pub mod dev;

use std::{fmt, time::Duration};

use async_trait::async_trait;

/// Name of a storage queue: 3 to 63 lower-case letters, digits and single hyphens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QueueName(Box<str>);

impl QueueName {
    /// Takes a name that the service accepts, and nothing else.
    pub fn new(name: &str) -> Option<Self> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (3..=63).contains(&name.len())
            && name.bytes().all(legal)
            && !name.starts_with('-')
            && !name.ends_with('-')
            && !name.contains("--");
        fits.then(|| Self(name.into()))
    }

    /// The name as the service knows it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A message could not be put, or may not have been: put it again later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the queue `{queue}` did not take a message ({reason})")]
pub struct PutError {
    /// The queue.
    pub queue: String,
    /// What happened, without addresses or secrets.
    pub reason: String,
    /// How long to wait, where the service said so.
    pub retry_after: Option<Duration>,
}

/// Puts messages on queues. A driver does not retry; a put that was answered is durable, one
/// that failed may have happened all the same (consumers take duplicates).
#[async_trait]
pub trait Queues: Send + Sync + fmt::Debug {
    /// Puts one message, never expiring.
    async fn put(&self, queue: &QueueName, message: &[u8]) -> Result<(), PutError>;
}

//! The Queue port: putting a message on a storage queue, and asking how full one is. (Receiving is
//! the Functions host's work.)

#[cfg(feature = "azure")]
pub mod azure;
pub mod dev;

use std::{fmt, time::Duration};

use async_trait::async_trait;

use crate::domain::timestamp::Timestamp;

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

    /// The queue on which the host puts what failed too often; `None` where its name would be too long.
    pub fn poison(&self) -> Option<Self> {
        Self::new(&format!("{self}-poison"))
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

/// How full a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueState {
    /// Messages on it, waiting or in flight. The service calls it approximate: never less.
    pub depth: u64,
    /// When the oldest message that waits now was put; `None` when none does, or the service does not say.
    pub oldest: Option<Timestamp>,
}

/// A queue did not say how full it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the queue `{queue}` does not say how full it is ({reason})")]
pub struct StateError {
    /// The queue.
    pub queue: String,
    /// What happened, without addresses or secrets.
    pub reason: String,
}

/// Puts messages on queues. A driver does not retry; a put that was answered is durable, one
/// that failed may have happened all the same (consumers take duplicates).
#[async_trait]
pub trait Queues: Send + Sync + fmt::Debug {
    /// Puts one message, never expiring.
    async fn put(&self, queue: &QueueName, message: &[u8]) -> Result<(), PutError>;

    /// How full a queue is.
    async fn state(&self, queue: &QueueName) -> Result<QueueState, StateError>;
}

/// Gives out tokens for storage that is reached without a key of its own.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// A bearer token for Azure Storage.
    async fn token(&self) -> Result<String, String>;
}

//! Queues of a storage account.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use azure_core::{Context, Method, Policy, PolicyResult, Request};
use azure_storage_queues::QueueServiceClient;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use super::{PutError, QueueName, QueueState, Queues, StateError};
use crate::{
    domain::timestamp::Timestamp,
    store::azure::{Fault, next_policy},
};

/// Puts messages on the queues of a storage account. Cheap to clone.
///
/// A message travels as base64, whatever is in it: the service keeps text, in XML. The handler takes
/// both.
#[derive(Clone)]
pub struct AzureQueues {
    service: QueueServiceClient,
}

impl AzureQueues {
    pub(crate) fn new(service: QueueServiceClient) -> Self {
        Self { service }
    }
}

impl fmt::Debug for AzureQueues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureQueues").finish_non_exhaustive()
    }
}

#[async_trait]
impl Queues for AzureQueues {
    async fn put(&self, queue: &QueueName, message: &[u8]) -> Result<(), PutError> {
        let put = self.service.queue_client(queue.as_str()).put_message(BASE64.encode(message)).await;
        put.map(drop).map_err(|error| {
            let fault = Fault::of(&error);
            PutError { queue: queue.to_string(), reason: fault.to_string(), retry_after: fault.retry_after() }
        })
    }

    async fn state(&self, queue: &QueueName) -> Result<QueueState, StateError> {
        let client = self.service.queue_client(queue.as_str());
        let failed = |error: &azure_core::Error| StateError {
            queue: queue.to_string(),
            reason: Fault::of(error).to_string(),
        };
        let metadata = client.get_metadata().await.map_err(|error| failed(&error))?;
        let front = client.peek_messages().await.map_err(|error| failed(&error))?;
        let oldest = front.messages.first().map(|message| message.insertion_time.unix_timestamp_nanos());
        Ok(QueueState {
            depth: metadata.approximate_messages_count as u64,
            oldest: oldest.map(Timestamp::from_unix_nanos),
        })
    }
}

/// Messages that never expire: the SDK knows lifetimes in seconds only, and the service's own default
/// is seven days. In the pipeline before the signature, which covers it.
#[derive(Debug)]
pub(crate) struct NeverExpiring;

#[async_trait]
impl Policy for NeverExpiring {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        if *request.method() == Method::Post {
            request.url_mut().query_pairs_mut().append_pair("messagettl", "-1");
        }
        next_policy(ctx, request, next).await
    }
}

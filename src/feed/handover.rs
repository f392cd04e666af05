//! Handing commits over to the publish queue.
//!
//! Put first, delete second: a crash in between hands a commit over twice, never not at all.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use crate::{
    domain::{ids::TenantId, position::PartitionId, timestamp::Timestamp},
    queue::{PutError, QueueName, Queues},
    store::{
        Store,
        append::Debtor,
        debts::DebtError,
        registry::{RegistryError, Tenant},
    },
    telemetry::chain,
};

/// Hand-overs in flight at once. What comes while the queue is that slow is the sweep's work: an
/// outage of the queue must not pile up tasks here.
const IN_FLIGHT: usize = 64;
/// Longest wait for one put.
const PUT: Duration = Duration::from_secs(8);
/// Debt younger than this is being handed over by whoever wrote it.
const GRACE: Duration = Duration::from_secs(60);
/// Longest time for which one sweep goes on to the next commit.
const SWEEP: Duration = Duration::from_secs(60);

/// A message on the publish queue: publish this commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishMessage {
    /// The tenant.
    pub tenant: TenantId,
    /// The partition.
    pub partition: PartitionId,
    /// Last sequence of the commit.
    pub last: u64,
}

/// Why a commit was not handed over. Its debt is still there.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The queue did not take the message.
    #[error("the publish queue did not take a message")]
    Put(#[from] PutError),
    /// The queue gave no answer.
    #[error("the publish queue gave no answer in time")]
    Late,
    /// Debt could not be read or written.
    #[error("feed debt could not be handled")]
    Debt(#[from] DebtError),
    /// Tenants could not be read.
    #[error("the tenants could not be read")]
    Registry(#[from] RegistryError),
}

/// Hands commits over, in the background.
#[derive(Debug, Clone)]
pub struct Handover {
    queues: Arc<dyn Queues>,
    queue: QueueName,
    in_flight: Arc<Semaphore>,
}

impl Handover {
    /// Hands over to `queue`.
    pub fn new(queues: Arc<dyn Queues>, queue: QueueName) -> Self {
        Self { queues, queue, in_flight: Arc::new(Semaphore::new(IN_FLIGHT)) }
    }

    /// Puts the message and takes the debt away.
    ///
    /// # Errors
    /// [`HandoverError`]; the debt is then still there.
    pub async fn hand_over(
        &self,
        store: &Store,
        tenant: &Arc<Tenant>,
        partition: PartitionId,
        last: u64,
    ) -> Result<(), HandoverError> {
        let message = PublishMessage { tenant: tenant.id.clone(), partition, last };
        let body = serde_json::to_vec(&message).expect("strings and a number serialise");
        timeout(PUT, self.queues.put(&self.queue, &body)).await.map_err(|_| HandoverError::Late)??;
        Ok(store.debts(tenant).settle(partition, last).await?)
    }

    /// The debtor of a tenant, for its committers.
    pub fn debtor(&self, store: Weak<Store>, tenant: &Arc<Tenant>) -> Arc<dyn Debtor> {
        Arc::new(TenantDebtor { handover: self.clone(), store, tenant: Arc::clone(tenant) })
    }

    /// Hands over all debt that is older than a minute, of all tenants, for at most a minute. Gives
    /// the number of commits handed over; what is left is the next sweep's work.
    ///
    /// # Errors
    /// The last [`HandoverError`], after every tenant has had its turn.
    pub async fn sweep(&self, store: &Store, now: Timestamp) -> Result<usize, HandoverError> {
        let until = Instant::now() + SWEEP;
        let (mut count, mut failure) = (0, None);
        for tenant in store.registry().by_lot().await? {
            // What a process that ended left untold about the tenant itself.
            if let Err(error) = store.announce(&tenant).await {
                tracing::warn!(evt = "tenant.untold", tenant = %tenant.id, error = chain(&error));
            }
            for partition in tenant.partitions() {
                if Instant::now() >= until {
                    return failure.map_or(Ok(count), Err);
                }
                match self.sweep_partition(store, &tenant, partition, now, until).await {
                    Ok(handed) => count += handed,
                    Err(error) => failure = Some(error),
                }
            }
        }
        failure.map_or(Ok(count), Err)
    }

    async fn sweep_partition(
        &self,
        store: &Store,
        tenant: &Arc<Tenant>,
        partition: PartitionId,
        now: Timestamp,
        until: Instant,
    ) -> Result<usize, HandoverError> {
        let mut handed = 0;
        for (last, recorded) in store.debts(tenant).oldest(partition).await? {
            if Instant::now() >= until || now.since(recorded) < GRACE {
                break;
            }
            self.hand_over(store, tenant, partition, last).await?;
            handed += 1;
        }
        Ok(handed)
    }
}

#[derive(Debug)]
struct TenantDebtor {
    handover: Handover,
    /// Weak: committers belong to the store, and must not keep it alive.
    store: Weak<Store>,
    tenant: Arc<Tenant>,
}

impl Debtor for TenantDebtor {
    fn owed(&self, partition: PartitionId, last: u64) {
        let Some(store) = self.store.upgrade() else { return };
        let (handover, tenant) = (self.handover.clone(), Arc::clone(&self.tenant));
        let Ok(permit) = Arc::clone(&handover.in_flight).try_acquire_owned() else { return };
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = handover.hand_over(&store, &tenant, partition, last).await {
                tracing::warn!(
                    evt = "feed.handover-failed",
                    tenant = %tenant.id,
                    %partition,
                    last,
                    error = chain(&error),
                    "a commit waits for the sweep"
                );
            }
        });
    }
}

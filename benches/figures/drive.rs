//! A store under load: so many deliveries in flight, each waiting for its answer.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use annals::{
    config::AzureStorage,
    domain::{event::NewEvent, ids::TenantId, position::PartitionId, timestamp::SystemClock},
    store::{
        Delivery, Store,
        append::Debtor,
        azure::Account,
        registry::{Author, NoSilos, Settings, Tenant},
        table::Table,
    },
};
use anyhow::ensure;

use crate::traffic::TENANT;

/// Deliveries in flight: what the Functions host keeps busy with `batchSize` 16 and
/// `newBatchThreshold` 16.
pub(crate) const IN_FLIGHT: usize = 32;

#[derive(Debug)]
struct NoFeed;

impl Debtor for NoFeed {
    fn owed(&self, _: PartitionId, _: u64) {}
}

/// The tables of an account.
pub(crate) fn tables(storage: &AzureStorage) -> anyhow::Result<Arc<dyn Table>> {
    Ok(Arc::new(Account::open(storage)?.tables()))
}

/// A store as one process has it.
pub(crate) fn store(table: Arc<dyn Table>) -> Arc<Store> {
    Arc::new(Store::new(table, Box::new(NoSilos), Arc::new(SystemClock), Box::new(|_| Arc::new(NoFeed))))
}

/// The benchmark's tenant, with one partition: the hardest case.
pub(crate) async fn tenant(store: &Store) -> anyhow::Result<Arc<Tenant>> {
    named(store, TENANT).await
}

/// Another one like it.
pub(crate) async fn named(store: &Store, id: &str) -> anyhow::Result<Arc<Tenant>> {
    let administration = store.administration(Author::annals());
    Ok(administration.put(&TenantId::parse(id)?, &Settings::default()).await?.0)
}

/// Appends all events through `stores` by turns, `in_flight` at a time. Gives the time it took.
pub(crate) async fn append(
    stores: &[Arc<Store>],
    tenant: &Arc<Tenant>,
    events: Vec<NewEvent>,
    in_flight: usize,
) -> anyhow::Result<Duration> {
    let waiting = Arc::new(Mutex::new(events.into_iter()));
    let started = Instant::now();
    let workers = stores.iter().cycle().take(in_flight).map(|store| {
        let (store, tenant, waiting) = (Arc::clone(store), Arc::clone(tenant), Arc::clone(&waiting));
        tokio::spawn(async move {
            let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
            while let Some(event) = next() {
                let delivery = Delivery::queue(1);
                let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
                let answers = store.append(&tenant, vec![event], delivery, deadline).await?;
                ensure!(answers.len() == 1 && !answers[0].duplicate, "an event was not stored once");
            }
            Ok(())
        })
    });
    for worker in futures::future::join_all(workers).await {
        worker??;
    }
    Ok(started.elapsed())
}

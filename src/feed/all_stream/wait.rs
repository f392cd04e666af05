//! Waiting for something new: one look at storage for all who wait for the same log.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep, timeout_at},
};

use super::place::Places;
use crate::{
    domain::position::PartitionId,
    store::{log::Log, table::TableName},
};

/// Requests that may wait at one time: each holds memory of a small instance.
const WAITERS: usize = 32;
/// Of those, for one tenant.
const PER_TENANT: usize = 4;
/// Time between two looks, at first and at last.
const LOOK: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));

/// Too many wait already: ask again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests wait for news")]
pub struct Busy;

/// What each poller saw last: the last sequence of its partition.
type Pollers = HashMap<(TableName, PartitionId), watch::Receiver<u64>>;

/// The waiting room.
#[derive(Debug, Clone)]
pub struct Waiters {
    all: Arc<Semaphore>,
    tenants: Arc<Mutex<HashMap<TableName, Arc<Semaphore>>>>,
    pollers: Arc<Mutex<Pollers>>,
}

impl Default for Waiters {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(WAITERS)), tenants: Arc::default(), pollers: Arc::default() }
    }
}

/// A seat in the waiting room.
#[derive(Debug)]
pub struct Seat {
    room: Waiters,
    log: Log,
    _permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Waiters {
    /// Takes a seat.
    ///
    /// # Errors
    /// [`Busy`] when there is none, of all or of this tenant's.
    pub fn sit(&self, log: &Log) -> Result<Seat, Busy> {
        let table = &log.tenant().table;
        let all = Arc::clone(&self.all).try_acquire_owned().map_err(|_| Busy)?;
        let own = {
            let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            tenants.retain(|name, seats| name == table || seats.available_permits() < PER_TENANT);
            let seats = tenants.entry(table.clone()).or_insert_with(|| Arc::new(Semaphore::new(PER_TENANT)));
            Arc::clone(seats).try_acquire_owned().map_err(|_| Busy)?
        };
        Ok(Seat { room: self.clone(), log: log.clone(), _permits: (all, own) })
    }

    /// What the poller of a partition sees; starts one when there is none.
    fn watch(&self, log: &Log, partition: PartitionId) -> watch::Receiver<u64> {
        let mut pollers = self.pollers.lock().unwrap_or_else(PoisonError::into_inner);
        pollers.retain(|_, seen| seen.has_changed().is_ok());
        let key = (log.tenant().table.clone(), partition);
        if let Some(seen) = pollers.get(&key) {
            return seen.clone();
        }
        let (sender, seen) = watch::channel(0);
        pollers.insert(key, seen.clone());
        let (log, room) = (log.clone(), self.clone());
        tokio::spawn(async move { room.poll(&log, partition, &sender).await });
        seen
    }

    /// Looks at the head until nobody watches any more.
    async fn poll(&self, log: &Log, partition: PartitionId, sender: &watch::Sender<u64>) {
        let mut pause = LOOK.0;
        loop {
            // A fault passes or the waiter's time does: both end well.
            if let Ok(head) = log.head(partition).await
                && sender.send_if_modified(|last| std::mem::replace(last, head.last) != head.last)
            {
                pause = LOOK.0;
            }
            sleep(pause).await;
            pause = (pause * 3 / 2).min(LOOK.1);
            let mut pollers = self.pollers.lock().unwrap_or_else(PoisonError::into_inner);
            // The map holds one receiver itself. Under its lock, so that nobody joins meanwhile.
            if sender.receiver_count() <= 1 {
                pollers.remove(&(log.tenant().table.clone(), partition));
                return;
            }
        }
    }
}

impl Seat {
    /// Waits until a partition goes on behind these places; false when `until` came first.
    pub async fn news(&self, places: &Places, until: Instant) -> bool {
        let waits = self.log.tenant().partitions().map(|partition| {
            let at = places.get(partition).sequence;
            let mut seen = self.room.watch(&self.log, partition);
            Box::pin(async move { seen.wait_for(|last| *last > at).await.is_ok() })
        });
        timeout_at(until, futures::future::select_all(waits)).await.is_ok_and(|(news, ..)| news)
    }
}

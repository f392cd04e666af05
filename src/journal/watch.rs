//! Waiting for a command to change: one poller for each command that is waited for in this process,
//! however many wait, and woken at once by what this process itself appends.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep_until, timeout},
};

use super::stream;
use crate::{
    domain::ids::StreamId,
    store::{history::History, registry::Tenant, table::TableName},
};

/// Most who wait in this process, and most of one tenant.
const WAITERS: (usize, usize) = (64, 16);
/// How often storage is asked while somebody waits: what another process did is seen this late.
const POLL: Duration = Duration::from_millis(500);

/// Too many are waiting already: come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many are waiting")]
pub struct Busy;

type Key = (TableName, StreamId);

/// The commands that are waited for.
#[derive(Debug)]
pub(super) struct Watchers {
    places: Arc<Semaphore>,
    of_tenants: Mutex<HashMap<TableName, Weak<Semaphore>>>,
    watched: Arc<Mutex<HashMap<Key, Weak<watch::Sender<u64>>>>>,
}

impl Default for Watchers {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(WAITERS.0)),
            of_tenants: Mutex::default(),
            watched: Arc::default(),
        }
    }
}

/// Somebody's place among those who wait.
#[derive(Debug)]
pub struct Watching {
    looks: watch::Receiver<u64>,
    _sender: Arc<watch::Sender<u64>>,
    _places: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Watching {
    /// Waits until there may be something new, or the time is over. False when it is over.
    pub async fn changed(&mut self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        matches!(timeout(left, self.looks.changed()).await, Ok(Ok(())))
    }
}

impl Watchers {
    /// Takes a place. Read the command after this, so that no change falls in between.
    pub(super) fn watch(
        &self,
        history: History,
        tenant: &Tenant,
        command: &StreamId,
    ) -> Result<Watching, Busy> {
        let of_tenant = Arc::clone(&self.of_tenant(tenant)).try_acquire_owned().map_err(|_| Busy)?;
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Busy)?;
        let key = (tenant.table.clone(), command.clone());
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let known = watched.get(&key).and_then(Weak::upgrade);
        let sender = known.unwrap_or_else(|| {
            watched.retain(|_, sender| sender.strong_count() > 0);
            let sender = Arc::new(watch::Sender::new(0));
            watched.insert(key, Arc::downgrade(&sender));
            tokio::spawn(poll(history, command.clone(), Arc::downgrade(&sender)));
            sender
        });
        Ok(Watching { looks: sender.subscribe(), _sender: sender, _places: (of_tenant, place) })
    }

    fn of_tenant(&self, tenant: &Tenant) -> Arc<Semaphore> {
        let mut tenants = self.of_tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = tenants.get(&tenant.table).and_then(Weak::upgrade) {
            return places;
        }
        tenants.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(WAITERS.1));
        tenants.insert(tenant.table.clone(), Arc::downgrade(&places));
        places
    }

    /// This process has appended to the command.
    pub(super) fn wake(&self, table: &TableName, command: &StreamId) {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = watched.get(&(table.clone(), command.clone())).and_then(Weak::upgrade) {
            sender.send_modify(|looks| *looks += 1);
        }
    }
}

/// Looks at the stream's version until nobody waits any more. The own appends of this process do
/// not go through here, so a slow storage delays nobody.
async fn poll(history: History, command: StreamId, sender: Weak<watch::Sender<u64>>) {
    let name = stream(&command);
    let mut seen = None;
    let mut next = Instant::now();
    loop {
        next = Instant::now().max(next) + POLL;
        let found = history.stream(&name).await;
        let Some(sender) = sender.upgrade() else { return };
        if let Ok(found) = found {
            let version = found.map_or(0, |stream| stream.version);
            // The first look always wakes: whoever waits may have read before the last change.
            if seen.replace(version) != Some(version) {
                sender.send_modify(|looks| *looks += 1);
            }
        }
        drop(sender);
        sleep_until(next).await;
    }
}

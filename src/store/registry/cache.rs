//! What was read a moment ago.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Most entries. When they are reached all are dropped: a cache that somebody fills with guesses
/// must not grow, and costs the others one read.
const MAX: usize = 10_000;

/// Values with a short life.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    life: Duration,
    seen: Mutex<HashMap<K, (Instant, V)>>,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub(super) fn new(life: Duration) -> Self {
        Self { life, seen: Mutex::default() }
    }

    pub(super) fn get(&self, key: &K) -> Option<V> {
        let seen = self.lock();
        seen.get(key).filter(|(at, _)| at.elapsed() < self.life).map(|(_, value)| value.clone())
    }

    /// Whether there was a value, however old it is.
    pub(super) fn holds(&self, key: &K) -> bool {
        self.lock().contains_key(key)
    }

    pub(super) fn put(&self, key: K, value: V) {
        let mut seen = self.lock();
        if seen.len() >= MAX {
            seen.clear();
        }
        seen.insert(key, (Instant::now(), value));
    }

    pub(super) fn forget(&self, key: &K) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, (Instant, V)>> {
        // Never held across an await; a panic elsewhere leaves nothing half-done in it.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

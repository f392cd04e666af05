//! Who was turned away, and who read: one event for each tenant, reason and minute, written after the
//! answers, which do not wait for it. What storage does not take now is tried again. A process that is
//! asked to stop writes the rest; one that is killed loses it.
//!
//! Tenants are written side by side and each in sequence: one whose storage is silent costs itself its
//! notes for now, and nobody else.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    access::Caller,
    domain::{
        event::NewEvent,
        ids::{EventId, TenantId},
        timestamp::Timestamp,
    },
    store::{
        Store, StoreError,
        registry::{ACCESS_SOURCE, Author, own_event},
    },
};

/// The time that one event covers.
const WINDOW: Duration = Duration::from_secs(60);
/// Most tenants in memory: guesses at tenants must not fill it.
const MAX_TENANTS: usize = 5_000;
/// Most entries and events of one tenant in memory, however long its storage is silent.
const MAX_OF_TENANT: usize = 1_000;
/// Events of one tenant that may wait for storage before its entries stay open, and count on.
const MAX_CLOSED: usize = 60;
/// Most names and paths in one event.
const MAX_NAMES: usize = 20;
/// How long an event may take to be written, and of how many tenants at once.
const PATIENCE: Duration = Duration::from_secs(10);
const PARALLEL: usize = 64;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Note {
    /// Somebody was turned away, for this reason.
    Denied(&'static str),
    /// Somebody read this path.
    Read(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    Denied(&'static str),
    Read { caller: String },
}

#[derive(Debug)]
struct Entry {
    since: Timestamp,
    count: u64,
    callers: BTreeSet<String>,
    routes: BTreeSet<&'static str>,
    paths: BTreeSet<String>,
}

/// What is not written yet of one tenant.
#[derive(Debug, Default)]
struct Page {
    /// What still counts.
    open: HashMap<Kind, Entry>,
    /// Events that are whole and wait to be written: made once, so that one whose outcome is not known
    /// is written again as the same. One leaves when storage has answered, not before: whoever writes
    /// everything must see it.
    closed: VecDeque<NewEvent>,
    /// Its storage did not take the last one.
    stuck: bool,
}

impl Page {
    fn len(&self) -> usize {
        self.open.len() + self.closed.len()
    }
}

type Pages = HashMap<TenantId, Page>;

/// Keeps what is not written yet.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pages: Mutex<Pages>,
}

impl Ledger {
    /// Notes what somebody did at a tenant's door. A tenant that is `known` has a place also when guesses
    /// at others have filled the ledger.
    pub(super) fn note(
        &self,
        (tenant, known): (&TenantId, bool),
        note: Note,
        caller: Option<&Caller>,
        route: &'static str,
        now: Timestamp,
    ) {
        let name = caller.map(|caller| caller.recorded_by().as_str().to_owned());
        let (kind, path) = match note {
            Note::Denied(reason) => (Kind::Denied(reason), None),
            Note::Read(path) => (Kind::Read { caller: name.clone().unwrap_or_default() }, Some(path)),
        };
        let mut pages = self.lock();
        let full = match pages.get(tenant) {
            Some(page) => page.len() >= MAX_OF_TENANT && !page.open.contains_key(&kind),
            None => pages.len() >= MAX_TENANTS && !known,
        };
        if full {
            tracing::warn!(evt = "http.ledger-full", "an attempt is not audited");
            return;
        }
        let page = pages.entry(tenant.clone()).or_default();
        let entry = page.open.entry(kind).or_insert_with(|| Entry {
            since: now,
            count: 0,
            callers: BTreeSet::new(),
            routes: BTreeSet::new(),
            paths: BTreeSet::new(),
        });
        entry.count += 1;
        entry.routes.insert(route);
        if let Some(name) = name.filter(|_| entry.callers.len() < MAX_NAMES) {
            entry.callers.insert(name);
        }
        if let Some(path) = path.filter(|_| entry.paths.len() < MAX_NAMES) {
            entry.paths.insert(path);
        }
    }

    /// Writes what is a minute old at `now`; gives the number of events.
    pub(crate) async fn write(&self, store: &Store, now: Timestamp) -> usize {
        self.write_older(store, now, WINDOW, PATIENCE).await
    }

    /// Writes everything: the process is about to end, `within` this time. A tenant whose storage is
    /// silent has given up before.
    pub(crate) async fn flush(&self, store: &Store, now: Timestamp, within: Duration) -> usize {
        self.write_older(store, now, Duration::ZERO, within / 2).await
    }

    /// How many events are not written yet.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().values().map(Page::len).sum()
    }

    async fn write_older(&self, store: &Store, now: Timestamp, age: Duration, patience: Duration) -> usize {
        let due = self.close(now, age);
        let written = stream::iter(due).map(|tenant| self.write_of(store, tenant, patience));
        written.buffer_unordered(PARALLEL).fold(0, async |sum, one| sum + one).await
    }

    /// Makes events of what is this old. Gives the tenants that have some to write, those last whose
    /// storage did not answer the last time.
    fn close(&self, now: Timestamp, age: Duration) -> Vec<TenantId> {
        let mut due = Vec::new();
        for (tenant, page) in self.lock().iter_mut() {
            // Nothing is dropped: what stays open counts on.
            if page.closed.len() < MAX_CLOSED || age.is_zero() {
                let ended = page.open.extract_if(|_, entry| now.since(entry.since) >= age);
                page.closed.extend(ended.map(|(kind, entry)| event(&kind, &entry, now)));
            }
            if !page.closed.is_empty() {
                due.push((page.stuck, tenant.clone()));
            }
        }
        due.sort_by_key(|(stuck, _)| *stuck);
        due.into_iter().map(|(_, tenant)| tenant).collect()
    }

    /// Writes the events of one tenant until there is none, or storage takes none: the rest waits too.
    async fn write_of(&self, store: &Store, tenant: TenantId, patience: Duration) -> usize {
        let mut done = 0;
        while let Some(event) = self.first(&tenant) {
            let id = event.id.clone();
            match write(store, &tenant, event, patience).await {
                Ok(written) => done += usize::from(self.settle(&tenant, &id) && written),
                Err(error) => {
                    tracing::warn!(evt = "http.unaudited", tenant = %tenant, error = %error);
                    if matches!(error, StoreError::Unavailable { .. }) {
                        if let Some(page) = self.lock().get_mut(&tenant) {
                            page.stuck = true;
                        }
                        break;
                    }
                    self.settle(&tenant, &id);
                }
            }
        }
        done
    }

    fn first(&self, tenant: &TenantId) -> Option<NewEvent> {
        self.lock().get(tenant)?.closed.front().cloned()
    }

    /// Takes an event out that needs no writing any more; `false` when somebody else has.
    fn settle(&self, tenant: &TenantId, id: &EventId) -> bool {
        let mut pages = self.lock();
        let Some(page) = pages.get_mut(tenant) else { return false };
        let before = page.closed.len();
        page.closed.retain(|event| event.id != *id);
        page.stuck = false;
        let settled = page.closed.len() < before;
        if page.len() == 0 {
            pages.remove(tenant);
        }
        settled
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        // Never held across an await; a panic elsewhere leaves nothing half-done in it.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn event(kind: &Kind, entry: &Entry, now: Timestamp) -> NewEvent {
    let (event_type, mut data) = match kind {
        Kind::Denied(reason) => {
            ("annals.access.denied", json!({ "reason": reason, "callers": entry.callers }))
        }
        Kind::Read { caller } => ("annals.access.read", json!({ "caller": caller, "paths": entry.paths })),
    };
    data["count"] = entry.count.into();
    data["routes"] = json!(entry.routes);
    data["from"] = json!(entry.since);
    data["to"] = json!(now);
    let id = uuid::Uuid::new_v4().to_string();
    own_event(ACCESS_SOURCE, &id, event_type, entry.since, Author::annals().actor, &data)
}

/// `Ok(false)`: there is no such tenant, and nothing to tell.
async fn write(
    store: &Store,
    id: &TenantId,
    event: NewEvent,
    patience: Duration,
) -> Result<bool, StoreError> {
    let found = store.registry().get(id).await;
    let found = found.map_err(|error| StoreError::Unavailable { reason: error.to_string() })?;
    let Some(tenant) = found else { return Ok(false) };
    let by = Author::annals().recorded_by;
    store.record(&tenant, vec![event], by, Instant::now() + patience).await?;
    Ok(true)
}

//! Who was turned away, and who read: one event for each tenant, reason and minute, written after the
//! answers, which do not wait for it. What storage does not take now is tried again. A process that is
//! asked to stop writes the rest; one that is killed loses it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    access::Caller,
    domain::{event::NewEvent, ids::TenantId, timestamp::Timestamp},
    store::{
        Store, StoreError,
        registry::{ACCESS_SOURCE, Author, own_event},
    },
};

/// The time that one event covers.
const WINDOW: Duration = Duration::from_secs(60);
/// Most entries in memory: guesses at tenants must not fill it.
const MAX: usize = 5_000;
/// Most names and paths in one event.
const MAX_NAMES: usize = 20;
/// How long an event may take to be written, and how many are written at once.
const PATIENCE: Duration = Duration::from_secs(10);
const PARALLEL: usize = 8;

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

/// What is not written yet.
#[derive(Debug, Default)]
struct Pages {
    /// What still counts.
    open: HashMap<(TenantId, Kind), Entry>,
    /// Events that are whole and wait to be written: made once, so that one whose outcome is not known
    /// is written again as the same.
    closed: Vec<(TenantId, NewEvent)>,
}

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
        let full = pages.open.len() + pages.closed.len() >= MAX;
        if full && !known && !pages.open.contains_key(&(tenant.clone(), kind.clone())) {
            tracing::warn!(evt = "http.ledger-full", "an attempt is not audited");
            return;
        }
        let entry = pages.open.entry((tenant.clone(), kind)).or_insert_with(|| Entry {
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
        self.write_older(store, now, WINDOW).await
    }

    /// Writes everything: the process is about to end.
    pub(crate) async fn flush(&self, store: &Store, now: Timestamp) -> usize {
        self.write_older(store, now, Duration::ZERO).await
    }

    /// How many events are not written yet.
    pub(crate) fn waiting(&self) -> usize {
        let pages = self.lock();
        pages.open.len() + pages.closed.len()
    }

    async fn write_older(&self, store: &Store, now: Timestamp, age: Duration) -> usize {
        let due = {
            let mut pages = self.lock();
            let ended: Vec<_> = pages.open.extract_if(|_, entry| now.since(entry.since) >= age).collect();
            let ended = ended.into_iter().map(|((tenant, kind), entry)| {
                let event = event(&kind, &entry, now);
                (tenant, event)
            });
            pages.closed.extend(ended);
            std::mem::take(&mut pages.closed)
        };
        let outcomes =
            stream::iter(due).map(async |(tenant, event)| match write(store, &tenant, event.clone()).await {
                Ok(done) => done,
                Err(error) => {
                    tracing::warn!(evt = "http.unaudited", tenant = %tenant, error = %error);
                    if matches!(error, StoreError::Unavailable { .. }) {
                        self.lock().closed.push((tenant, event));
                    }
                    false
                }
            });
        outcomes.buffer_unordered(PARALLEL).filter(|done| std::future::ready(*done)).count().await
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
async fn write(store: &Store, id: &TenantId, event: NewEvent) -> Result<bool, StoreError> {
    let found = store.registry().get(id).await;
    let found = found.map_err(|error| StoreError::Unavailable { reason: error.to_string() })?;
    let Some(tenant) = found else { return Ok(false) };
    let by = Author::annals().recorded_by;
    store.record(&tenant, vec![event], by, Instant::now() + PATIENCE).await?;
    Ok(true)
}

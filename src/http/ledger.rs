//! Who was turned away, and who read: one event for each tenant, reason and minute, written after the
//! answers. What is not written when the process ends is lost; what was answered does not wait.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde_json::json;
use tokio::time::Instant;

use crate::{
    access::Caller,
    domain::{ids::TenantId, timestamp::Timestamp},
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
/// How long an event may take to be written.
const PATIENCE: Duration = Duration::from_secs(10);

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
pub(crate) struct Ledger {
    open: Mutex<HashMap<(TenantId, Kind), Entry>>,
}

impl Ledger {
    pub(super) fn note(
        &self,
        tenant: &TenantId,
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
        let mut open = self.lock();
        if open.len() >= MAX && !open.contains_key(&(tenant.clone(), kind.clone())) {
            tracing::warn!(evt = "http.ledger-full", "an attempt is not audited");
            return;
        }
        let entry = open.entry((tenant.clone(), kind)).or_insert_with(|| Entry {
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
        let due: Vec<_> = self.lock().extract_if(|_, entry| now.since(entry.since) >= WINDOW).collect();
        let mut written = 0;
        for ((tenant, kind), entry) in due {
            match write(store, &tenant, &kind, &entry, now).await {
                Ok(done) => written += usize::from(done),
                Err(error) => {
                    tracing::warn!(evt = "http.unaudited", tenant = %tenant, error = %error);
                }
            }
        }
        written
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(TenantId, Kind), Entry>> {
        // Never held across an await; a panic elsewhere leaves nothing half-done in it.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `Ok(false)`: there is no such tenant, and nothing to tell.
async fn write(
    store: &Store,
    id: &TenantId,
    kind: &Kind,
    entry: &Entry,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let found = store.registry().get(id).await;
    let found = found.map_err(|error| StoreError::Unavailable { reason: error.to_string() })?;
    let Some(tenant) = found else { return Ok(false) };
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
    let event_id = uuid::Uuid::new_v4().to_string();
    let annals = Author::annals();
    let event = own_event(ACCESS_SOURCE, &event_id, event_type, entry.since, annals.actor, &data);
    store.record(&tenant, vec![event], annals.recorded_by, Instant::now() + PATIENCE).await?;
    Ok(true)
}

//! The store: per-tenant logs on a table service.
//!
//! What MUST hold, whatever crashes, repeats or overlaps:
//!
//! - An [`Answer`](append::Answer) is given only for an event that is durable in its tenant's table.
//! - One identity (`source` + `id`) is stored once, and every delivery of it gets the first answer.
//! - Versions of a stream and sequences of a partition are contiguous, and never change.
//! - Every commit that `ingest` does not publish itself carries feed debt.
//!
//! Layers: [`table`] is the port; `azure` and [`embedded`] are its drivers; [`keys`], [`rows`] and
//! [`digest`] say what is stored; [`append`] writes it, [`history`] reads it.

pub mod administration;
pub mod append;
#[cfg(feature = "azure")]
pub mod azure;
mod candidate;
pub mod correlated;
pub mod dead_letters;
pub mod debts;
mod delivery;
pub mod digest;
mod door;
pub mod due;
pub mod embedded;
pub mod erasure;
pub mod history;
pub mod keys;
pub mod log;
pub mod readers;
pub mod registry;
mod retry;
pub mod rows;
pub mod table;
#[cfg(feature = "test-util")]
pub mod testing;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

pub(crate) use self::candidate::{DATA_SUBJECT, actor_filter, partition_of, subject_hash};
use self::{
    append::{Committer, CommitterContext, Debtor},
    correlated::Correlated,
    dead_letters::DeadLetters,
    debts::Debts,
    due::Dues,
    history::History,
    log::Log,
    readers::Readers,
    registry::{Places, Registry, Silos, Tenant},
    table::{Table, TableName},
};
pub use self::{
    delivery::{Delivery, StoreError},
    retry::WriteError,
};
use crate::domain::{position::PartitionId, timestamp::Clock};

/// Makes the debtor of a tenant: who hears that a commit owes something to its change feed.
pub type Debtors = Box<dyn Fn(&Arc<Tenant>) -> Arc<dyn Debtor> + Send + Sync>;

/// The store of all tenants.
pub struct Store {
    places: Arc<Places>,
    clock: Arc<dyn Clock>,
    registry: Registry,
    debtors: Debtors,
    committers: Mutex<HashMap<(TableName, PartitionId), Committer>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("places", &self.places).finish_non_exhaustive()
    }
}

impl Store {
    /// The store on this storage: the shared account, and those that tenants have of their own.
    pub fn new(
        shared: Arc<dyn Table>,
        silos: Box<dyn Silos>,
        clock: Arc<dyn Clock>,
        debtors: Debtors,
    ) -> Self {
        let places = Arc::new(Places::new(shared, silos));
        let registry = Registry::new(Arc::clone(&places), Arc::clone(&clock));
        Self { places, clock, registry, debtors, committers: Mutex::default() }
    }

    /// The tenants.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The clock.
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// Reads a tenant.
    pub fn history(&self, tenant: &Arc<Tenant>) -> History {
        History::of(self.places.of(tenant), Arc::clone(tenant))
    }

    /// Reads the log of a tenant.
    pub fn log(&self, tenant: &Arc<Tenant>) -> Log {
        Log::of(self.places.of(tenant), Arc::clone(tenant))
    }

    /// What readers of a tenant leave with us.
    pub fn readers(&self, tenant: &Arc<Tenant>) -> Readers {
        Readers::of(self.places.of(tenant), Arc::clone(tenant))
    }

    /// The dead letters of a tenant, or those of none.
    pub fn dead_letters(&self, tenant: Option<&Tenant>) -> DeadLetters {
        match tenant {
            Some(tenant) => DeadLetters::of(self.places.of(tenant), tenant),
            None => DeadLetters::of_nobody(Arc::clone(self.places.shared())),
        }
    }

    /// The feed debt of a tenant.
    pub fn debts(&self, tenant: &Arc<Tenant>) -> Debts {
        Debts::of(self.places.of(tenant), Arc::clone(tenant))
    }

    /// What shares correlation ids in a tenant.
    pub fn correlated(&self, tenant: &Arc<Tenant>) -> Correlated {
        Correlated::of(self.log(tenant))
    }

    /// What falls due in a tenant.
    pub fn dues(&self, tenant: &Arc<Tenant>) -> Dues {
        Dues::of(self.places.of(tenant), Arc::clone(tenant))
    }

    /// The committer of a partition, started when there is none (any more).
    fn committer(&self, tenant: &Arc<Tenant>, partition: PartitionId) -> Committer {
        // Never held across an await; a panic elsewhere leaves nothing half-done in the map.
        let mut committers = self.committers.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (tenant.table.clone(), partition);
        if let Some(committer) = committers.get(&key).filter(|committer| !committer.has_ended()) {
            return committer.clone();
        }
        committers.retain(|_, committer| !committer.has_ended());
        let committer = Committer::spawn(CommitterContext {
            table: self.places.of(tenant),
            name: tenant.table.clone(),
            partition,
            clock: Arc::clone(&self.clock),
            debtor: (self.debtors)(tenant),
            seed: rand::random(),
        });
        committers.insert(key, committer.clone());
        committer
    }
}

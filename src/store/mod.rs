//! The store: per-tenant logs on a table service.
//!
//! What MUST hold, whatever crashes, repeats or overlaps:
//!
//! - An [`Answer`] is given only for an event that is durable in its tenant's table.
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
pub mod digest;
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

use tokio::time::Instant;
use tracing::{Instrument, Span};

use self::candidate::candidate;
pub(crate) use self::candidate::{DATA_SUBJECT, actor_filter, partition_of, subject_hash};
pub use self::retry::WriteError;
use self::{
    append::{
        Amendment, Answer, Append, AppendError, Candidate, Committer, CommitterContext, Debtor, Origin,
        Refusal,
    },
    correlated::Correlated,
    dead_letters::DeadLetters,
    debts::Debts,
    due::Dues,
    history::History,
    log::Log,
    readers::Readers,
    registry::{ACCESS_SOURCE, Places, REGISTRY_SOURCE, Registry, SYSTEM, Silos, Tenant},
    table::{Table, TableName},
};
use crate::{
    domain::{
        FAULTED,
        event::{NewEvent, RecordedBy},
        own,
        position::PartitionId,
        timestamp::Clock,
    },
    telemetry::{self, trace::Trace},
};

/// How an append came here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The door.
    pub origin: Origin,
    /// True when the queue has delivered it before.
    pub redelivered: bool,
    /// Who handed it to us.
    pub recorded_by: RecordedBy,
}

impl Delivery {
    /// From the ingest queue, delivered this often.
    pub fn queue(dequeue_count: u32) -> Self {
        Self { origin: Origin::Ingest, redelivered: dequeue_count > 1, recorded_by: RecordedBy::queue() }
    }

    /// From a caller that has been verified, or from Annals itself.
    pub fn direct(recorded_by: RecordedBy) -> Self {
        Self { origin: Origin::Direct, redelivered: false, recorded_by }
    }

    /// The same, of events that may have come before: identities are looked up first.
    #[must_use]
    pub fn again(self) -> Self {
        Self { redelivered: true, ..self }
    }
}

/// Why events were not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// They never will be as they are.
    #[error("the append is refused")]
    Refused(#[source] Refusal),
    /// One holds a secret where none can be taken out.
    #[error("an event holds what looks like a secret in `{field}`, and cannot be stored without it")]
    HoldsSecret {
        /// Place of the event in the append.
        index: usize,
        /// The attribute.
        field: &'static str,
    },
    /// One uses what only Annals itself may use: a source of its own, or the system tenant.
    #[error("this source or tenant is reserved for the events of Annals itself")]
    Reserved {
        /// Place of the event in the append.
        index: usize,
    },
    /// The tenant is closed, and the events are new.
    #[error("the tenant is closed: what it has can be read, and nothing is added")]
    Closed,
    /// Their streams lie in different partitions: no one commit can hold them.
    #[error("the events belong to streams in different partitions")]
    SpansPartitions,
    /// They were not stored, or may have been: send them again later, as they are.
    #[error("storage is not available ({reason})")]
    Unavailable {
        /// What happened, without addresses or secrets.
        reason: String,
    },
}

impl StoreError {
    /// Its stable code, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::HoldsSecret { .. } => "holds-secret",
            Self::Reserved { .. } => "reserved",
            Self::Closed => "tenant-closed",
            Self::SpansPartitions => "spans-partitions",
            Self::Unavailable { .. } => "unavailable",
        }
    }
}

impl From<AppendError> for StoreError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Refused(refusal) => Self::Refused(refusal),
            AppendError::Unavailable { reason } => Self::Unavailable { reason },
        }
    }
}

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

    /// Stores events in one commit or not at all; answers in their order, by `deadline`.
    ///
    /// # Errors
    /// [`StoreError::Refused`] and [`StoreError::SpansPartitions`] when they can never be stored
    /// as they are; [`StoreError::Unavailable`] when they were not, or may not have been, stored:
    /// sending them again is always safe.
    pub async fn append(
        &self,
        tenant: &Arc<Tenant>,
        events: Vec<NewEvent>,
        delivery: Delivery,
        deadline: Instant,
    ) -> Result<Vec<Answer>, StoreError> {
        let ours = [REGISTRY_SOURCE, ACCESS_SOURCE];
        let reserved = |event: &NewEvent| ours.contains(&event.source.as_str());
        if let Some(index) = events.iter().position(|event| reserved(event) || tenant.id.as_str() == SYSTEM) {
            return Err(StoreError::Reserved { index });
        }
        if tenant.closed.is_some() && !self.all_known(tenant, &events).await? {
            return Err(StoreError::Closed);
        }
        self.place(tenant, events, delivery, deadline).await
    }

    /// Stores events of Annals itself, under its own sources and in any tenant, closed or not.
    pub(crate) async fn record(
        &self,
        tenant: &Arc<Tenant>,
        events: Vec<NewEvent>,
        recorded_by: RecordedBy,
        deadline: Instant,
    ) -> Result<Vec<Answer>, StoreError> {
        self.place(tenant, events, Delivery::direct(recorded_by).again(), deadline).await
    }

    /// Whether each of these was stored before: such a delivery gets its first answer from a closed
    /// tenant too.
    async fn all_known(&self, tenant: &Arc<Tenant>, events: &[NewEvent]) -> Result<bool, StoreError> {
        let history = self.history(tenant);
        for event in events {
            // Where it would be placed: there its first answer is found, and in another partition, under
            // another subject, it would be stored once more.
            let (partition, _) = candidate(tenant, event.clone(), &Delivery::queue(1));
            let stored = history.is_stored(partition, &event.identity()).await;
            if !stored.map_err(|error| StoreError::Unavailable { reason: error.to_string() })? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn place(
        &self,
        tenant: &Arc<Tenant>,
        events: Vec<NewEvent>,
        delivery: Delivery,
        deadline: Instant,
    ) -> Result<Vec<Answer>, StoreError> {
        self.amend(tenant, events, Vec::new(), delivery, deadline).await
    }

    /// As [`Self::place`], with rows of earlier events in the same partition that change in the same
    /// commit.
    async fn amend(
        &self,
        tenant: &Arc<Tenant>,
        mut events: Vec<NewEvent>,
        amendments: Vec<Amendment>,
        delivery: Delivery,
        deadline: Instant,
    ) -> Result<Vec<Answer>, StoreError> {
        let trace = Trace::current();
        for (index, event) in events.iter_mut().enumerate() {
            // The change feed's distributed tracing: an event without a context of its own gets that
            // of the work which stores it. It is no part of what the sender sent.
            if event.traceparent.is_none() {
                event.traceparent = trace.traceparent().map(str::to_owned);
            }
            // A signed checkpoint holds nothing of a sender's, and every character of it counts.
            if event.event_type.as_str() == own::CHECKPOINT_SIGNED && event.source.as_str() == own::SOURCE {
                continue;
            }
            let redacted = tenant.redactor.event(event);
            redacted.map_err(|secret| StoreError::HoldsSecret { index, field: secret.0 })?;
        }
        let placed: Vec<_> = events.into_iter().map(|event| candidate(tenant, event, &delivery)).collect();
        let Some(partition) = placed.first().map(|(partition, _)| *partition) else { return Ok(Vec::new()) };
        if placed.iter().any(|(other, _)| *other != partition) {
            return Err(StoreError::SpansPartitions);
        }
        let span = append_span(tenant, partition, &placed);
        let append = Append {
            events: placed.into_iter().map(|(_, candidate)| candidate).collect(),
            origin: delivery.origin,
            feed: tenant.settings.change_feed.enabled,
            amendments,
            redelivered: delivery.redelivered || tenant.closed.is_some(),
        };
        let committer = self.committer(tenant, partition);
        let answers = committer.append(append, deadline).instrument(span).await?;
        answers.iter().filter(|answer| !answer.duplicate).for_each(|answer| tell_of_fault(tenant, answer));
        Ok(answers)
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

/// The span of an append, for a collector alone: no line is written in it, since the committer works
/// for many at once.
fn append_span(tenant: &Tenant, partition: PartitionId, placed: &[(PartitionId, Candidate)]) -> Span {
    if !telemetry::exports_spans() {
        return Span::none();
    }
    let span = tracing::info_span!("append", tenant = %tenant.id, %partition, events = placed.len());
    if let [(_, one)] = placed {
        Trace::parse(one.event.traceparent.as_deref()).adopt(&span);
    }
    span
}

/// The signal that an instance faults: one line for each event that says so, the first time it is
/// stored. No warning: Annals itself is well. (Should we die right here, the gauge still counts the
/// instance.)
fn tell_of_fault(tenant: &Tenant, answer: &Answer) {
    let essentials = &answer.stored.essentials;
    if essentials.status.as_ref().is_some_and(|status| status.as_str() == FAULTED) {
        tracing::info!(
            evt = "instance.faulted",
            tenant = %tenant.id,
            category = %essentials.category,
            stream = %essentials.stream,
            event_id = %essentials.id,
            position = %answer.stored.position()
        );
    }
}

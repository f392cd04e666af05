//! The way in: events are held to the rules of their tenant, and go to the committer of their partition.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::{
    Delivery, Store, StoreError,
    append::{Amendment, Answer, Append, Candidate},
    candidate::candidate,
    registry::{ACCESS_SOURCE, REGISTRY_SOURCE, SYSTEM, Tenant},
};
use crate::{
    domain::{
        FAULTED,
        event::{NewEvent, RecordedBy},
        own,
        position::PartitionId,
    },
    telemetry::{self, trace::Trace},
};

impl Store {
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
    pub(super) async fn amend(
        &self,
        tenant: &Arc<Tenant>,
        mut events: Vec<NewEvent>,
        amendments: Vec<Amendment>,
        delivery: Delivery,
        deadline: Instant,
    ) -> Result<Vec<Answer>, StoreError> {
        let trace = Trace::current();
        for (index, event) in events.iter_mut().enumerate() {
            if index > 0 {
                // A large batch takes long, and there is one thread for everybody.
                tokio::task::yield_now().await;
            }
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

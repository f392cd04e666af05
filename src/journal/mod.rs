//! The command journal: the service over the store that lets the state machine of
//! [`crate::domain::command`] judge, and puts on record what it says.
//!
//! What MUST hold:
//!
//! - A decision rests on the events of the command's stream, read from storage for this very
//!   operation. Nothing is kept in memory that another process could have outdated.
//! - What is decided is appended under the exact version that was read, so that of two decisions on one
//!   reading one is taken and the other is made again.
//! - An operation happens once: its event's identity is fixed before it is decided, and a repeated call
//!   gets the answer of the first.

mod bodies;
mod correlation;
mod door;
mod events;
mod identity;
mod list;
mod order;
mod record;
mod seal;
mod secrets;
mod sweep;
mod watch;

use std::{sync::Arc, time::Duration};

use rand::Rng;
use tokio::time::{Instant, sleep};

use self::watch::Watchers;
pub use self::{
    bodies::{
        ApprovalBody, Approver, ClaimBody, DispatchBody, GivenBody, OutcomeBody, RenewBody, WithdrawBody,
    },
    correlation::Belongings,
    door::{NoRequest, request},
    list::{Filter, ListPlace, Listed},
    order::{Context, Order},
    record::{Entry, Record},
    seal::{MAX_MESSAGE, SealError, message},
    secrets::fingerprint,
    sweep::SweepError,
    watch::{Busy, Watching},
};
pub(crate) use self::{
    bodies::{members, parse},
    identity::{content, main_identity},
};
use crate::{
    domain::{
        command::{CATEGORY, Command, Fact, Operation, Rule, decide},
        event::{Actor, NewEvent},
        ids::{Category, StreamId, StreamName},
        timestamp::Timestamp,
    },
    store::{
        Delivery, Store, StoreError,
        append::{Answer, Refusal},
        history::HistoryError,
        registry::Tenant,
    },
};

/// Decisions made anew because somebody else was faster, before the caller is told to come again.
const TRIES: u32 = 40;
/// Shortest and longest pause before one.
const PAUSE: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(150));

/// Why an operation has no answer, or no for an answer.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The state machine forbids it.
    #[error("{rule}")]
    Forbidden {
        /// The rule.
        rule: Rule,
        /// Who holds the command, where that is the reason.
        holder: Option<Actor>,
    },
    /// The operation's id stands for another operation.
    #[error("this id stands for another operation on the command, at version {version}")]
    OperationReused {
        /// Where that operation is.
        version: u64,
    },
    /// The stream could not be read.
    #[error("the command cannot be read")]
    History(#[from] HistoryError),
    /// The events were not stored.
    #[error("the command's events are not stored")]
    Store(#[source] StoreError),
}

/// What came of an operation: the same for every delivery of it.
#[derive(Debug)]
pub struct Receipt {
    /// The command right after it.
    pub command: Command,
    /// Its facts, each with the version of its event.
    pub facts: Vec<(u64, Fact)>,
    /// Where they stand; empty when the operation had happened before and was not appended again.
    pub answers: Vec<Answer>,
    /// Whether it had happened before.
    pub repeated: bool,
}

/// The journal of all tenants.
#[derive(Debug)]
pub struct Journal {
    store: Arc<Store>,
    watchers: Watchers,
}

impl Journal {
    /// The journal in this store.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store, watchers: Watchers::default() }
    }

    /// What stands in a command's stream; `None` when nothing was dispatched under this id.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn read(
        &self,
        tenant: &Arc<Tenant>,
        command: &StreamId,
    ) -> Result<Option<Record>, HistoryError> {
        let record = Record::read(&self.store.history(tenant), command).await?;
        Ok(record.command.is_some().then_some(record))
    }

    /// Carries an operation out, or says why not.
    ///
    /// # Errors
    /// [`JournalError`]. Unless it is `Forbidden` or `OperationReused`, sending the operation again is safe.
    pub async fn run(
        &self,
        tenant: &Arc<Tenant>,
        order: &Order,
        delivery: &Delivery,
        deadline: Instant,
    ) -> Result<Receipt, JournalError> {
        let history = self.store.history(tenant);
        for attempt in 0..TRIES {
            let record = Record::read(&history, &order.command).await?;
            let known = record.find(&order.identity);
            if let Some((command, first)) = record.command.as_ref().zip(known)
                && first.says(&order.content)
            {
                return Ok(record.first_answer(command, first));
            }
            let now = self.store.clock().now().to_micros();
            let facts = judge(&record, order, now)?;
            if let Some(entry) = known {
                return Err(JournalError::OperationReused { version: entry.event.version });
            }
            let events = events::of(&record, order, &facts, now);
            match self.append(tenant, &record, (order, &facts, events), delivery, deadline).await {
                Ok(Some(receipt)) => return Ok(receipt),
                Ok(None) => pause(attempt).await,
                Err(error) => return Err(error),
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        let reason = "others keep deciding on the same command".to_owned();
        Err(JournalError::Store(StoreError::Unavailable { reason }))
    }

    /// `Ok(None)`: the stream is no longer what was read.
    async fn append(
        &self,
        tenant: &Arc<Tenant>,
        record: &Record,
        (order, facts, events): (&Order, &[Fact], Vec<NewEvent>),
        delivery: &Delivery,
        deadline: Instant,
    ) -> Result<Option<Receipt>, JournalError> {
        // What fell due may have been noticed by another process since the record was read: that makes
        // nothing of the operation itself a repetition.
        let own = events.iter().position(|event| event.identity() == order.identity).unwrap_or_default();
        let stored = self.store.append(tenant, events, delivery.clone(), deadline).await;
        match stored {
            // The same operation was carried out at the same time: its answer is read like any other.
            Ok(answers) if answers.get(own).is_some_and(|answer| answer.duplicate) => Ok(None),
            Err(StoreError::Refused(Refusal::VersionConflict { .. })) => Ok(None),
            Err(error) => Err(JournalError::Store(error)),
            Ok(answers) => {
                self.watchers.wake(&tenant.table, &order.command);
                let command = Command::after(record.command.as_ref(), record.version, facts);
                let Some(command) = command else { return Ok(None) };
                let facts = (record.version + 1..).zip(facts.iter().cloned()).collect();
                Ok(Some(Receipt { command, facts, answers, repeated: false }))
            }
        }
    }

    /// Waits until a command has another version than `seen`, at most this long, and no longer than it
    /// takes for it to end.
    ///
    /// # Errors
    /// [`Busy`] when too many are waiting already.
    pub fn watch(&self, tenant: &Arc<Tenant>, command: &StreamId) -> Result<Watching, Busy> {
        self.watchers.watch(self.store.history(tenant), tenant, command)
    }

    /// The store beneath.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }
}

/// What comes of an operation on what was read, or who stands in its way.
fn judge(record: &Record, order: &Order, now: Timestamp) -> Result<Vec<Fact>, JournalError> {
    decide(record.command.as_ref(), &order.operation, now).map_err(|rule| {
        let holder = match rule {
            Rule::Held { fence, .. } => record.at(fence).and_then(|entry| entry.event.actor.clone()),
            _ => None,
        };
        JournalError::Forbidden { rule, holder }
    })
}

/// The name of a command's stream.
pub fn stream(command: &StreamId) -> StreamName {
    StreamName::new(Category::parse(CATEGORY).expect("the constant is a category"), command.clone())
}

/// Others were faster: a little later, and not all at once.
async fn pause(attempt: u32) {
    let ceiling = PAUSE.0.saturating_mul(1 << attempt.min(10)).min(PAUSE.1);
    let micros = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX).max(2);
    let micros = rand::rng().random_range(micros / 2..=micros);
    sleep(Duration::from_micros(micros)).await;
}

/// An order of our own that only lets due things fall.
fn due_order(command: &StreamId, now: Timestamp) -> Order {
    Order::bare(command.clone(), Operation::FallDue, identity::sweep(command, now))
}

#[cfg(test)]
mod tests;

//! `ingest` and `ingest-poison`: a queue message becomes stored events, and dead letters for what
//! can never be stored. There is no third way: everything else fails the invocation, and the host
//! delivers the message again.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use serde_json::value::RawValue;
use tokio::time::{Duration, Instant};

use super::{App, about::About, commands, dead, turns::OthersTry, wire::QueueMessage};
use crate::{
    domain::{
        cloud_event::DecodeError,
        event::{Expected, NewEvent},
        ids::TenantId,
        known,
        message::{Element, decode_document},
    },
    feed::Feed,
    store::{
        Delivery, StoreError,
        append::{Answer, Refusal},
        dead_letters::DeadLetterError,
        registry::{RegistryError, SYSTEM, Tenant},
    },
};

/// How long an invocation tries to store a message before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// From this delivery on, what we break on becomes a dead letter: the third crash of the handler
/// would stop the host, for everybody.
pub(super) const GIVE_UP: u32 = 5;
/// Code and reason of such a dead letter.
const BROKEN: (&str, &str) = ("internal-error", "the handler failed on this message again and again");

/// Why an invocation fails: always something that may pass.
#[derive(Debug, thiserror::Error)]
pub(super) enum IngestError {
    #[error("an event is not stored ({reason})")]
    Unavailable { reason: String },
    #[error("an event is not stored")]
    OthersTry(#[from] OthersTry),
    #[error("an event expects its stream at a version that it has not reached yet")]
    Early,
    #[error("the registry did not answer")]
    Registry(#[from] RegistryError),
    #[error("a dead letter was not kept")]
    DeadLetter(#[from] DeadLetterError),
    #[error("a tenant's change feed is on, but ANNALS_PUBLIC_URL is not set")]
    NoPublicUrl,
    #[error("an internal error")]
    Broken,
}

/// How a message is treated when it may still become storable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chance {
    /// The queue will deliver it again.
    Another,
    /// It comes from the poison queue: this is its last.
    Last,
}

/// What became of a message.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Feed events to publish.
    pub(super) events: Vec<Box<RawValue>>,
    /// Counts for the log line.
    pub(super) stored: usize,
    pub(super) duplicates: usize,
    pub(super) dead: usize,
    /// What it was about.
    pub(super) about: About,
}

/// Stores every event of a message, each on its own account.
pub(super) async fn ingest(
    app: &App,
    queue: &str,
    message: &QueueMessage,
    chance: Chance,
) -> Result<Outcome, IngestError> {
    let door = Door { app, queue, message, chance, deadline: Instant::now() + PATIENCE };
    let elements = match decode_document(&message.body) {
        Ok(elements) => elements,
        Err(error) => {
            door.bury(None, &message.body, error.code, &error.invalid.to_string()).await?;
            return Ok(Outcome { dead: 1, ..Outcome::default() });
        }
    };
    // All at once: they share commits. In order: the first poll of each queues it.
    let taken = futures::future::join_all(elements.into_iter().map(|element| door.take(element))).await;
    let mut outcome = Outcome::default();
    for one in taken {
        match one? {
            Taken::Dead => outcome.dead += 1,
            Taken::Judged { repeated } => {
                outcome.duplicates += usize::from(repeated);
                outcome.stored += usize::from(!repeated);
            }
            Taken::Stored { tenant, answer, event } => {
                outcome.about.event(&tenant.id, &answer);
                outcome.duplicates += usize::from(answer.duplicate);
                outcome.stored += usize::from(!answer.duplicate);
                outcome.events.extend(event);
            }
        }
    }
    Ok(outcome)
}

/// Keeps a message that broke us, so that it does not do so for ever.
pub(super) async fn bury_whole(app: &App, queue: &str, message: &QueueMessage) -> Result<(), IngestError> {
    let door = Door { app, queue, message, chance: Chance::Last, deadline: Instant::now() + PATIENCE };
    door.bury(None, &message.body, BROKEN.0, BROKEN.1).await
}

impl App {
    /// Whether messages of the queue may be for this tenant.
    pub(crate) fn queue_serves(&self, id: &TenantId) -> bool {
        id.as_str() != SYSTEM && self.queue_tenants.as_ref().is_none_or(|tenants| tenants.contains(id))
    }
}

enum Taken {
    Stored {
        tenant: Arc<Tenant>,
        answer: Box<Answer>,
        event: Option<Box<RawValue>>,
    },
    /// By the command journal, which publishes what it stored by way of its feed debt.
    Judged {
        repeated: bool,
    },
    Dead,
}

struct Door<'a> {
    app: &'a App,
    queue: &'a str,
    message: &'a QueueMessage,
    chance: Chance,
    deadline: Instant,
}

impl Door<'_> {
    /// Takes one element, whatever becomes of the others of its message. A panic is a bug of ours that
    /// this element meets: from some delivery on it becomes a dead letter.
    async fn take(&self, element: Element<'_>) -> Result<Taken, IngestError> {
        let Element { raw, tenant, event } = element;
        let judged = AssertUnwindSafe(self.judge(raw.as_bytes(), tenant.as_ref(), event)).catch_unwind();
        match judged.await {
            Ok(taken) => taken,
            Err(_) if self.chance == Chance::Last || self.message.dequeue_count >= GIVE_UP => {
                // Of no tenant: looking the tenant up may be what we break on.
                self.bury(None, raw.as_bytes(), BROKEN.0, BROKEN.1).await?;
                Ok(Taken::Dead)
            }
            Err(_) => Err(IngestError::Broken),
        }
    }

    async fn judge(
        &self,
        raw: &[u8],
        named: Option<&TenantId>,
        event: Result<NewEvent, DecodeError>,
    ) -> Result<Taken, IngestError> {
        let tenant = self.tenant(named).await?;
        let turn = tenant.as_deref().map(|tenant| self.app.turns.take(&tenant.id)).transpose()?;
        let taken = self.place(raw, named, event, tenant.clone()).await;
        let failed = matches!(taken, Err(IngestError::Unavailable { .. } | IngestError::DeadLetter(_)));
        if let Some(turn) = turn {
            turn.answered(!failed);
        }
        taken
    }

    async fn place(
        &self,
        raw: &[u8],
        named: Option<&TenantId>,
        event: Result<NewEvent, DecodeError>,
        tenant: Option<Arc<Tenant>>,
    ) -> Result<Taken, IngestError> {
        let event = match event {
            Ok(event) => event,
            Err(DecodeError { code, invalid }) => {
                self.bury(tenant.as_deref(), raw, code, &invalid.to_string()).await?;
                return Ok(Taken::Dead);
            }
        };
        let Some(tenant) = tenant else {
            let (code, reason) = match named {
                None => ("no-tenant", "`tenantid` must name the tenant"),
                Some(_) => ("unknown-tenant", "`tenantid` must name a registered tenant"),
            };
            self.bury(None, raw, code, reason).await?;
            return Ok(Taken::Dead);
        };
        if known::is_journal(&event.event_type) {
            return self.ask(&tenant, event, raw).await;
        }
        match self.store(&tenant, event).await? {
            Ok(answer) => {
                let event = self.feed_event(&tenant, &answer)?;
                Ok(Taken::Stored { tenant, answer: Box::new(answer), event })
            }
            Err(grave) => {
                self.bury(Some(&tenant), raw, grave.code, &grave.reason).await?;
                Ok(Taken::Dead)
            }
        }
    }

    /// Lets the journal judge.
    async fn ask(&self, tenant: &Arc<Tenant>, event: NewEvent, raw: &[u8]) -> Result<Taken, IngestError> {
        match commands::ask(self.app, tenant, event, self.chance, self.deadline).await? {
            Ok(receipt) => Ok(Taken::Judged { repeated: receipt.repeated }),
            Err(grave) => {
                self.bury(Some(tenant), raw, grave.code, &grave.reason).await?;
                Ok(Taken::Dead)
            }
        }
    }

    async fn tenant(&self, named: Option<&TenantId>) -> Result<Option<Arc<Tenant>>, IngestError> {
        match named {
            // What the queue may not write to is as unknown to it as what does not exist.
            Some(id) if !self.app.queue_serves(id) => Ok(None),
            Some(id) => Ok(self.app.store.registry().get(id).await?),
            None => Ok(None),
        }
    }

    /// The answer, or the reason for a dead letter.
    async fn store(
        &self,
        tenant: &Arc<Tenant>,
        event: NewEvent,
    ) -> Result<Result<Answer, Grave>, IngestError> {
        let delivery = Delivery::queue(self.message.dequeue_count);
        let stored = self.app.store.append(tenant, vec![event], delivery, self.deadline).await;
        match stored {
            Ok(mut answers) => {
                let missing = || IngestError::Unavailable { reason: "no answer".to_owned() };
                Ok(Ok(answers.pop().ok_or_else(missing)?))
            }
            Err(StoreError::Unavailable { reason }) => Err(IngestError::Unavailable { reason }),
            Err(StoreError::Refused(refusal)) if self.chance == Chance::Another && is_early(&refusal) => {
                Err(IngestError::Early)
            }
            Err(StoreError::Refused(refusal)) => {
                Ok(Err(Grave { code: refusal.code(), reason: refusal.to_string() }))
            }
            Err(error) => Ok(Err(Grave { code: error.code(), reason: error.to_string() })),
        }
    }

    fn feed_event(&self, tenant: &Tenant, answer: &Answer) -> Result<Option<Box<RawValue>>, IngestError> {
        if !tenant.settings.change_feed.enabled {
            return Ok(None);
        }
        let public_url = self.app.public_url.as_ref().ok_or(IngestError::NoPublicUrl)?;
        Ok(Feed { tenant, public_url }.stored(&answer.stored))
    }

    /// Keeps what can never be stored, whole and with its reason.
    async fn bury(
        &self,
        tenant: Option<&Tenant>,
        body: &[u8],
        code: &str,
        reason: &str,
    ) -> Result<(), IngestError> {
        Ok(dead::keep(self.app, tenant, self.queue, self.message, body, code, reason).await?)
    }
}

/// Why a message is given up.
pub(super) struct Grave {
    pub(super) code: &'static str,
    pub(super) reason: String,
}

/// A version above the actual one may only be early: queues invert. One below never comes true.
fn is_early(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::VersionConflict { expected: Expected::Exact(version), actual, .. } => version > actual,
        Refusal::VersionConflict { expected: Expected::StreamExists, .. } => true,
        _ => false,
    }
}

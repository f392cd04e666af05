//! Messages of the command journal: requests that its state machine judges like any other.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    App,
    ingest::{Chance, Grave, IngestError},
};
use crate::{
    domain::{
        command::Rule,
        event::{NewEvent, RecordedBy},
    },
    journal::{self, JournalError, Receipt},
    store::{Delivery, StoreError, registry::Tenant},
};

/// What came of a message, or the reason for a dead letter.
///
/// Its events carry feed debt rather than being published by this invocation: several come of one
/// message, and a repeated delivery does not make them again.
pub(super) async fn ask(
    app: &App,
    tenant: &Arc<Tenant>,
    event: NewEvent,
    chance: Chance,
    deadline: Instant,
) -> Result<Result<Receipt, Grave>, IngestError> {
    let (order, by) = match journal::request(tenant, event) {
        Ok(request) => request,
        Err(no) => return Ok(Err(Grave { code: no.code(), reason: no.to_string() })),
    };
    let delivery = Delivery::direct(by.unwrap_or_else(RecordedBy::queue));
    let error = match app.journal.run(tenant, &order, &delivery, deadline).await {
        Ok(receipt) => return Ok(Ok(receipt)),
        Err(error) => error,
    };
    let code = match &error {
        // Queues invert: the command may be on its way.
        JournalError::Forbidden { rule: Rule::Unknown, .. } if chance == Chance::Another => {
            return Err(IngestError::Early);
        }
        JournalError::Forbidden { rule, .. } => rule.code(),
        JournalError::OperationReused { .. } => "operation-reused",
        JournalError::Store(StoreError::Unavailable { reason }) => {
            return Err(IngestError::Unavailable { reason: reason.clone() });
        }
        JournalError::Store(refused) => {
            return Ok(Err(Grave { code: refused.code(), reason: refused.to_string() }));
        }
        JournalError::History(_) => {
            return Err(IngestError::Unavailable { reason: "the command cannot be read".to_owned() });
        }
    };
    Ok(Err(Grave { code, reason: error.to_string() }))
}

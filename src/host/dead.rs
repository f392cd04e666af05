//! Keeping what can never be stored.

use bytes::Bytes;

use super::{App, wire::QueueMessage};
use crate::store::{
    dead_letters::{DeadLetter, DeadLetterError},
    registry::Tenant,
};

/// Keeps `body`, a message or one element of it, whole and with its reason.
pub(super) async fn keep(
    app: &App,
    tenant: Option<&Tenant>,
    queue: &str,
    message: &QueueMessage,
    body: &[u8],
    code: &str,
    reason: &str,
) -> Result<(), DeadLetterError> {
    let letter = DeadLetter {
        code: code.to_owned(),
        reason: reason.to_owned(),
        time: app.store.clock().now().to_micros(),
        queue: queue.to_owned(),
        message_id: message.id.clone(),
        dequeue_count: message.dequeue_count,
        body: Bytes::copy_from_slice(body),
        replayed: None,
    };
    let id = app.store.dead_letters(tenant).keep(&letter).await?;
    let tenant = tenant.map(|tenant| tenant.id.as_str());
    tracing::warn!(evt = "dead-letter.kept", tenant, code, dead_letter = %id, queue);
    Ok(())
}

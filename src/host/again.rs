//! Publishing again: the batches of a replay.

use super::{
    App,
    functions::Failure,
    ingest::Outcome,
    wire::{QueueMessage, Success},
};
use crate::feed::{
    Feed,
    replay::{self, ReplayMessage},
};

/// Publishes the next batch of a replay.
pub(super) async fn replay(
    app: &App,
    message: &QueueMessage,
    request: &ReplayMessage,
) -> Result<(Success, Outcome), Failure> {
    let Some(tenant) = app.store.registry().get(&request.tenant).await? else {
        return Ok((Success::silent(), Outcome::default()));
    };
    let public_url = app.public_url.as_ref().ok_or(Failure::NoPublicUrl)?;
    let feed = Feed { tenant: &tenant, public_url };
    let queue = (app.queues.as_ref(), &app.publish_queue);
    let again = message.dequeue_count > 1;
    let events = replay::step(&app.store, &feed, &tenant, queue, request, again).await?;
    Ok((Success::silent(), Outcome { events, ..Outcome::default() }))
}

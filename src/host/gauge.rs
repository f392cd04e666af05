//! `gauge`: how things stand, one line a tenant and one a queue, for alerts on levels.
//!
//! An alert on a moment (`instance.faulted`) can miss it: the line may be lost with the process. A
//! level comes back every five minutes. What cannot be read in time is said (`complete`), never
//! guessed: a missing line must not look like a zero.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use rand::seq::SliceRandom;
use tokio::time::{Instant, timeout_at};

use super::App;
use crate::{
    domain::{FAULTED, IN_DOUBT, PENDING_APPROVAL, timestamp::Timestamp},
    queue::{QueueName, QueueState, StateError},
    store::{
        dead_letters::DeadLetterError,
        debts::DebtError,
        history::HistoryError,
        registry::{RegistryError, Tenant},
    },
    telemetry::chain,
};

/// Longest time that one gauge takes. The next one comes after five minutes.
const WHOLE: Duration = Duration::from_secs(50);
/// Tenants read at once: few, beside the traffic.
const AT_ONCE: usize = 8;

/// Why one tenant or queue could not be gauged.
#[derive(Debug, thiserror::Error)]
enum GaugeError {
    #[error("the streams cannot be counted")]
    Attention(#[from] HistoryError),
    #[error("the dead letters cannot be counted")]
    DeadLetters(#[from] DeadLetterError),
    #[error("feed debt cannot be read")]
    Debts(#[from] DebtError),
    #[error("the queue cannot be read")]
    Queue(#[from] StateError),
    #[error("there was no time left")]
    Late,
}

/// Reads every tenant and queue, and says how they stand.
///
/// # Errors
/// [`RegistryError`] when the tenants themselves are not known.
pub(super) async fn gauge(app: &App) -> Result<(), RegistryError> {
    let started = Instant::now();
    let until = started + WHOLE;
    let mut failed = 0;
    let queues = queues(app);
    for (queue, poison) in &queues {
        let read = timeout_at(until, async { Ok(app.queues.state(queue).await?) }).await;
        match read.unwrap_or(Err(GaugeError::Late)) {
            Ok(state) => tell_queue(queue, *poison, state, app.store.clock().now()),
            Err(error) => {
                failed += 1;
                tracing::warn!(evt = "gauge.failed", queue = queue.as_str(), error = chain(&error));
            }
        }
    }
    let mut tenants = app.store.registry().list().await?;
    // Should there ever be too many for the time, it is not always the same ones that miss out.
    tenants.shuffle(&mut rand::rng());
    let count = tenants.len();
    let read = stream::iter(tenants).map(|tenant| async move {
        let read = timeout_at(until, Levels::read(app, &tenant)).await.unwrap_or(Err(GaugeError::Late));
        (tenant, read)
    });
    let mut read = read.buffer_unordered(AT_ONCE);
    while let Some((tenant, read)) = read.next().await {
        match read {
            Ok(levels) => levels.tell(&tenant),
            Err(error) => {
                failed += 1;
                tracing::warn!(evt = "gauge.failed", tenant = %tenant.id, error = chain(&error));
            }
        }
    }
    drop(read);
    match timeout_at(until, app.store.dead_letters(None).waiting()).await {
        Ok(Ok(dead_letters)) => tracing::info!(evt = "gauge.nobody", dead_letters),
        _ => failed += 1,
    }
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (queues, complete) = (queues.len(), failed == 0);
    tracing::info!(evt = "gauge.done", tenants = count, queues, failed, complete, duration_ms);
    Ok(())
}

/// The queues, and whether each is a poison queue.
fn queues(app: &App) -> Vec<(QueueName, bool)> {
    let own = [&app.ingest_queue, &app.publish_queue];
    own.into_iter()
        .flat_map(|queue| [Some((queue.clone(), false)), queue.poison().map(|poison| (poison, true))])
        .flatten()
        .collect()
}

fn tell_queue(queue: &QueueName, poison: bool, state: QueueState, now: Timestamp) {
    let oldest_s = state.oldest.map_or(0, |oldest| now.since(oldest).as_secs());
    tracing::info!(evt = "gauge.queue", queue = queue.as_str(), poison, depth = state.depth, oldest_s);
}

/// How one tenant stands.
#[derive(Debug, Default)]
struct Levels {
    /// Streams that want attention, by what for.
    faulted: u64,
    in_doubt: u64,
    pending_approval: u64,
    /// Dead letters that wait.
    dead_letters: usize,
    /// Commits that wait to be handed to the publish queue, and the age of the oldest.
    feed_owed: usize,
    feed_lag: Duration,
    /// Age of the oldest event that no checkpoint covers; `None` where no checkpoints are made.
    checkpoint_age: Option<Duration>,
    /// False when there were more than are counted.
    counted: bool,
}

impl Levels {
    async fn read(app: &App, tenant: &Arc<Tenant>) -> Result<Self, GaugeError> {
        let (attention, counted) = app.store.history(tenant).attention().await?;
        let level = |status| attention.get(status).copied().unwrap_or_default();
        let mut levels = Self {
            faulted: level(FAULTED),
            in_doubt: level(IN_DOUBT),
            pending_approval: level(PENDING_APPROVAL),
            dead_letters: app.store.dead_letters(Some(tenant)).waiting().await?,
            counted,
            checkpoint_age: app.checkpoints.made().then_some(Duration::ZERO),
            ..Self::default()
        };
        let (debts, now) = (app.store.debts(tenant), app.store.clock().now());
        for partition in tenant.partitions() {
            let owed = debts.oldest(partition).await?;
            levels.feed_owed += owed.len();
            let oldest = owed.iter().map(|(_, recorded)| now.since(*recorded)).max();
            levels.feed_lag = levels.feed_lag.max(oldest.unwrap_or_default());
            if let Some(since) = app.checkpoints.uncovered_since(&app.store, tenant, partition).await? {
                levels.checkpoint_age = levels.checkpoint_age.max(Some(now.since(since)));
            }
        }
        Ok(levels)
    }

    fn tell(&self, tenant: &Tenant) {
        tracing::info!(
            evt = "gauge.tenant",
            tenant = %tenant.id,
            faulted = self.faulted,
            in_doubt = self.in_doubt,
            pending_approval = self.pending_approval,
            dead_letters = self.dead_letters,
            feed_owed = self.feed_owed,
            feed_lag_s = self.feed_lag.as_secs(),
            checkpoint_age_s = self.checkpoint_age.map(|age| age.as_secs()),
            counted = self.counted
        );
    }
}

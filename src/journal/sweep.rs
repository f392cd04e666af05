//! The timer's part: what fell due becomes an event, whoever notices it first.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use tokio::time::Instant;

use super::{Journal, JournalError, due_order};
use crate::{
    domain::{command::CATEGORY, event::RecordedBy, ids::StreamName, timestamp::Timestamp},
    store::{
        Delivery, StoreError,
        history::HistoryError,
        registry::{RegistryError, Tenant},
    },
    telemetry::chain,
};

/// Longest time that one sweep takes. What is left is the next one's work: the rows stay.
const SWEEP: Duration = Duration::from_secs(60);
/// Longest time for one command.
const PATIENCE: Duration = Duration::from_secs(15);
/// Commands at the same time.
const PARALLEL: usize = 8;

/// Why a sweep did not do all it should. The rows are still there.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// Tenants could not be read.
    #[error("the tenants could not be read")]
    Registry(#[from] RegistryError),
    /// Due rows could not be read.
    #[error("what is due could not be read")]
    History(#[from] HistoryError),
    /// Some commands could not be moved on.
    #[error("{0} commands that are due could not be moved on")]
    Some(usize),
}

impl Journal {
    /// Puts on record all that fell due up to `now`, of all tenants, for at most a minute. Doing it
    /// twice, or in two processes at once, is harmless. Gives the number of events.
    ///
    /// # Errors
    /// The last [`SweepError`], after every tenant has had its turn.
    pub async fn sweep(&self, now: Timestamp) -> Result<usize, SweepError> {
        let until = Instant::now() + SWEEP;
        let (mut events, mut failed, mut failure) = (0, 0, None);
        for tenant in self.store().registry().by_lot().await? {
            match self.sweep_tenant(&tenant, now, until).await {
                Ok((done, missed)) => {
                    events += done;
                    failed += missed;
                }
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) => Err(error.into()),
            None if failed > 0 => Err(SweepError::Some(failed)),
            None => Ok(events),
        }
    }

    async fn sweep_tenant(
        &self,
        tenant: &Arc<Tenant>,
        now: Timestamp,
        until: Instant,
    ) -> Result<(usize, usize), HistoryError> {
        let (mut events, mut failed) = (0, 0);
        let dues = self.store().dues(tenant);
        for partition in tenant.partitions() {
            let mut from = None;
            while Instant::now() < until {
                let page = dues.until(partition, now, from).await?;
                let moved: Vec<_> = stream::iter(page.streams)
                    .map(|name| self.move_on(tenant, name, now, until))
                    .buffer_unordered(PARALLEL)
                    .collect()
                    .await;
                for one in moved {
                    match one {
                        Ok(facts) => events += facts,
                        Err(error) => {
                            failed += 1;
                            let error = chain(&error);
                            tracing::warn!(evt = "journal.not-moved-on", tenant = %tenant.id, error);
                        }
                    }
                }
                match page.next {
                    Some(next) => from = Some(next),
                    None => break,
                }
            }
        }
        Ok((events, failed))
    }

    /// Lets fall what is due of one command.
    async fn move_on(
        &self,
        tenant: &Arc<Tenant>,
        name: StreamName,
        now: Timestamp,
        until: Instant,
    ) -> Result<usize, JournalError> {
        if name.category.as_str() != CATEGORY || Instant::now() >= until {
            return Ok(0);
        }
        let delivery = Delivery::direct(RecordedBy::annals());
        let order = due_order(&name.id, now);
        match self.run(tenant, &order, &delivery, Instant::now() + PATIENCE).await {
            Ok(receipt) => Ok(receipt.facts.len()),
            // Somebody edited rows by hand: there is nothing that could fall due.
            Err(JournalError::Forbidden { .. }) => Ok(0),
            // It falls due when the tenant is opened again.
            Err(JournalError::Store(StoreError::Closed)) => Ok(0),
            Err(error) => Err(error),
        }
    }
}

//! What becomes of a group when there is no going on: it waits, it is split, or it is told.

use std::time::Duration;

use rand::Rng;
use tokio::time::{Instant, sleep, timeout_at};

use super::{PAUSE, Pending, line::Next, worker::Worker};
use crate::store::append::{AppendError, Refusal, read::StateError};

impl Worker {
    /// There is no plan. If one append may be to blame, it is looked for: the others must not wait
    /// for a row of its that cannot be read, nor for a bug that it alone meets.
    pub(super) async fn obstructed(&mut self, error: &StateError, mut group: Vec<Pending>) -> Next {
        // Without a head there is no plan for anybody.
        if !error.concerns_one() || self.state.tip().is_none() {
            return self.wait_for(error, group).await;
        }
        tracing::error!(error = crate::telemetry::chain(error), appends = group.len(), "no plan can be made");
        if group.len() > 1 {
            return Next::Split(group);
        }
        let Some(pending) = group.pop() else { return Next::Again(group) };
        let refusal = match error {
            StateError::Planning(_) => Refusal::BatchTooLarge,
            StateError::Panicked => Refusal::NotStorable { code: "internal-error".to_owned() },
            // Rows can be mended: whoever asks again later may have better luck.
            _ => {
                self.failures += 1;
                return Next::Aside(Instant::now() + self.back_off(), pending, group);
            }
        };
        pending.answer(Err(refusal.into()));
        Next::Again(group)
    }

    pub(super) async fn wait_for(&mut self, error: &StateError, group: Vec<Pending>) -> Next {
        tracing::warn!(error = crate::telemetry::chain(error), "the state of a partition is not known");
        self.failures += 1;
        self.pause(error.retry_after(), &group).await;
        Next::Again(group)
    }

    /// Waits as long as storage asked, or backs off; never past the group's last deadline.
    pub(super) async fn pause(&mut self, retry_after: Option<Duration>, group: &[Pending]) {
        let wait = retry_after.unwrap_or_else(|| self.back_off());
        let last = group.iter().map(|pending| pending.deadline).max().unwrap_or_else(Instant::now);
        let _ = timeout_at(last, sleep(wait)).await;
    }

    /// How long to wait after so many failures: doubled with each, with jitter.
    pub(super) fn back_off(&mut self) -> Duration {
        let doubled = PAUSE.0.saturating_mul(1 << self.failures.min(10)).min(PAUSE.1);
        doubled.mul_f64(self.random.random_range(0.5..1.0))
    }
}

/// Answers a whole group with a failure that may pass.
pub(super) fn fail(group: Vec<Pending>, reason: &str) -> Next {
    for pending in group {
        pending.answer(Err(AppendError::Unavailable { reason: reason.to_owned() }));
    }
    Next::Again(Vec::new())
}

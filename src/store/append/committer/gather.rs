//! Between two commits: who has arrived, and who is worth a moment's wait.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::{GROUP, IDLE, TURN, worker::Worker};

/// Longest wait for those who come back, in round trips.
const LINGER: f64 = 0.25;
/// And however slow storage is.
const LONGEST: Duration = Duration::from_millis(20);
/// A wait pays when the group grows by more than this many times the share of a round trip it took.
const PAYS: f64 = 2.0;
/// Rounds without a wait after one that did not pay.
const HURRIED: u32 = 16;

impl Worker {
    /// Takes what has arrived, and waits when nobody's turn is now; false when it is time to end.
    pub(super) async fn gather(&mut self) -> bool {
        if !self.line.is_ready() {
            let idle = Instant::now();
            let until = self.line.next_turn().unwrap_or_else(|| Instant::now() + IDLE);
            match timeout_at(until, self.arrivals.recv()).await {
                Ok(Some(pending)) => self.line.join(pending),
                Ok(None) => sleep_until(self.line.next_turn().unwrap_or_else(Instant::now)).await,
                // From here nobody can send; what came in just before is still served.
                Err(_) if self.line.is_empty() => self.arrivals.close(),
                Err(_) => {}
            }
            if idle.elapsed() >= self.round_trip.mul_f64(TURN) {
                self.rested = Instant::now();
            }
        }
        self.take_arrivals();
        self.linger().await;
        !self.line.is_empty()
    }

    /// Puts everybody who has arrived into the line.
    pub(super) fn take_arrivals(&mut self) {
        while let Ok(pending) = self.arrivals.try_recv() {
            self.line.join(pending);
        }
    }

    /// Waits a moment for those who have just been answered to come back. Senders that each wait
    /// for their answer fall into two groups which take turns, and pay for two round trips where
    /// one would do. Whoever does not come back costs one short wait in seventeen rounds.
    async fn linger(&mut self) {
        let (wanted, before) = (std::mem::take(&mut self.wanted).min(GROUP), self.line.waiting());
        if before == 0 || before >= wanted {
            return;
        }
        if self.hurried > 0 {
            self.hurried -= 1;
            return;
        }
        let started = Instant::now();
        let until = started + self.round_trip.mul_f64(LINGER).min(LONGEST);
        while self.line.waiting() < wanted {
            let Ok(Some(pending)) = timeout_at(until, self.arrivals.recv()).await else { break };
            self.line.join(pending);
        }
        let cost = started.elapsed().as_secs_f64() / self.round_trip.as_secs_f64().max(f64::MIN_POSITIVE);
        let gain = (self.line.waiting() - before) as f64 / before as f64;
        if gain < PAYS * cost {
            self.hurried = HURRIED;
        }
    }
}

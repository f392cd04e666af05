//! Between two commits: who has arrived, and who is worth a moment's wait.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::{GROUP, IDLE, TURN, worker::Worker};
use crate::store::append::rule::Rule;

/// Longest wait for those who come back, in round trips.
const LINGER: f64 = 0.25;
/// And however slow storage is.
const LONGEST: Duration = Duration::from_millis(20);
/// A wait pays when the group grows by more than this many times the share of a round trip it took.
const PAYS: f64 = 2.0;
/// Most rounds without a wait after one that did not pay.
const HURRIED: u32 = 16;

/// How long those who have just been answered are waited for, from how it went before.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// How many there could be in the next group, once they come back.
    wanted: usize,
    /// The most that there ever were since the last pause.
    most: usize,
    /// How many filled the last batch, if it was full: more than a few more are not worth a wait.
    filled: Option<usize>,
    /// Rounds that go on without waiting: the last wait was not worth it.
    hurried: u32,
    /// Waits in a row that were not worth it.
    vain: u32,
}

impl Patience {
    /// So many more could be in the next group.
    pub(super) fn expect(&mut self, appends: usize) {
        self.wanted += appends;
    }

    /// The batch that is being sent holds so many, and no more went into it; `None` when all did.
    pub(super) fn filled(&mut self, appends: Option<usize>) {
        self.filled = appends;
    }

    /// How many are worth a wait while `waiting` are there; the round begins.
    fn worth(&mut self, waiting: usize) -> Option<usize> {
        let room = self.filled.map_or(GROUP, |appends| appends + appends.div_ceil(8));
        let all = std::mem::take(&mut self.wanted);
        self.most = self.most.max(all);
        let wanted = all.min(room).min(GROUP);
        if waiting == 0 || waiting >= wanted {
            return None;
        }
        let hurried = self.hurried > 0;
        self.hurried = self.hurried.saturating_sub(1);
        (!hurried).then_some(wanted)
    }

    /// A pause is over: how many there were before it, at most. From here they are counted anew.
    fn crowd(&mut self) -> usize {
        std::mem::take(&mut self.most).max(std::mem::take(&mut self.wanted))
    }

    /// A wait of `cost` round trips made the group grow by `gain` times its size. Each wait in vain
    /// puts the next one off twice as long: a crowd that has gone says little of the next one.
    fn learn(&mut self, cost: f64, gain: f64) {
        if gain >= PAYS * cost {
            self.vain = 0;
        } else {
            self.hurried = (1 << self.vain.min(HURRIED.ilog2())).min(HURRIED);
            self.vain = self.vain.saturating_add(1);
        }
    }
}

impl Worker {
    /// Takes what has arrived, and waits when nobody's turn is now; false when it is time to end.
    pub(super) async fn gather(&mut self) -> bool {
        let begins = !self.line.is_ready();
        if begins {
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
        self.linger(begins).await;
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
    /// one would do. Where nobody comes back, one short wait in seventeen rounds is the cost.
    ///
    /// The first after a pause waits as well where there was a crowd before it: or it would have a round trip
    /// for itself, and all the others would wait for it.
    async fn linger(&mut self, begins: bool) {
        let before = self.line.waiting();
        let patience = if begins {
            self.crowd.expect(self.patience.crowd());
            &mut self.crowd
        } else {
            &mut self.patience
        };
        let Some(wanted) = patience.worth(before) else { return };
        if !Rule::CrowdsShare.holds() {
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
        patience.learn(cost, gain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many rounds go by until the next wait.
    fn hurry(patience: &mut Patience) -> usize {
        let mut rounds = 0;
        loop {
            patience.expect(32);
            if patience.worth(8).is_some() {
                return rounds;
            }
            rounds += 1;
        }
    }

    #[test]
    fn each_wait_in_vain_puts_the_next_one_off_twice_as_long_and_one_that_pays_forgets_them() {
        let mut patience = Patience::default();
        assert_eq!(hurry(&mut patience), 0);
        for rounds in [1, 2, 4, 8, 16, 16, 16] {
            patience.learn(0.25, 0.0);
            assert_eq!(hurry(&mut patience), rounds);
        }
        patience.learn(0.25, 3.0);
        assert_eq!(hurry(&mut patience), 0);
        patience.learn(0.25, 0.4);
        assert_eq!(hurry(&mut patience), 1);
    }

    #[test]
    fn nobody_is_waited_for_when_all_are_there_or_none_is() {
        let mut patience = Patience::default();
        for waiting in [0, 32, 40] {
            patience.expect(32);
            assert_eq!(patience.worth(waiting), None);
        }
        assert_eq!(patience.worth(8), None, "nobody is expected");
        patience.expect(2 * GROUP);
        assert_eq!(patience.worth(8), Some(GROUP), "more never fit");
    }

    #[test]
    fn nobody_is_waited_for_who_would_not_fit() {
        let mut patience = Patience::default();
        patience.filled(Some(23));
        patience.expect(32);
        assert_eq!(patience.worth(9), Some(26));
        patience.expect(32);
        assert_eq!(patience.worth(26), None, "the batch is full without the others");
        patience.filled(None);
        patience.expect(32);
        assert_eq!(patience.worth(26), Some(32));
    }

    #[test]
    fn after_a_pause_as_many_may_come_as_there_were_before_it() {
        let mut patience = Patience::default();
        for all in [3, 32, 8] {
            patience.expect(all);
            patience.worth(1);
        }
        patience.expect(2);
        assert_eq!(patience.crowd(), 32);
        assert_eq!(patience.crowd(), 0);
        patience.expect(1);
        assert_eq!(patience.crowd(), 1, "one who is always alone waits for nobody");
    }
}

//! One line while storage asks us to slow down, however often it does.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::fault::Fault;

/// Time between two lines.
const QUIET: Duration = Duration::from_secs(10);

/// Counts the answers "not so fast", and says so at most every ten seconds.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    answers: u64,
    told: Option<Instant>,
}

impl Throttle {
    /// Notes what the service said.
    pub(super) fn note(&self, fault: &Fault) {
        let Fault::Answer { status: 429 | 503, code, .. } = fault else { return };
        // Nothing in here panics half-way.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.answers += 1;
        if state.told.is_none_or(|told| told.elapsed() >= QUIET) {
            tracing::warn!(evt = "storage.throttled", answers = state.answers, code);
            *state = State { answers: 0, told: Some(Instant::now()) };
        }
    }
}

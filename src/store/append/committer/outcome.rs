//! The outcome: what became of a batch, and which belief to correct when it failed.

use rand::Rng;
use tokio::time::{Instant, sleep, timeout};

use super::{
    ALONE, CONTESTED, LONGEST_REST, MOST_TURNS, PAUSE, Pending, SHARE, TURN,
    line::Next,
    obstacle::fail,
    worker::{Placed, Worker},
};
use crate::store::{
    append::{
        Refusal, amend,
        plan::Write,
        read::{STORAGE_TIMEOUT, StateError, Tip},
        rule::Rule,
    },
    table::{CommitError, Op},
};

/// Conflicts in a row that may each teach us something before we pause all the same.
const LESSONS: u32 = 8;

impl Worker {
    pub(super) async fn commit(
        &mut self,
        write: Write,
        attempt: &str,
        placed: Placed,
        rest: Vec<Pending>,
    ) -> Next {
        let (ticket, started) = (self.line.last_ticket(), Instant::now());
        let sent = self.context.table.commit(&self.context.name, &write.batch);
        let outcome = timeout(STORAGE_TIMEOUT, sent).await.unwrap_or_else(|_| {
            Err(CommitError::Unknown { reason: "no answer in time".to_owned(), retry_after: None })
        });
        match outcome {
            Ok(Some(etag)) => {
                let took = started.elapsed();
                self.round_trip =
                    if self.round_trip.is_zero() { took } else { (self.round_trip * 7 + took) / 8 };
                self.proven = self.proven.max(ticket);
                self.state.committed(Tip { head: write.head, etag }, write.streams);
                self.settled(placed, write.head.last, write.debt);
                self.patience.expect(rest.len());
                self.let_others_in().await;
                Next::Again(rest)
            }
            Ok(None) => {
                let error =
                    CommitError::Unknown { reason: "no version of the head".to_owned(), retry_after: None };
                self.failed(&error, write, attempt, placed, rest).await
            }
            Err(error) => self.failed(&error, write, attempt, placed, rest).await,
        }
    }

    /// Answers everyone whose events are committed.
    fn settled(&mut self, placed: Placed, last: u64, debt: bool) {
        self.failures = 0;
        self.strikes = 0;
        self.gone.clear();
        self.take_arrivals();
        self.patience.expect(self.line.waiting() + placed.len());
        if debt {
            self.context.debtor.owed(self.context.partition, last);
        }
        for (pending, answers) in placed {
            for amendment in &pending.append.amendments {
                self.state.forget_event(&amendment.identity);
            }
            for (identity, answer) in pending.identities().zip(&answers) {
                self.state.remember(identity, answer.stored.clone());
            }
            pending.answer(Ok(answers));
        }
    }

    /// A winner that lost a race lately rests for one or two round trips for each process that wants
    /// a turn, so that those who have to read before they can try again get one. (Back-off on the
    /// loser starves it: see ADR 0008.) One that always wins never hears of the others: it lets them
    /// in now and then all the same.
    async fn let_others_in(&mut self) {
        let others = std::mem::take(&mut self.foreign).clamp(1, MOST_TURNS);
        if !Rule::WinnerRests.holds() {
            return;
        }
        let contested = self.contested.is_some_and(|at| at.elapsed() < CONTESTED);
        let round_trips = match contested {
            true => self.random.random_range(1.0..2.0) * others as f64,
            false if self.rested.elapsed() >= ALONE.max(self.round_trip.mul_f64(TURN * SHARE)) => TURN,
            false => return,
        };
        sleep(self.round_trip.mul_f64(round_trips).min(LONGEST_REST)).await;
        self.rested = Instant::now();
    }

    /// Finds out what became of a batch that was not plainly committed, and what to do next.
    async fn failed(
        &mut self,
        error: &CommitError,
        write: Write,
        attempt: &str,
        placed: Placed,
        rest: Vec<Pending>,
    ) -> Next {
        self.failures += 1;
        match error {
            CommitError::NoTable => {
                tracing::error!(table = %self.context.name, "the tenant's table is missing");
                return fail(rejoin(placed, rest), "the tenant's table is missing");
            }
            CommitError::Refused { code } => return refused(code, placed, rest),
            CommitError::Denied { code, retry_after } => {
                tracing::warn!(code, "storage did not take a commit");
                let group = rejoin(placed, rest);
                self.pause(*retry_after, &group).await;
                return Next::Again(group);
            }
            CommitError::Changed { .. } => {}
            CommitError::Exists { .. } | CommitError::Missing { .. } => self.strikes += 1,
            CommitError::Unknown { reason, retry_after } => {
                tracing::warn!(reason, "the outcome of a commit is unknown");
                self.strikes += 1;
                if let Some(wait) = retry_after {
                    sleep((*wait).min(PAUSE.1)).await;
                }
            }
        }
        let before = self.state.tip().map(|tip| tip.head.last);
        match self.look_for(&write, attempt).await {
            Err(state_error) => self.wait_for(&state_error, rejoin(placed, rest)).await,
            Ok(true) => {
                self.settled(placed, write.head.last, write.debt);
                Next::Again(rest)
            }
            Ok(false) => {
                let moved = before != self.state.tip().map(|tip| tip.head.last);
                self.not_ours(error, &write, moved, placed, rest).await
            }
        }
    }

    /// Looks for the commit of this attempt; only its attempt id proves that it is ours.
    async fn look_for(&mut self, write: &Write, attempt: &str) -> Result<bool, StateError> {
        let commits = self.refresh().await?;
        if Rule::AttemptId.holds() {
            Ok(commits.iter().any(|commit| commit.attempt == attempt))
        } else {
            Ok(self.state.tip().is_some_and(|tip| tip.head.last >= write.head.last))
        }
    }

    /// The batch is not in the log (yet): corrects the belief that failed, and tries again.
    async fn not_ours(
        &mut self,
        error: &CommitError,
        write: &Write,
        moved: bool,
        mut placed: Placed,
        rest: Vec<Pending>,
    ) -> Next {
        // Whatever row the conflict named: somebody was faster.
        if moved {
            self.strikes = 0;
            self.contested = Some(Instant::now());
        } else if matches!(error, CommitError::Changed { .. }) {
            // Storage may name no row, and then nothing is learned: not again and again without a pause.
            self.strikes += 1;
        }
        let key = |index: Option<usize>| index.and_then(|i| write.batch.ops().get(i)).map(Op::key);
        if let CommitError::Changed { index } = error {
            let key = key(*index);
            let stale = |(pending, _): &mut (Pending, _)| amend::is_stale(&pending.append, key, moved);
            for (pending, _) in placed.extract_if(.., stale) {
                pending.answer(Err(Refusal::AmendmentStale.into()));
            }
        }
        let learned = match error {
            CommitError::Exists { index } => self.correct(key(*index), &mut placed),
            // A row that a foreign commit took away says nothing of the next plan.
            CommitError::Missing { index } if !moved => {
                let new = key(*index).filter(|key| !self.gone.iter().any(|gone| gone == key));
                self.gone.extend(new.map(str::to_owned));
                new.is_some()
            }
            CommitError::Unknown { .. } if self.strikes >= 2 => return self.doubt(placed, rest),
            _ => false,
        };
        let group = rejoin(placed, rest);
        // A conflict that taught us something is no fault: repeated deliveries meet one every time.
        if self.strikes >= if learned { LESSONS } else { 2 } {
            self.pause(None, &group).await;
        }
        Next::Again(group)
    }

    /// The batch failed twice without a word, and the head has not moved: storage may choke on one
    /// of the appends. The one that fails alone goes on failing alone.
    fn doubt(&mut self, placed: Placed, rest: Vec<Pending>) -> Next {
        self.strikes = 0;
        if placed.len() != 1 {
            return Next::Split(rejoin(placed, rest));
        }
        let mut group = rejoin(placed, rest);
        let rest = group.split_off(1);
        let until = Instant::now() + self.back_off();
        group.pop().map_or(Next::Again(Vec::new()), |suspect| Next::Aside(until, suspect, rest))
    }

    /// A row exists that the plan took for new: the key tells which belief was false. False when
    /// that belief had been corrected before.
    fn correct(&mut self, key: Option<&str>, placed: &mut Placed) -> bool {
        let mut learned = false;
        let (identity, stream) = match key.and_then(|key| key.split('|').next()) {
            Some("i") => (true, false),
            Some("e" | "s") => (false, true),
            _ => (true, true),
        };
        for (pending, _) in placed.iter_mut() {
            if identity {
                learned |= !std::mem::replace(&mut pending.look_up, true);
            }
            if stream {
                learned |= !std::mem::replace(&mut pending.certain, true);
                pending.append.events.iter().for_each(|candidate| self.state.evict(&candidate.stream));
            }
        }
        learned
    }
}

pub(super) fn rejoin(placed: Placed, rest: Vec<Pending>) -> Vec<Pending> {
    placed.into_iter().map(|(pending, _)| pending).chain(rest).collect()
}

/// Storage calls the batch wrong: only an append that fails alone is refused.
fn refused(code: &str, mut placed: Placed, rest: Vec<Pending>) -> Next {
    if placed.len() > 1 {
        return Next::Split(rejoin(placed, rest));
    }
    if let Some((pending, _)) = placed.pop() {
        tracing::error!(code, "storage refused an append on its own");
        pending.answer(Err(Refusal::NotStorable { code: code.to_owned() }.into()));
    }
    Next::Again(rest)
}

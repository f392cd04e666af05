//! The round: gather, look, plan, and give every answer that is final.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{CommitterContext, GROUP, IDLE, MAX_SKEW, PAUSE, Pending};
use crate::{
    domain::{
        event::Expected,
        ids::{Identity, StreamName},
    },
    store::{
        append::{
            Answer, AppendError, Refusal, Stored,
            plan::{self, Plan, Verdict, View},
            rule::Rule,
            state::{State, StateError},
        },
        rows::{Commit, Stream},
        table::BatchError,
    },
};

/// What to do with the appends of a round that have no answer yet.
pub(super) enum Next {
    /// Try them again, together.
    Again(Vec<Pending>),
    /// One of them may be what storage chokes on: try each half alone.
    Split(Vec<Pending>),
}

/// Appends that stand in a batch, with the answers that they get once it is committed.
pub(super) type Placed = Vec<(Pending, Vec<Answer>)>;

pub(super) struct Worker {
    pub(super) context: CommitterContext,
    pub(super) arrivals: mpsc::Receiver<Pending>,
    pub(super) state: State,
    /// Appends that wait, oldest first.
    pub(super) queue: VecDeque<Pending>,
    /// Groups kept apart while a bad append is looked for, the next one last.
    pub(super) apart: Vec<Vec<Pending>>,
    pub(super) tickets: u64,
    /// Beliefs have been proved by a look at storage that began after this ticket was given.
    pub(super) proven: u64,
    /// When another process last moved the head under us.
    pub(super) contested: Option<Instant>,
    /// Mean duration of a commit.
    pub(super) round_trip: Duration,
    /// Failures since the last success.
    pub(super) failures: u32,
    /// Unknown outcomes, or conflicts, since the head last moved.
    pub(super) strikes: u32,
    /// Attention rows that turned out not to exist.
    pub(super) gone: Vec<String>,
    pub(super) random: SmallRng,
}

impl Worker {
    pub(super) fn new(context: CommitterContext, arrivals: mpsc::Receiver<Pending>) -> Self {
        let state = State::new(Arc::clone(&context.table), context.name.clone(), context.partition);
        let random = SmallRng::from_seed(context.seed);
        Self {
            context,
            arrivals,
            state,
            queue: VecDeque::new(),
            apart: Vec::new(),
            tickets: 0,
            proven: 0,
            contested: None,
            round_trip: Duration::ZERO,
            failures: 0,
            strikes: 0,
            gone: Vec::new(),
            random,
        }
    }

    pub(super) async fn run(mut self) {
        while self.gather().await {
            let group = match self.apart.pop() {
                Some(group) => group,
                None => self.queue.drain(..self.queue.len().min(GROUP)).collect(),
            };
            let alone = !self.apart.is_empty();
            match self.round(group).await {
                Next::Again(group) if alone && !group.is_empty() => self.apart.push(group),
                Next::Again(group) => {
                    group.into_iter().rev().for_each(|pending| self.queue.push_front(pending))
                }
                Next::Split(mut group) => {
                    let second = group.split_off(group.len() / 2);
                    self.apart.push(second);
                    self.apart.push(group);
                }
            }
        }
    }

    /// Takes what has arrived, and waits when there is nothing; false when it is time to end.
    async fn gather(&mut self) -> bool {
        if self.queue.is_empty() && self.apart.is_empty() {
            match timeout(IDLE, self.arrivals.recv()).await {
                Ok(Some(pending)) => self.take(pending),
                Ok(None) => return false,
                // From here nobody can send; what came in just before is still served.
                Err(_) => self.arrivals.close(),
            }
        }
        while let Ok(pending) = self.arrivals.try_recv() {
            self.take(pending);
        }
        !(self.queue.is_empty() && self.apart.is_empty())
    }

    fn take(&mut self, mut pending: Pending) {
        self.tickets += 1;
        pending.ticket = self.tickets;
        self.queue.push_back(pending);
    }

    /// One plan and one commit for as many of the group as fit.
    async fn round(&mut self, group: Vec<Pending>) -> Next {
        let mut group = living(group);
        if group.is_empty() {
            return Next::Again(group);
        }
        if self.context.table.clock_skew() > MAX_SKEW {
            tracing::error!(
                "this machine's clock is more than 5 s off the storage service's: nothing is committed"
            );
            return fail(group, "the clock is wrong");
        }
        let (plan, attempt) = match self.plan(&mut group).await {
            Ok(planned) => planned,
            Err(StateError::Planning(error)) => return unplannable(&error, group),
            Err(error) => return self.wait_for(&error, group).await,
        };
        let (placed, rest, unproven) = self.deliver(plan.verdicts, group);
        let Some(write) = plan.write else {
            if unproven
                && let Err(error) = self.refresh().await {
                    return self.wait_for(&error, rest).await;
                }
            return Next::Again(rest);
        };
        self.commit(write, &attempt, placed, rest).await
    }

    /// Gathers all that a plan rests on, and plans.
    async fn plan(&mut self, group: &mut [Pending]) -> Result<(Plan, String), StateError> {
        if self.state.tip().is_none() {
            self.refresh().await?;
        }
        let known = self.known(group).await?;
        let streams = self.streams(group, &known).await?;
        let attempt = hex::encode(self.random.random::<[u8; 16]>());
        let tip = self.state.tip().ok_or(StateError::Unsettled)?;
        let view = View {
            partition: self.context.partition,
            head: &tip.head,
            head_etag: &tip.etag,
            streams: &streams,
            known: &known,
            gone: &self.gone,
            now: self.context.clock.now(),
            attempt: &attempt,
        };
        let plan = plan::plan(&view, group.iter().map(|pending| &pending.append));
        Ok((plan.map_err(StateError::Planning)?, attempt))
    }

    /// Which identities of the group are stored: from memory, and from storage where that is due.
    async fn known(&mut self, group: &mut [Pending]) -> Result<HashMap<Identity, Stored>, StateError> {
        let mut known = HashMap::new();
        let mut unseen = BTreeSet::new();
        for pending in group.iter() {
            for candidate in &pending.append.events {
                let identity = candidate.event.identity();
                match self.state.recall(&identity) {
                    // A refusal never rests on memory: the event may have been erased since.
                    Some(stored) if pending.looked_up || candidate.agrees_with(&stored) => {
                        known.insert(identity, stored);
                    }
                    Some(_) => drop(unseen.insert(identity)),
                    None if pending.append.redelivered && !pending.looked_up => drop(unseen.insert(identity)),
                    None => {}
                }
            }
        }
        let found = self.state.look_up(unseen.into_iter().collect()).await?;
        for pending in group.iter_mut().filter(|pending| pending.append.redelivered) {
            pending.looked_up = true;
        }
        known.extend(found);
        Ok(known)
    }

    /// The streams that the group touches.
    async fn streams(
        &mut self,
        group: &[Pending],
        known: &HashMap<Identity, Stored>,
    ) -> Result<HashMap<StreamName, Stream>, StateError> {
        let mut names = BTreeSet::new();
        for pending in group {
            for candidate in &pending.append.events {
                // What the type calls new is inserted, and a conflict tells if it was not.
                let new = candidate.event.starts_stream
                    && !pending.certain
                    && matches!(candidate.event.expected, Expected::Any | Expected::NoStream);
                if known.contains_key(&candidate.event.identity())
                    || (new && !self.state.knows(&candidate.stream))
                {
                    continue;
                }
                names.insert(candidate.stream.clone());
            }
        }
        self.state.load_streams(names).await
    }

    /// Gives every verdict that is final; sorts the rest into what is placed and what goes on.
    /// The flag tells that a refusal waits for a look at storage.
    fn deliver(&self, verdicts: Vec<Verdict>, group: Vec<Pending>) -> (Placed, Vec<Pending>, bool) {
        let (mut placed, mut rest, mut unproven) = (Placed::new(), Vec::new(), false);
        let mut verdicts = verdicts.into_iter();
        for mut pending in group {
            match verdicts.next() {
                Some(Verdict::Known(answers)) => pending.answer(Ok(answers)),
                Some(Verdict::Placed(answers)) => placed.push((pending, answers)),
                Some(Verdict::Refused(refusal)) if self.may_refuse(&pending, &refusal) => {
                    pending.answer(Err(refusal.into()));
                }
                Some(Verdict::Refused(_)) => {
                    pending.append.redelivered = true;
                    pending.certain = true;
                    unproven = true;
                    rest.push(pending);
                }
                Some(Verdict::Wait) | None => rest.push(pending),
            }
        }
        (placed, rest, unproven)
    }

    /// A refusal that rests on beliefs is given only after a look at storage that began after the
    /// append arrived, and only once its identities were looked up: it may be a retry of itself.
    fn may_refuse(&self, pending: &Pending, refusal: &Refusal) -> bool {
        match refusal {
            Refusal::VersionConflict { .. } | Refusal::IdentityReused { .. } => {
                let identity_first = pending.looked_up || !Rule::IdentityFirst.holds();
                identity_first && pending.ticket <= self.proven
            }
            Refusal::IdentityRepeated { .. } | Refusal::BatchTooLarge | Refusal::NotStorable { .. } => true,
        }
    }

    /// [`State::refresh`], counted as proof for everything that has arrived before it began.
    pub(super) async fn refresh(&mut self) -> Result<Vec<Commit>, StateError> {
        let ticket = self.tickets;
        let commits = self.state.refresh().await?;
        self.proven = self.proven.max(ticket);
        Ok(commits)
    }

    pub(super) async fn wait_for(&mut self, error: &StateError, group: Vec<Pending>) -> Next {
        tracing::warn!(error = crate::telemetry::chain(error), "the state of a partition is not known");
        self.failures += 1;
        self.pause(error.retry_after(), group).await
    }

    /// Waits with jitter, longer after each failure, and never past the last deadline.
    pub(super) async fn pause(&mut self, retry_after: Option<Duration>, group: Vec<Pending>) -> Next {
        let doubled = PAUSE.0.saturating_mul(1 << self.failures.min(10)).min(PAUSE.1);
        let wait = retry_after.unwrap_or_else(|| doubled.mul_f64(self.random.random_range(0.5..1.0)));
        let last = group.iter().map(|pending| pending.deadline).max().unwrap_or_else(Instant::now);
        let _ = timeout_at(last, sleep(wait)).await;
        Next::Again(group)
    }
}

/// Drops the appends that nobody waits for any more.
fn living(group: Vec<Pending>) -> Vec<Pending> {
    let now = Instant::now();
    group.into_iter().filter(|pending| now < pending.deadline && !pending.reply.is_closed()).collect()
}

/// The batch would break the service's limits after all: as when the service had said so.
fn unplannable(error: &BatchError, mut group: Vec<Pending>) -> Next {
    tracing::error!(%error, "a plan broke the limits of a batch");
    if group.len() > 1 {
        return Next::Split(group);
    }
    if let Some(pending) = group.pop() {
        pending.answer(Err(Refusal::BatchTooLarge.into()));
    }
    Next::Again(group)
}

/// Answers a whole group with a failure that may pass.
pub(super) fn fail(group: Vec<Pending>, reason: &str) -> Next {
    for pending in group {
        pending.answer(Err(AppendError::Unavailable { reason: reason.to_owned() }));
    }
    Next::Again(Vec::new())
}

//! The round: gather, look, plan, and give every answer that is final.

use std::{
    collections::{BTreeSet, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::{sync::mpsc, time::Instant};

use super::{
    CommitterContext, MAX_SKEW, Pending,
    gather::Patience,
    line::{Line, Next},
    obstacle::fail,
    outcome::rejoin,
};
use crate::{
    domain::{
        event::Expected,
        ids::{Identity, StreamName},
    },
    store::{
        append::{
            Answer, Refusal, Stored,
            plan::{self, Plan, StreamNow, Verdict, View},
            read::StateError,
            rule::Rule,
            state::State,
        },
        rows::Commit,
    },
};

/// A plan and what it was made from.
struct Planned {
    plan: Plan,
    attempt: String,
    known: HashMap<Identity, Stored>,
}

/// The appends of a round by what comes next.
#[derive(Default)]
struct Sorted {
    placed: Placed,
    rest: Vec<Pending>,
    refused: Vec<(Pending, Refusal)>,
    /// A refusal waits for a look at storage.
    unproven: bool,
    /// Not all of the group went into the batch.
    full: bool,
}

/// Appends that stand in a batch, with the answers that they get once it is committed.
pub(super) type Placed = Vec<(Pending, Vec<Answer>)>;

pub(super) struct Worker {
    pub(super) context: CommitterContext,
    pub(super) arrivals: mpsc::Receiver<Pending>,
    pub(super) state: State,
    pub(super) line: Line,
    /// Beliefs have been proved by a look at storage that began after this ticket was given.
    pub(super) proven: u64,
    /// When another process last moved the head under us.
    pub(super) contested: Option<Instant>,
    /// Commits of other processes since our own last one: how many of them want a turn.
    pub(super) foreign: usize,
    /// When this process last left room for others.
    pub(super) rested: Instant,
    /// Mean duration of a commit.
    pub(super) round_trip: Duration,
    /// Failures since the last success.
    pub(super) failures: u32,
    /// Unknown outcomes and conflicts since the head last moved.
    pub(super) strikes: u32,
    /// Whether those who were just answered are worth a wait.
    pub(super) patience: Patience,
    /// Whether those who may come with the first one after a pause are.
    pub(super) crowd: Patience,
    /// Rows to overwrite or delete that turned out not to exist, as long as the head stays where it is.
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
            line: Line::default(),
            proven: 0,
            contested: None,
            foreign: 0,
            rested: Instant::now(),
            round_trip: Duration::ZERO,
            failures: 0,
            strikes: 0,
            patience: Patience::default(),
            crowd: Patience::default(),
            gone: Vec::new(),
            random,
        }
    }

    pub(super) async fn run(mut self) {
        while self.gather().await {
            let group = self.line.next();
            let next = self.round(group).await;
            self.line.back(next);
        }
    }

    /// One plan and one commit for as many of the group as fit.
    async fn round(&mut self, group: Vec<Pending>) -> Next {
        let mut group = living(group);
        if group.is_empty() {
            return Next::Again(group);
        }
        if self.context.table.clock_skew() > MAX_SKEW {
            // Only another answer of the service's can tell that the clock has been set right.
            let _ = self.refresh().await;
        }
        if self.context.table.clock_skew() > MAX_SKEW {
            tracing::error!(
                "this machine's clock is more than 5 s off the storage service's: nothing is committed"
            );
            return fail(group, "the clock is wrong");
        }
        let Planned { plan, attempt, known } = match self.plan(&mut group).await {
            Ok(planned) => planned,
            Err(error) => return self.obstructed(&error, group).await,
        };
        // Recognising a repeated delivery is progress: its conflict was no fault.
        if plan.verdicts.iter().any(|verdict| matches!(verdict, Verdict::Known(_))) {
            self.strikes = 0;
            self.failures = 0;
        }
        let Sorted { placed, mut rest, refused, unproven, full } = self.sort(plan.verdicts, group);
        self.patience.filled(full.then_some(placed.len()));
        let confirmed = match self.confirm(&refused, &known).await {
            Ok(confirmed) => confirmed,
            Err(error) => {
                rest.extend(refused.into_iter().map(|(pending, _)| pending));
                return self.obstructed(&error, rejoin(placed, rest)).await;
            }
        };
        for ((pending, refusal), confirmed) in refused.into_iter().zip(confirmed) {
            if confirmed { pending.answer(Err(refusal.into())) } else { rest.push(pending) }
        }
        let Some(write) = plan.write else {
            if unproven && let Err(error) = self.refresh().await {
                return self.wait_for(&error, rest).await;
            }
            return Next::Again(rest);
        };
        self.commit(write, &attempt, placed, rest).await
    }

    /// Gathers all that a plan rests on, and plans.
    async fn plan(&mut self, group: &mut [Pending]) -> Result<Planned, StateError> {
        if self.state.tip().is_none() {
            self.refresh().await?;
        }
        let known = self.known(group).await?;
        let streams = self.streams(group, &known).await?;
        let attempt = hex::encode(self.random.random::<[u8; 16]>());
        let tip = self.state.tip().ok_or(StateError::Unsettled)?;
        // A panic is a bug of ours on one append: it must not end the committer of all the others.
        // Nothing is written in here, so nothing is left half-done.
        let plan = catch_unwind(AssertUnwindSafe(|| {
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
            plan::plan(&view, group.iter().map(|pending| &pending.append))
        }));
        let plan = plan.map_err(|_| StateError::Panicked)??;
        Ok(Planned { plan, attempt, known })
    }

    /// Which identities of the group are stored: from memory, and from storage where that is due.
    async fn known(&mut self, group: &mut [Pending]) -> Result<HashMap<Identity, Stored>, StateError> {
        let mut known = HashMap::new();
        let mut unseen = BTreeSet::new();
        for pending in group.iter() {
            for identity in pending.identities() {
                match self.state.recall(&identity) {
                    Some(stored) => drop(known.insert(identity, stored)),
                    None if pending.look_up => drop(unseen.insert(identity)),
                    None => {}
                }
            }
        }
        let looked_up = self.state.look_up(unseen).await;
        // Over a bad way, each try has less to look up than the one before.
        for pending in group.iter_mut().filter(|pending| pending.look_up) {
            let unread = pending.identities().any(|identity| looked_up.unread.contains(&identity));
            pending.look_up = unread;
        }
        known.extend(looked_up.all()?);
        Ok(known)
    }

    /// The streams that the group touches.
    async fn streams(
        &mut self,
        group: &[Pending],
        known: &HashMap<Identity, Stored>,
    ) -> Result<HashMap<StreamName, StreamNow>, StateError> {
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

    /// Gives the answers that are final; sorts the rest into what is placed, what may be refused
    /// and what goes on.
    fn sort(&self, verdicts: Vec<Verdict>, group: Vec<Pending>) -> Sorted {
        let mut sorted = Sorted::default();
        let mut verdicts = verdicts.into_iter();
        for mut pending in group {
            match verdicts.next() {
                Some(Verdict::Known(answers)) => pending.answer(Ok(answers)),
                Some(Verdict::Placed(answers)) => sorted.placed.push((pending, answers)),
                Some(Verdict::Refused(refusal @ Refusal::VersionConflict { .. }))
                    if !pending.certain || pending.ticket > self.proven =>
                {
                    // The ETag proves a commit, never a refusal: that waits for a look at storage
                    // which began after the append arrived.
                    tracing::debug!(%refusal, "looking again before an append is refused");
                    pending.certain = true;
                    sorted.unproven |= pending.ticket > self.proven;
                    sorted.rest.push(pending);
                }
                Some(Verdict::Refused(refusal)) => sorted.refused.push((pending, refusal)),
                Some(Verdict::Wait) => sorted.rest.push(pending),
                None => {
                    sorted.full = true;
                    sorted.rest.push(pending);
                }
            }
        }
        sorted
    }

    /// Which refusals stand. One that rests on beliefs is given only if its identities, looked up
    /// after the plan was made, are what the plan took them for: what is refused may be a retry
    /// whose first attempt has landed since, and what memory knows may be erased since.
    async fn confirm(
        &mut self,
        refused: &[(Pending, Refusal)],
        known: &HashMap<Identity, Stored>,
    ) -> Result<Vec<bool>, StateError> {
        let believed = |refusal: &Refusal| {
            Rule::IdentityFirst.holds()
                && matches!(refusal, Refusal::VersionConflict { .. } | Refusal::IdentityReused { .. })
        };
        let doubtful = refused.iter().filter(|(_, refusal)| believed(refusal));
        let identities: BTreeSet<_> = doubtful.flat_map(|(pending, _)| pending.identities()).collect();
        let found: HashMap<_, _> = self.state.look_up(identities).await.all()?.into_iter().collect();
        let stands = |(pending, refusal): &(Pending, Refusal)| {
            !believed(refusal)
                || pending.identities().all(|identity| known.get(&identity) == found.get(&identity))
        };
        Ok(refused.iter().map(stands).collect())
    }

    /// [`State::refresh`], counted as proof for everything that has arrived before it began.
    pub(super) async fn refresh(&mut self) -> Result<Vec<Commit>, StateError> {
        let ticket = self.line.last_ticket();
        let before = self.state.tip().map(|tip| tip.head.digest);
        let commits = self.state.refresh().await?;
        // Somebody may have written again what was gone.
        if before != self.state.tip().map(|tip| tip.head.digest) {
            self.gone.clear();
        }
        self.foreign += commits.len();
        self.proven = self.proven.max(ticket);
        Ok(commits)
    }
}

/// Drops the appends that nobody waits for any more.
fn living(group: Vec<Pending>) -> Vec<Pending> {
    let now = Instant::now();
    group.into_iter().filter(|pending| now < pending.deadline && !pending.reply.is_closed()).collect()
}

//! The committer: one task for each partition, one transaction in flight, and while it is in
//! flight the next batch gathers.

mod gather;
mod line;
mod obstacle;
mod outcome;
mod worker;

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use self::worker::Worker;
use super::{Answer, Append, AppendError};
use crate::{
    domain::{ids::Identity, position::PartitionId, timestamp::Clock},
    store::table::{Table, TableName},
};

/// A committer without work ends after this time, and gives its memory back.
const IDLE: Duration = Duration::from_secs(120);
/// Appends waiting for one partition; more wait at the door.
const WAITING: usize = 1_024;
/// Most appends looked at for one batch: more never fit.
const GROUP: usize = 100;
/// How long a process lets others in after it lost a race.
const CONTESTED: Duration = Duration::from_secs(10);
/// How long a process that is never without work goes on as if it were alone.
const ALONE: Duration = Duration::from_secs(2);
/// Round trips in which a process that has lost can read what it must, and commit.
const TURN: f64 = 6.0;
/// A process that hears of nobody rests at most one part in so many: storage may be slow.
const SHARE: f64 = 12.0;
/// Most processes that a winner waits for, one after the other.
const MOST_TURNS: usize = 8;
/// Longest rest of a winner, however slow storage is.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// First and longest pause after a failure that may pass.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));
/// Furthest that this process's clock may be from the storage service's.
const MAX_SKEW: Duration = Duration::from_secs(5);

/// Told of every commit that owes something to the change feed.
pub trait Debtor: Send + Sync + fmt::Debug {
    /// The commit that ends at `last` carries a debt row.
    fn owed(&self, partition: PartitionId, last: u64);
}

/// What a committer works with.
#[derive(Debug, Clone)]
pub struct CommitterContext {
    /// Storage.
    pub table: Arc<dyn Table>,
    /// The tenant's table.
    pub name: TableName,
    /// The partition.
    pub partition: PartitionId,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who hears of feed debt.
    pub debtor: Arc<dyn Debtor>,
    /// Seed of attempt ids and of jitter; 32 random bytes outside of tests.
    pub seed: [u8; 32],
}

/// A handle on the committer of one partition.
#[derive(Debug, Clone)]
pub struct Committer {
    waiting: mpsc::Sender<Pending>,
}

impl Committer {
    /// Starts the committer.
    pub fn spawn(context: CommitterContext) -> Self {
        Self::start(context).0
    }

    /// As [`Self::spawn`], with a hold on the task: a simulated process can crash.
    pub(super) fn start(context: CommitterContext) -> (Self, JoinHandle<()>) {
        let (waiting, arrivals) = mpsc::channel(WAITING);
        (Self { waiting }, tokio::spawn(Worker::new(context, arrivals).run()))
    }

    /// True once the committer has ended for want of work; a new one takes its place.
    pub fn has_ended(&self) -> bool {
        self.waiting.is_closed()
    }

    /// Stores all events of an append in one commit, or none.
    ///
    /// # Errors
    /// [`AppendError::Refused`] when it can never be stored as it is;
    /// [`AppendError::Unavailable`] when it was not, or may not have been, stored by `deadline`.
    pub async fn append(&self, append: Append, deadline: Instant) -> Result<Vec<Answer>, AppendError> {
        let (reply, answer) = oneshot::channel();
        let look_up = append.redelivered;
        let pending = Pending { append, deadline, reply, ticket: 0, look_up, certain: false };
        let late = || AppendError::Unavailable { reason: "no answer in time".to_owned() };
        let ended = || AppendError::Unavailable { reason: "the committer has ended".to_owned() };
        let answer = timeout_at(deadline, async {
            self.waiting.send(pending).await.map_err(|_| ended())?;
            answer.await.map_err(|_| ended())?
        });
        answer.await.unwrap_or_else(|_| Err(late()))
    }
}

/// An append that waits for its answer.
#[derive(Debug)]
struct Pending {
    append: Append,
    deadline: Instant,
    reply: oneshot::Sender<Result<Vec<Answer>, AppendError>>,
    /// Counts arrivals: a look at storage that began after this one may refuse the append.
    ticket: u64,
    /// Its identities are looked up in storage before the next plan.
    look_up: bool,
    /// No stream of its is taken for new without a look at storage.
    certain: bool,
}

impl Pending {
    fn answer(self, answer: Result<Vec<Answer>, AppendError>) {
        // Whoever asked may have given up: the answer is then nobody's.
        let _ = self.reply.send(answer);
    }

    fn identities(&self) -> impl Iterator<Item = Identity> {
        self.append.events.iter().map(|candidate| candidate.event.identity())
    }
}

#[cfg(test)]
mod tests;

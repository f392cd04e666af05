//! A world: processes and clients around one partition, on virtual time.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{
    faults::{LATEST, Weather, millis},
    storage::Storage,
    table::SimTable,
    workload::Job,
};
use crate::{
    domain::{
        ids::StreamName,
        position::PartitionId,
        timestamp::{Clock, Timestamp},
    },
    store::{
        append::{Answer, Append, AppendError, Committer, CommitterContext, Debtor},
        digest,
        rows::Head,
        table::TableName,
    },
};

/// How long after the last trouble every client has its answer.
const PATIENCE: Duration = Duration::from_secs(180);

/// So many seconds after the world's beginning.
pub(super) fn epoch(seconds: i64) -> Timestamp {
    Timestamp::from_unix_nanos((1_800_000_000 + i128::from(seconds)) * 1_000_000_000)
}

pub(super) fn partition() -> PartitionId {
    PartitionId::new(0).unwrap()
}

pub(super) fn table_name() -> TableName {
    TableName::new("annalssim").unwrap()
}

/// The head as onboarding writes it.
pub(super) fn first_head() -> Head {
    Head { last: 0, digest: digest::genesis(&table_name(), partition()), recorded: epoch(0) }
}

/// A clock that is a little wrong.
#[derive(Debug)]
pub(super) struct SimClock {
    pub(super) began: Instant,
    pub(super) skew: i64,
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let nanos = i128::try_from(self.began.elapsed().as_nanos()).unwrap();
        Timestamp::from_unix_nanos(epoch(self.skew).unix_nanos() + nanos)
    }
}

/// Remembers which commits were said to owe something.
#[derive(Debug, Default)]
pub(super) struct Debts(pub(super) Mutex<Vec<u64>>);

impl Debtor for Debts {
    fn owed(&self, _: PartitionId, last: u64) {
        self.0.lock().unwrap().push(last);
    }
}

/// One call of a client, and what came of it.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) job: usize,
    pub(super) append: Append,
    pub(super) arrived: Instant,
    pub(super) answered: Instant,
    pub(super) outcome: Result<Vec<Answer>, AppendError>,
}

/// Everything that a seed decides.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) processes: usize,
    pub(super) weather: Weather,
    pub(super) jobs: Vec<Job>,
    /// When trouble ends.
    pub(super) calm: Duration,
    /// Crashes of a process: when, which, and how long it stays down.
    pub(super) crashes: Vec<(Duration, usize, Duration)>,
    /// Whether good appends must never be told to come back later.
    pub(super) fair: bool,
}

/// What is left of a world to be judged.
pub(super) struct Remains {
    pub(super) storage: Arc<Mutex<Storage>>,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) debts: Vec<u64>,
    /// Jobs without a final answer, and panics.
    pub(super) failures: Vec<String>,
}

#[derive(Debug, Default)]
struct Process {
    committer: Option<Committer>,
    /// Until when it is down.
    down: Option<Instant>,
}

pub(super) struct World {
    plan: Plan,
    began: Instant,
    storage: Arc<Mutex<Storage>>,
    processes: Mutex<Vec<Process>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    workers: Mutex<Vec<(usize, JoinHandle<()>)>>,
    deliveries: Mutex<Vec<Delivery>>,
    debts: Arc<Debts>,
    random: Mutex<SmallRng>,
}

impl World {
    /// Lets a world happen, from its first message to the last answer.
    pub(super) fn run(plan: Plan, loud: bool) -> Remains {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let world = Arc::new(Self::new(plan, loud));
            world.live().await
        })
    }

    fn new(plan: Plan, loud: bool) -> Self {
        let random = SmallRng::seed_from_u64(plan.seed ^ 0x5EED);
        let storage = Storage::new(plan.weather.clone(), random.clone(), first_head().row(), loud);
        let processes = (0..plan.processes).map(|_| Process::default()).collect();
        Self {
            began: Instant::now(),
            storage: Arc::new(Mutex::new(storage)),
            processes: Mutex::new(processes),
            tasks: Mutex::default(),
            workers: Mutex::default(),
            deliveries: Mutex::default(),
            debts: Arc::default(),
            random: Mutex::new(random),
            plan,
        }
    }

    async fn live(self: Arc<Self>) -> Remains {
        for job in 0..self.plan.jobs.len() {
            let client = tokio::spawn(Arc::clone(&self).client(job));
            self.tasks.lock().unwrap().push(client);
        }
        tokio::spawn(Arc::clone(&self).crashes());
        sleep_until(self.began + self.plan.calm).await;
        {
            let mut storage = self.storage();
            storage.weather = storage.weather.calm();
            storage.note(0, format_args!("calm"));
        }
        let clients = std::mem::take(&mut *self.tasks.lock().unwrap());
        let end = Instant::now() + PATIENCE;
        let mut failures = Vec::new();
        for (job, client) in clients.into_iter().enumerate() {
            match timeout_at(end, client).await {
                Err(_) => failures.push(format!("job {job} has no final answer")),
                Ok(Err(error)) => failures.push(format!("the client of job {job}: {error}")),
                Ok(Ok(())) => {}
            }
        }
        sleep_until(self.began + self.plan.calm + LATEST).await;
        failures.extend(self.bury().await);
        let deliveries = std::mem::take(&mut *self.deliveries.lock().unwrap());
        let debts = self.debts.0.lock().unwrap().clone();
        Remains { storage: Arc::clone(&self.storage), deliveries, debts, failures }
    }

    /// Ends all committers; says which of them panicked.
    async fn bury(&self) -> Vec<String> {
        let workers = std::mem::take(&mut *self.workers.lock().unwrap());
        let mut panics = Vec::new();
        for (process, worker) in workers {
            worker.abort();
            if worker.await.is_err_and(|error| error.is_panic()) {
                panics.push(format!("the committer of process {process} panicked"));
            }
        }
        panics
    }

    fn storage(&self) -> MutexGuard<'_, Storage> {
        self.storage.lock().unwrap()
    }

    fn random(&self) -> MutexGuard<'_, SmallRng> {
        self.random.lock().unwrap()
    }

    fn version(&self, stream: &StreamName) -> u64 {
        let storage = self.storage();
        let events = storage.landed.iter().rev().flat_map(|landed| landed.events.iter().rev());
        events.clone().find(|event| event.stream_name() == *stream).map_or(0, |event| event.version)
    }

    async fn client(self: Arc<Self>, number: usize) {
        let job = &self.plan.jobs[number];
        sleep(job.start).await;
        let events = job.events(|stream| self.version(stream));
        let (mut process, mut redelivered) = (job.process, job.redelivered);
        for _ in 0..job.patience {
            let append = job.append(&events, redelivered, &mut self.random());
            let outcome = self.deliver(process, number, append).await;
            if !matches!(outcome, Err(AppendError::Unavailable { .. })) {
                return;
            }
            let pause = millis(&mut self.random(), 10..3_000);
            sleep(pause).await;
            let mut random = self.random();
            if job.roams {
                process = random.random_range(0..self.plan.processes);
            }
            redelivered = random.random_bool(0.7);
            if job.poisonous && self.began.elapsed() > self.plan.calm {
                return;
            }
        }
    }

    async fn deliver(&self, process: usize, job: usize, append: Append) -> Result<Vec<Answer>, AppendError> {
        let arrived = Instant::now();
        self.storage().note(process, format_args!("job {job} arrives"));
        let deadline = arrived + millis(&mut self.random(), 2_000..25_000);
        let outcome = match self.committer(process) {
            Some(committer) => committer.append(append.clone(), deadline).await,
            None => Err(AppendError::Unavailable { reason: "the process is down".to_owned() }),
        };
        let answered = Instant::now();
        match &outcome {
            Ok(answers) => {
                let places: Vec<_> =
                    answers.iter().map(|a| (a.stored.essentials.sequence, a.duplicate)).collect();
                self.storage().note(process, format_args!("job {job} is answered {places:?}"));
            }
            Err(error) => {
                self.storage().note(process, format_args!("job {job} fails: {error:?}"));
            }
        }
        let result = outcome.clone();
        self.deliveries.lock().unwrap().push(Delivery { job, append, arrived, answered, outcome });
        result
    }

    /// The committer of a process, started if need be; `None` while the process is down.
    fn committer(&self, number: usize) -> Option<Committer> {
        let mut processes = self.processes.lock().unwrap();
        let process = &mut processes[number];
        if process.down.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        if process.committer.as_ref().is_none_or(Committer::has_ended) {
            let mut random = self.random();
            let context = CommitterContext {
                table: Arc::new(SimTable { process: number, storage: Arc::clone(&self.storage) }),
                name: table_name(),
                partition: partition(),
                clock: Arc::new(SimClock { began: self.began, skew: random.random_range(-2..3) }),
                debtor: Arc::clone(&self.debts) as Arc<dyn Debtor>,
                seed: random.random(),
            };
            let (committer, worker) = Committer::start(context);
            self.workers.lock().unwrap().push((number, worker));
            process.committer = Some(committer);
        }
        process.committer.clone()
    }

    async fn crashes(self: Arc<Self>) {
        for (at, number, down) in &self.plan.crashes {
            sleep_until(self.began + *at).await;
            self.storage().note(*number, format_args!("crashes"));
            for (_, worker) in self.workers.lock().unwrap().iter().filter(|(process, _)| process == number) {
                worker.abort();
            }
            let mut processes = self.processes.lock().unwrap();
            processes[*number] = Process { committer: None, down: Some(Instant::now() + *down) };
        }
    }
}

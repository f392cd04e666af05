//! Saturated processes on one partition. Two to eight of them: who has just won the head is ahead in
//! the race for it, since everybody else must read before they can try again. Nobody may starve. One
//! of them, with a crowd of senders: they share one commit.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    check::{self, Broken, demand},
    faults::Weather,
    storage::Storage,
    table::SimTable,
    workload::{Drawer, Job},
    world::{Debts, SimClock, first_head, partition, table_name},
};
use crate::store::append::{Committer, CommitterContext, Debtor};

/// How long the processes are kept busy.
const BUSY: Duration = Duration::from_secs(20);
/// Longest that anybody may wait while others are served.
const LONGEST: Duration = Duration::from_secs(5);
/// What keeps the processes busy.
#[derive(Clone, Copy)]
pub(super) struct Crowd {
    pub(super) processes: usize,
    /// Deliveries in flight to each process.
    pub(super) in_flight: usize,
    pub(super) busy: Duration,
    /// From one burst to the next; zero where they never pause.
    pub(super) pause: Duration,
}

/// How it went.
pub(super) struct Outcome {
    /// Longest wait of any delivery.
    pub(super) longest: Duration,
    pub(super) events: usize,
    pub(super) commits: usize,
}

/// What everybody in this world shares.
struct Arena {
    storage: Arc<Mutex<Storage>>,
    random: Mutex<SmallRng>,
    /// What has been sent so far.
    jobs: Mutex<Vec<Job>>,
    longest: Mutex<Duration>,
    began: Instant,
    crowd: Crowd,
}

impl Arena {
    /// When the next burst begins; a moment later for every other sender.
    async fn next_burst(&self, sender: usize) {
        let pause = self.crowd.pause;
        if !pause.is_zero() {
            let bursts = self.began.elapsed().as_millis() / pause.as_millis() + 1;
            let at = pause * u32::try_from(bursts).unwrap() + Duration::from_millis(sender as u64 % 2);
            sleep_until(self.began + at).await;
        }
    }

    /// A client that always has an append in flight to one process, but for the pauses.
    async fn client(self: Arc<Self>, committer: Committer, sender: usize) {
        while self.began.elapsed() < self.crowd.busy {
            self.next_burst(sender).await;
            let append = {
                let (mut jobs, mut random) = (self.jobs.lock().unwrap(), self.random.lock().unwrap());
                let mut drawer = Drawer {
                    random: &mut random,
                    processes: 1,
                    streams: 50,
                    span: BUSY,
                    feed: false,
                    poison: false,
                    hopes: 0.0,
                    copies: 0.0,
                };
                let job = drawer.single(jobs.len());
                let append = job.append(&job.events(|_| 0), false, &mut random);
                jobs.push(job);
                append
            };
            let sent = Instant::now();
            let answer = committer.append(append, sent + Duration::from_secs(600)).await;
            answer.expect("nothing goes wrong here");
            let mut longest = self.longest.lock().unwrap();
            *longest = sent.elapsed().max(*longest);
        }
    }
}

/// Keeps processes busy.
pub(super) fn keep_busy(seed: u64, crowd: Crowd) -> Result<Outcome, Broken> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut random = SmallRng::seed_from_u64(seed);
        // From a nearby region to a far one, the way steady as it is in a data centre.
        let way = random.random_range(2..15);
        let weather = Weather { latency: (way, way + 1 + way / 5), ..Weather::default() };
        let storage = Storage::new(weather, random.clone(), first_head().row(), false);
        let began = Instant::now();
        let arena = Arc::new(Arena {
            storage: Arc::new(Mutex::new(storage)),
            random: Mutex::new(random),
            jobs: Mutex::default(),
            longest: Mutex::default(),
            began,
            crowd,
        });
        let mut clients = JoinSet::new();
        for process in 0..crowd.processes {
            let committer = Committer::spawn(CommitterContext {
                table: Arc::new(SimTable { process, storage: Arc::clone(&arena.storage) }),
                name: table_name(),
                partition: partition(),
                clock: Arc::new(SimClock { began, skew: 0 }),
                debtor: Arc::new(Debts::default()) as Arc<dyn Debtor>,
                seed: arena.random.lock().unwrap().random(),
            });
            for sender in 0..crowd.in_flight {
                clients.spawn(Arc::clone(&arena).client(committer.clone(), sender));
            }
        }
        while let Some(ended) = clients.join_next().await {
            ended.map_err(|error| error.to_string())?;
        }
        let jobs = arena.jobs.lock().unwrap();
        let log = check::rows(&arena.storage.lock().unwrap(), &jobs)?;
        demand!(log.len() == jobs.len(), "{} of {} are stored", log.len(), jobs.len());
        let commits = log.values().map(|kept| kept.commit).collect::<BTreeSet<_>>().len();
        Ok(Outcome { longest: *arena.longest.lock().unwrap(), events: log.len(), commits })
    })
}

/// Whether nobody waited long.
pub(super) fn nobody_starves(seed: u64, processes: usize) -> Result<(), Broken> {
    let longest =
        keep_busy(seed, Crowd { processes, in_flight: 4, busy: BUSY, pause: Duration::ZERO })?.longest;
    println!("seed {seed}, {processes} processes: the longest wait was {longest:?}");
    demand!(longest <= LONGEST, "seed {seed}: with {processes} processes somebody waited {longest:?}");
    Ok(())
}

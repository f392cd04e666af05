//! A deterministic simulation of the committer: many processes, one partition, and a table service
//! on which everything goes wrong that can. One number decides a whole world, so a world in which a
//! promise is broken can be played again:
//!
//! `ANNALS_SIM_SEED=n cargo test --lib one_seed -- --nocapture`

mod answers;
mod capture;
mod check;
mod faults;
mod storage;
mod table;
mod tests;
mod workload;
mod world;

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::SmallRng};

use self::{
    check::Broken,
    faults::{Poison, Weather, millis},
    workload::Drawer,
    world::{Plan, World},
};

/// What came of a seed.
struct Outcome {
    /// The same for the same seed, always.
    trace: u64,
    verdict: Result<(), Broken>,
}

/// Everything that a seed decides.
fn draw(seed: u64) -> Plan {
    let mut random = SmallRng::seed_from_u64(seed);
    let weather = Weather::draw(&mut random);
    let processes = match random.random_range(0..10) {
        0..2 => 1,
        2..8 => random.random_range(2..6),
        8 => random.random_range(6..12),
        _ => random.random_range(12..41),
    };
    let seconds = [1, 5, 20, 60][random.random_range(0..4)];
    let count = random.random_range(5..40);
    let mut drawer = Drawer {
        processes,
        streams: random.random_range(1..6),
        span: Duration::from_secs(seconds),
        feed: random.random(),
        poison: weather.poison.is_some(),
        hopes: [0.0, 0.2, 0.6][random.random_range(0..3)],
        copies: [0.0, 0.3, 0.8][random.random_range(0..3)],
        random: &mut random,
    };
    let jobs = drawer.jobs(count);
    let calm = Duration::from_secs(seconds) + millis(&mut random, 0..60_000);
    let crashes = crashes(&mut random, processes, calm);
    Plan { seed, processes, weather, jobs, calm, crashes, fair: false }
}

/// Fair weather in which storage chokes on some appends: nobody else may notice.
fn draw_choking(seed: u64) -> Plan {
    let mut plan = draw(seed);
    let server_error = !seed.is_multiple_of(4);
    plan.weather = Weather {
        latency: (2, 12),
        poison: Some(if server_error { Poison::ServerError } else { Poison::Refused }),
        ..Weather::default()
    };
    plan.crashes.clear();
    let every = 3 + seed % 10;
    for job in &mut plan.jobs {
        let number = job.events[0].id.split('-').next().and_then(|number| number.parse::<u64>().ok());
        job.poisonous = number.is_some_and(|number| number % every == 0);
        job.patience = usize::MAX;
        for event in &mut job.events {
            let poisoned = event.data == workload::poison();
            if job.poisonous {
                event.data = workload::poison();
            } else if poisoned {
                event.data = "{}".to_owned();
            }
        }
    }
    plan.fair = true;
    plan
}

/// Few streams, many writers who rely on versions, and scans that are never read in one moment.
fn draw_torn(seed: u64) -> Plan {
    let mut random = SmallRng::seed_from_u64(seed);
    let weather = Weather { latency: (1, 20), torn: 0.95, ..Weather::default() };
    let processes = random.random_range(3..8);
    let mut drawer = Drawer {
        processes,
        streams: 2,
        span: Duration::from_secs(3),
        feed: false,
        poison: false,
        hopes: 0.5,
        copies: 0.0,
        random: &mut random,
    };
    let jobs = drawer.jobs(60);
    let calm = Duration::from_secs(60);
    Plan { seed, processes, weather, jobs, calm, crashes: Vec::new(), fair: false }
}

fn crashes(random: &mut SmallRng, processes: usize, calm: Duration) -> Vec<(Duration, usize, Duration)> {
    if random.random() {
        return Vec::new();
    }
    let end = u64::try_from(calm.as_millis()).unwrap();
    let mut crashes: Vec<_> = (0..random.random_range(1..10))
        .map(|_| {
            let at = millis(random, 0..end);
            (at, random.random_range(0..processes), millis(random, 0..20_000).min(calm - at))
        })
        .collect();
    crashes.sort();
    crashes
}

/// Lets a world happen and judges it.
fn play(plan: Plan, loud: bool) -> Outcome {
    let (jobs, fair) = (plan.jobs.clone(), plan.fair);
    let remains = World::run(plan, loud);
    let storage = remains.storage.lock().unwrap();
    let verdict = check::rows(&storage, &jobs)
        .and_then(|log| answers::all(&storage, &log, &jobs, &remains.deliveries))
        .and_then(|()| answers::debts(&storage, &remains.debts))
        .and_then(|()| if fair { answers::fair(&jobs, &remains.deliveries) } else { Ok(()) })
        .and_then(|()| match remains.failures.first() {
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        });
    Outcome { trace: storage.trace.digest(), verdict }
}

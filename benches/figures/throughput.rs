//! Events a second, against the same rows without Annals, in one run.

use std::{sync::Arc, time::Duration};

use annals::{
    config::AzureStorage,
    testing::{
        azurite::Azurite,
        proxy::{FaultProxy, Plan},
    },
};

use crate::{
    baseline,
    counting::Counting,
    drive::{self, IN_FLIGHT},
    report::{Goal, Report, median},
    traffic,
};

const STREAMS: usize = 100;
/// Events on Azurite as it is.
const EVENTS: usize = 2_000;
/// Events of the slow baselines; and of everybody where a real account is the measure. Azurite slows
/// down with the rows of a table, and a real account does not: there, nobody's table may be larger.
const FEW: usize = 600;
/// Before anything is timed, in a table of its own: the first seconds of a Node process are slow.
const REHEARSAL: usize = 1_500;
const ROUNDS: usize = 3;
const DELAY: Duration = Duration::from_millis(10);

/// Events a second.
#[derive(Debug, Clone, Copy, Default)]
struct Rates {
    annals: f64,
    raw: f64,
    /// One at a time, with a pause after a conflict.
    polite: f64,
    /// Without one.
    rude: f64,
}

impl Rates {
    /// One at a time, whichever way is faster.
    fn singles(&self) -> f64 {
        self.polite.max(self.rude)
    }
}

pub(crate) async fn measure(report: &mut Report) -> anyhow::Result<()> {
    for (title, delay, times, events) in
        [("as it is", None, 3.0, EVENTS), ("with 10 ms added to every reply", Some(DELAY), 15.0, FEW)]
    {
        report.part(&format!("Events a second on Azurite {title} (median of {ROUNDS} rounds, 32 in flight)"));
        let mut rounds = Vec::new();
        for number in 0..ROUNDS {
            rounds.push(round(number, delay, events).await?);
        }
        let middle = |rate: fn(&Rates) -> f64| median(rounds.iter().map(rate).collect());
        report.say("Annals", middle(|r| r.annals), "events/s");
        report.say("the same transactions with no logic, one in flight", middle(|r| r.raw), "events/s");
        report.say(
            "one event at a time, 32 tasks, a pause after a conflict",
            middle(|r| r.polite),
            "events/s",
        );
        report.say("one event at a time, 32 tasks, no pause", middle(|r| r.rude), "events/s");
        report.judge("Annals against no logic", middle(|r| r.annals / r.raw), "times", Goal::AtLeast(0.8));
        let name = "Annals against one at a time, the faster of both";
        report.judge(name, middle(|r| r.annals / r.singles()), "times", Goal::AtLeast(times));
        // What a design could reach on this server at best.
        report.say(
            "no logic against one at a time, the faster of both",
            middle(|r| r.raw / r.singles()),
            "times",
        );
    }
    Ok(())
}

/// All on one fresh Azurite, each in a fresh table.
async fn round(number: usize, delay: Option<Duration>, count: usize) -> anyhow::Result<Rates> {
    let azurite = Azurite::start()?;
    let proxy = FaultProxy::start(&azurite).await?;
    let storage = match delay {
        None => azurite.storage(),
        Some(latency) => {
            proxy.set(0, Plan { latency, ..Plan::default() });
            proxy.storage()
        }
    };
    rates(number, &storage, count).await
}

async fn rates(number: usize, storage: &AzureStorage, count: usize) -> anyhow::Result<Rates> {
    let tables = drive::tables(storage)?;
    let table = Counting::over(Arc::clone(&tables));
    let stores = [drive::store(Arc::clone(&table) as _)];
    let rehearsal = traffic::decoded((0..REHEARSAL).map(|n| traffic::instance(n, STREAMS)))?;
    drive::append(&stores, &drive::named(&stores[0], "rehearsal").await?, rehearsal, IN_FLIGHT).await?;
    let tenant = drive::tenant(&stores[0]).await?;
    let mut warm = traffic::decoded((0..STREAMS + count).map(|n| traffic::instance(n, STREAMS)))?;
    let events = warm.split_off(STREAMS);
    table.batches();
    drive::append(&stores, &tenant, warm, IN_FLIGHT).await?;
    let mut batches = table.batches();
    let warm = batches.len();
    let ours = drive::append(&stores, &tenant, events, IN_FLIGHT).await?;
    batches.extend(table.batches());
    let per_second = |count: usize, time: Duration| count as f64 / time.as_secs_f64();
    let mut rates = Rates { annals: per_second(count, ours), ..Rates::default() };
    // A Node process is quickest while it is young: nobody is always the last.
    for place in 0..3 {
        match (number + place) % 3 {
            0 => {
                let raw = baseline::raw(tables.as_ref(), &batches, warm).await?;
                rates.raw = per_second(count, raw);
            }
            1 => {
                let (count, time) = baseline::one_at_a_time(&tables, &batches, warm, FEW, true).await?;
                rates.polite = per_second(count, time);
            }
            _ => {
                let (count, time) = baseline::one_at_a_time(&tables, &batches, warm, FEW, false).await?;
                rates.rude = per_second(count, time);
            }
        }
    }
    Ok(rates)
}

//! Storage requests per event.

use std::sync::Arc;

use annals::{store::Store, testing::azurite::Azurite};

use crate::{
    counting::Counting,
    drive::{self, IN_FLIGHT},
    report::{Goal, Report},
    traffic,
};

const HOT_STREAMS: usize = 100;
const EVENTS: usize = 2_000;
const COLD_STREAMS: usize = 600;

pub(crate) async fn measure(report: &mut Report) -> anyhow::Result<()> {
    report.part("Storage requests per event (Azurite, 32 deliveries in flight, one tenant, one partition)");
    let hot = run(1, HOT_STREAMS, EVENTS, false).await?;
    report.judge("hot streams, one process", hot, "requests", Goal::AtMost(0.10));
    let cold = run(1, COLD_STREAMS, COLD_STREAMS, true).await?;
    report.say("every stream cold, one process", cold, "requests");
    for processes in [2, 4] {
        let shared = run(processes, HOT_STREAMS, EVENTS / 2, false).await?;
        report.say(&format!("hot streams, {processes} processes on one partition"), shared, "requests");
    }
    Ok(())
}

/// Creates `streams`, then counts what `events` more cost; with `cold`, in processes that know
/// nothing yet.
async fn run(processes: usize, streams: usize, events: usize, cold: bool) -> anyhow::Result<f64> {
    let azurite = Azurite::start()?;
    let table = Counting::over(drive::tables(&azurite.storage())?);
    let store = || drive::store(Arc::clone(&table) as _);
    let mut stores: Vec<Arc<Store>> = (0..processes).map(|_| store()).collect();
    let tenant = drive::tenant(&stores[0]).await?;
    let mut all = traffic::decoded((0..streams + events).map(|n| traffic::instance(n, streams)))?;
    let counted = all.split_off(streams);
    drive::append(&stores[..1], &tenant, all, IN_FLIGHT).await?;
    if cold {
        stores = vec![store()];
    }
    table.take();
    drive::append(&stores, &tenant, counted, IN_FLIGHT).await?;
    Ok(table.take().all() as f64 / events as f64)
}

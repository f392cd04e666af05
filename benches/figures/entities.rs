//! Entities written per event: a partition of a real account takes 2,000 a second.

use std::sync::Arc;

use annals::{store::table::Batch, testing::azurite::Azurite};
use serde_json::Value;

use crate::{
    counting::Counting,
    drive::{self, IN_FLIGHT},
    report::{Goal, Report},
    traffic,
};

const STREAMS: usize = 100;
const EVENTS: usize = 2_000;

pub(crate) async fn measure(report: &mut Report) -> anyhow::Result<()> {
    report
        .part("Entities written per event (Azurite, 32 deliveries in flight, correlation links not counted)");
    let mixed = run((0..STREAMS + EVENTS).map(|n| traffic::instance(n, STREAMS))).await?;
    report.judge("mixed instance traffic", mixed, "entities", Goal::AtMost(3.5));
    let audit = run((0..STREAMS + EVENTS).map(traffic::audit)).await?;
    report.judge("the tenant's audit stream", audit, "entities", Goal::AtMost(2.5));
    Ok(())
}

async fn run(messages: impl Iterator<Item = Value>) -> anyhow::Result<f64> {
    let azurite = Azurite::start()?;
    let table = Counting::over(drive::tables(&azurite.storage())?);
    let store = drive::store(Arc::clone(&table) as _);
    let tenant = drive::tenant(&store).await?;
    let events = traffic::decoded(messages)?;
    table.batches();
    let count = events.len();
    drive::append(&[store], &tenant, events, IN_FLIGHT).await?;
    let written: usize = table.batches().iter().map(entities).sum();
    Ok(written as f64 / count as f64)
}

fn entities(batch: &Batch) -> usize {
    batch.ops().iter().filter(|op| !op.key().starts_with("x|")).count()
}

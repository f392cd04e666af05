//! The embedded store's own pace.

use std::sync::Arc;

use annals::store::embedded::Embedded;

use crate::{
    counting::Counting,
    drive::{self, IN_FLIGHT},
    report::Report,
    traffic,
};

const STREAMS: usize = 2_000;
const EVENTS: usize = 40_000;

pub(crate) async fn measure(report: &mut Report) -> anyhow::Result<()> {
    report.part("The embedded store (every commit on disk before it is answered)");
    let folder = tempfile::tempdir()?;
    let table = Counting::over(Arc::new(Embedded::open(folder.path())?));
    let store = drive::store(Arc::clone(&table) as _);
    let tenant = drive::tenant(&store).await?;
    let events = traffic::decoded((0..EVENTS).map(|n| traffic::instance(n, STREAMS)))?;
    let took = drive::append(&[store], &tenant, events, IN_FLIGHT).await?;
    report.say("mixed instance traffic, 32 in flight", EVENTS as f64 / took.as_secs_f64(), "events/s");
    let commits = table.take().commits as f64;
    report.say("events a commit", EVENTS as f64 / commits, "events");
    Ok(())
}

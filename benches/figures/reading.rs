//! Reading the log, and proving it: how fast, at how many requests, in how much memory.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use annals::{
    feed::all_stream::{self, Query},
    store::{Store, embedded::Embedded, registry::Tenant},
    testing::azurite::Azurite,
    verify::{self, Options, Outcome},
};
use anyhow::{Context, ensure};

use crate::{
    counting::Counting,
    drive::{self, IN_FLIGHT},
    process::peak,
    report::{Goal, Report},
    traffic::{self, TENANT},
};

/// What the embedded store holds, and Azurite, which slows down with the rows of a table.
const EVENTS: (usize, usize) = (100_000, 3_000);
/// An instance has some twenty events.
const A_STREAM: usize = 20;
/// Events of a page: the most, and what a careful reader asks for.
const PAGES: [usize; 2] = [1_000, 100];
/// Most memory of a verification without data, in MiB.
const MEMORY: f64 = 64.0;

pub(crate) async fn measure(report: &mut Report) -> anyhow::Result<()> {
    report
        .part("Reading and verifying, Azurite (one partition, commits as 32 deliveries in flight make them)");
    let azurite = Azurite::start()?;
    let table = Counting::over(drive::tables(&azurite.storage())?);
    let store = drive::store(Arc::clone(&table) as _);
    let tenant = fill(&store, EVENTS.1).await?;
    let commits = table.take().commits as f64;
    report.say("events a commit", EVENTS.1 as f64 / commits, "events");
    both(report, &store, &tenant, &table, EVENTS.1).await?;
    report.part("The same with one event a commit, the worst case");
    let azurite = Azurite::start()?;
    let table = Counting::over(drive::tables(&azurite.storage())?);
    let store = drive::store(Arc::clone(&table) as _);
    let tenant = drive::tenant(&store).await?;
    let events = traffic::decoded((0..1_000).map(|n| traffic::instance(n, 50)))?;
    drive::append(&[Arc::clone(&store)], &tenant, events, 1).await?;
    table.take();
    both(report, &store, &tenant, &table, 1_000).await?;
    embedded(report).await
}

async fn embedded(report: &mut Report) -> anyhow::Result<()> {
    report.part("Reading and verifying, the embedded store");
    let folder = tempfile::tempdir()?;
    {
        let inner: Arc<Embedded> = Arc::new(Embedded::open(folder.path())?);
        let tenant = fill(&drive::store(Arc::clone(&inner) as _), EVENTS.0).await?;
        let table = Counting::over(inner);
        let store = drive::store(Arc::clone(&table) as _);
        both(report, &store, &tenant, &table, EVENTS.0).await?;
    }
    for (arguments, what) in [(&[][..], "commits and rows"), (&["--include-data"], "every event's data too")]
    {
        let (took, peak) = command(folder.path(), arguments).await?;
        let pace = EVENTS.0 as f64 / took.as_secs_f64();
        report.say(&format!("`annals verify` of 100,000 events, {what}"), pace, "events/s");
        let name = format!("its memory, {what}");
        match arguments.is_empty() {
            true => report.judge(&name, peak, "MiB", Goal::AtMost(MEMORY)),
            false => report.say(&name, peak, "MiB"),
        }
    }
    Ok(())
}

async fn fill(store: &Arc<Store>, count: usize) -> anyhow::Result<Arc<Tenant>> {
    let tenant = drive::tenant(store).await?;
    let events = traffic::decoded((0..count).map(|n| traffic::instance(n, count / A_STREAM)))?;
    drive::append(&[Arc::clone(store)], &tenant, events, IN_FLIGHT).await?;
    Ok(tenant)
}

/// Reads all of the log by pages, and verifies it with and without data.
async fn both(
    report: &mut Report,
    store: &Arc<Store>,
    tenant: &Arc<Tenant>,
    table: &Counting,
    count: usize,
) -> anyhow::Result<()> {
    let thousands = count as f64 / 1_000.0;
    let (log, history) = (store.log(tenant), store.history(tenant));
    for limit in PAGES {
        let (started, mut read, mut after) = (Instant::now(), 0, None);
        loop {
            let page = all_stream::read(&log, &history, &Query::after(after, limit)).await?;
            read += page.items.len();
            after = Some(page.places);
            if page.end {
                break;
            }
        }
        // The tenant's own first event is there too.
        ensure!(read > count, "{read} events were read");
        let pace = count as f64 / started.elapsed().as_secs_f64();
        report.say(&format!("read in pages of {limit}"), pace, "events/s");
        report.say(
            &format!("requests for 1,000 events, pages of {limit}"),
            table.take().all() as f64 / thousands,
            "requests",
        );
    }
    for data in [false, true] {
        let options = Options { data, ..Options::default() };
        let started = Instant::now();
        let Outcome::Done(result) = verify::verify(&log, &options, None, None, &|_| {}).await? else {
            anyhow::bail!("the run was cut off");
        };
        ensure!(result.is_clean(), "{:?}", result.differences);
        let what = if data { "verified, data too" } else { "verified" };
        report.say(what, count as f64 / started.elapsed().as_secs_f64(), "events/s");
        report.say(
            &format!("requests for 1,000 events, {what}"),
            table.take().all() as f64 / thousands,
            "requests",
        );
    }
    Ok(())
}

/// Runs `annals verify` on a folder; how long it took, and the most memory that it had.
async fn command(folder: &Path, arguments: &[&str]) -> anyhow::Result<(Duration, f64)> {
    // Committers that still hold the folder are about to end.
    for _ in 0..100 {
        let started = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_annals"))
            .args(["verify", "--tenant", TENANT, "--data"])
            .arg(folder)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("annals does not start")?;
        let most = peak(&mut child)?;
        if child.wait()?.success() {
            return Ok((started.elapsed(), most));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("`annals verify` fails")
}

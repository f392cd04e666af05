//! The handler as the Functions host meets it: its start, its CPU, its memory.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use annals::testing::azurite::Azurite;
use anyhow::ensure;
use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::Client;
use serde_json::json;

use crate::{
    drive::IN_FLIGHT,
    process::Process,
    report::{Goal, Report, median},
    traffic::{self, TENANT},
};

const STARTS: usize = 15;
/// The processor's time varies by a quarter from one round to the next where others share the machine.
const ROUNDS: usize = 5;
const HOST_VERSION: &str = "4.1037.0.0";
/// Azurite slows down with the rows of a table.
const ON_AZURITE: Load = Load { streams: 100, events: 3_000 };
const ON_EMBEDDED: Load = Load { streams: 2_000, events: 30_000 };

#[derive(Debug, Clone, Copy)]
struct Load {
    streams: usize,
    events: usize,
}

pub(crate) async fn measure(report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    start(report, &[("ANNALS_DATA_DIR", folder.path().to_str().unwrap_or_default())])?;
    let (mut azurites, mut embedded) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let azurite = Azurite::start()?;
        let connection = azurite.connection_string();
        azurites.push(under_load(&[("AnnalsStorage", &connection)], ON_AZURITE).await?);
        let folder = tempfile::tempdir()?;
        let data = [("ANNALS_DATA_DIR", folder.path().to_str().unwrap_or_default())];
        embedded.push(under_load(&data, ON_EMBEDDED).await?);
    }
    judge(report, "Azurite", &azurites);
    judge(report, "the embedded store", &embedded);
    Ok(())
}

fn judge(report: &mut Report, storage: &str, rounds: &[Figures]) {
    let title = format!("The handler on {storage}, {IN_FLIGHT} queue invocations in flight");
    report.part(&format!("{title} (median of {ROUNDS} rounds)"));
    let middle = |figure: fn(&Figures) -> f64| median(rounds.iter().map(figure).collect());
    report.judge("resident memory, idle", middle(|f| f.idle), "MiB", Goal::AtMost(40.0));
    report.judge("CPU an event", middle(|f| f.cpu), "µs", Goal::AtMost(100.0));
    let mut all: Vec<f64> = rounds.iter().map(|f| f.cpu).collect();
    all.sort_by(f64::total_cmp);
    report.note(&format!("{all:.0?} µs in {ROUNDS} rounds"));
    report.judge("resident memory, at most, under load", middle(|f| f.most), "MiB", Goal::AtMost(120.0));
    report.say("throughput, the sender on the same cores", middle(|f| f.pace), "events/s");
}

fn start(report: &mut Report, settings: &[(&str, &str)]) -> anyhow::Result<()> {
    report.part("The handler's start");
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(Process::start(settings)?.start.as_secs_f64() * 1_000.0);
    }
    let worst = starts.iter().copied().fold(0.0, f64::max);
    report.judge("exec to the first answer on GET / (median)", median(starts), "ms", Goal::AtMost(50.0));
    report.note(&format!("{worst:.1} ms at worst in {STARTS} starts"));
    Ok(())
}

/// What one round shows.
#[derive(Debug, Clone, Copy)]
struct Figures {
    /// MiB before the load, and at most.
    idle: f64,
    most: f64,
    /// Microseconds of processor time an event.
    cpu: f64,
    /// Events a second.
    pace: f64,
}

async fn under_load(settings: &[(&str, &str)], load: Load) -> anyhow::Result<Figures> {
    let process = Process::start(settings)?;
    let client = Client::builder().no_proxy().pool_max_idle_per_host(IN_FLIGHT).build()?;
    let base = format!("http://127.0.0.1:{}", process.port);
    // The feed is on: publishing is part of the work.
    let registered = client
        .put(format!("{base}/api/tenants/{TENANT}"))
        .header("host", "annals.example")
        .header("content-type", "application/json")
        .body(json!({ "changeFeed": { "enabled": true } }).to_string());
    let status = registered.send().await?.status();
    ensure!(status.is_success(), "the tenant was not registered: {status}");
    let idle = process.memory("VmRSS")?;
    invoke(&client, &base, invocations(0..load.streams, load.streams)).await?;
    let bodies = invocations(load.streams..load.streams + load.events, load.streams);
    let before = process.cpu()?;
    let took = invoke(&client, &base, bodies).await?;
    let cpu = (process.cpu()? - before).as_secs_f64() * 1e6 / load.events as f64;
    Ok(Figures { idle, most: process.memory("VmHWM")?, cpu, pace: load.events as f64 / took.as_secs_f64() })
}

/// Queue messages in the form in which the host hands them over.
fn invocations(numbers: std::ops::Range<usize>, streams: usize) -> Vec<String> {
    let invocation = |n: usize| {
        json!({
            "Data": { "msg": STANDARD.encode(traffic::instance(n, streams).to_string()) },
            "Metadata": {
                "DequeueCount": "1",
                "ExpirationTime": "2026-12-01T09:00:00+00:00",
                "Id": format!("\"{n:08}-0000-0000-0000-000000000000\""),
                "InsertionTime": "2026-11-24T09:00:00+00:00",
                "NextVisibleTime": "2026-11-24T09:10:00+00:00",
                "PopReceipt": "\"AgAAAAMAAAAAAAAAZ7+X8U1W2QE=\"",
                "sys": { "MethodName": "ingest", "UtcNow": "2026-11-24T09:00:00.0000000Z", "RandGuid": "c9e1b7a2-5d1c-4c58-a7a5-1b1a2f1a5b77" },
            },
        })
        .to_string()
    };
    numbers.map(invocation).collect()
}

/// Invokes `ingest` with each body; every answer must publish one event.
async fn invoke(client: &Client, base: &str, bodies: Vec<String>) -> anyhow::Result<Duration> {
    let waiting = Arc::new(Mutex::new(bodies.into_iter()));
    let started = Instant::now();
    let workers = (0..IN_FLIGHT).map(|_| {
        let (client, url, waiting) = (client.clone(), format!("{base}/ingest"), Arc::clone(&waiting));
        tokio::spawn(async move {
            let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
            while let Some(body) = next() {
                // A stream has no length: the host sends its invocations chunked.
                let chunk = futures::stream::iter([Ok::<_, std::io::Error>(body)]);
                let request = client
                    .post(&url)
                    .header("content-type", "application/json; charset=utf-8")
                    .header("x-azure-functions-hostversion", HOST_VERSION)
                    .header("x-azure-functions-invocationid", "9d1b7b6a-9d5c-4e0b-8c6e-2f1a7b3c4d5e")
                    .header("user-agent", format!("Azure-Functions-Host/{HOST_VERSION}"))
                    .body(reqwest::Body::wrap_stream(chunk));
                let answer = request.send().await?;
                let (status, text) = (answer.status(), answer.text().await?);
                ensure!(status.is_success() && text.contains("\"events\":["), "{status} {text}");
            }
            Ok(())
        })
    });
    for worker in futures::future::join_all(workers).await {
        worker??;
    }
    Ok(started.elapsed())
}

//! The figures that Annals promises to reach, measured: `cargo bench`, or `cargo bench -- NAME`.
//!
//! A program, not a test: it prints a table and always ends well. `docs/PERFORMANCE.md` says what
//! each figure means. Parts: `requests`, `throughput`, `entities`, `handler`, `embedded`, `redaction`,
//! `reading`.

mod baseline;
mod counting;
mod drive;
mod embedded;
mod entities;
mod handler;
mod process;
mod reading;
mod redaction;
mod report;
mod requests;
mod throughput;
mod traffic;

use anyhow::{Context, bail};

use self::report::Report;

const PARTS: [&str; 7] =
    ["requests", "throughput", "entities", "handler", "embedded", "redaction", "reading"];

fn main() -> anyhow::Result<()> {
    // cargo adds `--bench`.
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if let Some(unknown) = named.iter().find(|name| !PARTS.contains(&name.as_str())) {
        bail!("there is no part `{unknown}`; there are {}", PARTS.join(", "));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    let mut report = Report::start();
    for part in PARTS.into_iter().filter(|part| named.is_empty() || named.iter().any(|name| name == part)) {
        runtime.block_on(measure(part, &mut report)).with_context(|| format!("the part `{part}` failed"))?;
    }
    report.end();
    Ok(())
}

async fn measure(part: &str, report: &mut Report) -> anyhow::Result<()> {
    match part {
        "requests" => requests::measure(report).await,
        "throughput" => throughput::measure(report).await,
        "entities" => entities::measure(report).await,
        "handler" => handler::measure(report).await,
        "redaction" => redaction::measure(report),
        "embedded" => embedded::measure(report).await,
        _ => reading::measure(report).await,
    }
}

//! What redaction adds to an event: processor time alone, nothing is stored.

use std::time::Instant;

use annals::{domain::redaction::Redactor, testing::canary};
use anyhow::ensure;
use serde_json::{Value, json};

use crate::{
    report::{Report, median},
    traffic,
};

/// Rounds, whose median counts.
const ROUNDS: usize = 5;

pub(crate) fn measure(report: &mut Report) -> anyhow::Result<()> {
    report.part("Redaction (one thread, nothing stored; median of 5 rounds)");
    let riddled = (0..2_000).map(|n| canary::event(&n.to_string()));
    let notes = |bytes: usize| traffic::audit(0)["data"]["parameters"].to_string().repeat(bytes / 330);
    let large = move |bytes: usize| {
        let mut event = traffic::audit(bytes);
        event["data"]["notes"] = notes(bytes).into();
        event
    };
    run(
        report,
        "mixed instance traffic, no secret in it",
        (0..5_000).map(|n| traffic::instance(n, 100)),
        false,
    )?;
    run(report, "sixteen secrets in each event", riddled, true)?;
    run(report, "64 KiB of text, no secret in it", (0..100).map(|_| large(64 * 1024)), false)?;
    run(report, "512 KiB of members, no secret in it", (0..20).map(|_| wide(512 * 1024)), false)
}

/// Data of many small members: the most that there is to look at in so many bytes.
fn wide(bytes: usize) -> Value {
    let members: serde_json::Map<_, _> =
        (0..bytes / 40).map(|n| (format!("memberNumber{n}"), json!(format!("value {n}")))).collect();
    let mut event = traffic::audit(bytes);
    event["data"] = members.into();
    event
}

fn run(
    report: &Report,
    what: &str,
    messages: impl Iterator<Item = Value>,
    secrets: bool,
) -> anyhow::Result<()> {
    let messages: Vec<_> = messages.collect();
    let bytes: usize = messages.iter().map(|message| message["data"].to_string().len()).sum();
    let events = traffic::decoded(messages)?;
    let redactor = Redactor::default();
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut events = events.clone();
        let started = Instant::now();
        for event in &mut events {
            redactor.event(event)?;
        }
        rounds.push(started.elapsed().as_secs_f64());
        let redacted = events.iter().all(|event| event.redacted.is_empty() != secrets);
        ensure!(redacted, "{what}: not what this figure is about");
    }
    let took = median(rounds);
    report.say(what, took * 1e6 / events.len() as f64, "µs an event");
    report.note(&format!(
        "{:.0} bytes of data each, {:.0} MB/s",
        bytes as f64 / events.len() as f64,
        bytes as f64 / took / 1e6
    ));
    Ok(())
}

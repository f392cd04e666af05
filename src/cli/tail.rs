//! `annals tail`.

use std::{
    collections::HashMap,
    io::{IsTerminal, Write},
};

use anyhow::Context;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::client::{Client, Reach, escape};

/// Longest wait for something new that one request may take.
const WAIT: u64 = 20;

/// Options of `annals tail`.
#[derive(Debug, Args)]
pub(super) struct TailArgs {
    #[command(flatten)]
    reach: Reach,
    /// Go on with what comes.
    #[arg(long, short)]
    follow: bool,
    /// How many of the newest events to begin with.
    #[arg(long, short = 'n', default_value_t = 10)]
    lines: usize,
    /// Begin behind this cursor instead, and show everything from there.
    #[arg(long)]
    after: Option<String>,
    /// Event types, each exact or a prefix ending in `*`, joined by commas.
    #[arg(long = "type", value_name = "TYPES")]
    types: Option<String>,
    /// Category of the streams.
    #[arg(long)]
    category: Option<String>,
    /// Correlation id.
    #[arg(long)]
    correlation: Option<String>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    cursor: Option<String>,
    end: bool,
}

pub(super) async fn tail(args: TailArgs) -> anyhow::Result<()> {
    let client = args.reach.open()?;
    let mut printer = Printer::new(args.json);
    let mut cursor = match &args.after {
        Some(after) => Some(after.clone()),
        None => newest(&client, &args, &mut printer).await?,
    };
    while let Some(after) = cursor.take() {
        let wait = if args.follow { WAIT } else { 0 };
        let page = ask(&client, &args, &format!("limit=500&wait={wait}&after={after}")).await?;
        for event in &page.events {
            if !printer.print(event)? {
                return Ok(());
            }
        }
        cursor = page.cursor.filter(|_| args.follow || !page.end);
        if args.follow && page.events.is_empty() && page.end {
            // Where nobody could wait for us, we wait here.
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }
    Ok(())
}

/// Prints the newest events; gives the cursor behind them when more shall follow.
async fn newest(client: &Client, args: &TailArgs, printer: &mut Printer) -> anyhow::Result<Option<String>> {
    // The end first: what comes in between is printed once, by its position.
    let end = match args.follow {
        true => ask(client, args, "limit=1&from=9999-01-01T00%3A00%3A00Z").await?.cursor,
        false => None,
    };
    if args.lines > 0 {
        let limit = args.lines.min(1_000);
        let page = ask(client, args, &format!("order=desc&limit={limit}")).await?;
        for event in page.events.iter().rev() {
            printer.print(event)?;
        }
    }
    Ok(end)
}

async fn ask(client: &Client, args: &TailArgs, query: &str) -> anyhow::Result<Page> {
    let mut path = args.reach.path(&format!("events?{query}"));
    let filters = [("type", &args.types), ("category", &args.category), ("correlation", &args.correlation)];
    for (name, value) in filters.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        path.push_str(&format!("&{name}={}", escape(value)));
    }
    serde_json::from_slice(&client.get(&path).await?.body).context("the system answered something else")
}

struct Printer {
    json: bool,
    colour: bool,
    /// The last sequence printed, by partition.
    seen: HashMap<String, u64>,
}

impl Printer {
    fn new(json: bool) -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json, colour, seen: HashMap::new() }
    }

    /// Prints an event that was not printed yet; false when nobody reads any more.
    fn print(&mut self, event: &RawValue) -> anyhow::Result<bool> {
        let view: Value = serde_json::from_str(event.get())?;
        let partition = view["position"]["partition"].as_str().unwrap_or_default().to_owned();
        let sequence = view["position"]["sequence"].as_u64().unwrap_or_default();
        let last = self.seen.entry(partition).or_default();
        if sequence <= *last {
            return Ok(true);
        }
        *last = sequence;
        let line = if self.json { event.get().to_owned() } else { self.line(&view) };
        Ok(writeln!(std::io::stdout(), "{line}").is_ok())
    }

    fn line(&self, view: &Value) -> String {
        let text = |name: &str| printable(view[name].as_str().unwrap_or_default());
        let paint = |code: &str, text: String| match self.colour {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text,
        };
        let status = text("status");
        let colour = match status.as_str() {
            "faulted" | "creation-failed" | "denied" => "31",
            "in-doubt" | "pending-approval" => "33",
            _ => "32",
        };
        let place = format!(
            "{}-{}",
            view["position"]["partition"].as_str().unwrap_or_default(),
            view["position"]["sequence"]
        );
        let mut line = format!(
            "{} {:<12} {} {}@{}",
            paint("2", text("recordedTime")),
            place,
            paint("36", text("type")),
            text("stream"),
            view["version"]
        );
        if !status.is_empty() {
            line.push_str(&format!(" [{}]", paint(colour, status)));
        }
        line.push_str(&format!(" {}", paint("2", text("id"))));
        line
    }
}

/// Text of others on a terminal: nothing in it may move the cursor or turn the line around.
fn printable(text: &str) -> String {
    let hostile = |c: char| {
        c.is_control()
            || matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if hostile(c) { '\u{FFFD}' } else { c }).collect()
}

//! What is printed: one line a figure, with what it should be where that was promised.
#![expect(clippy::print_stdout, reason = "what the benchmark is for")]

use std::time::Instant;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(most) => format!("at most {most}"),
            Self::AtLeast(least) => format!("at least {least}"),
        }
    }
}

/// The table as it grows.
#[derive(Debug)]
pub(crate) struct Report {
    started: Instant,
    met: usize,
    missed: Vec<String>,
}

impl Report {
    /// Says where and when.
    pub(crate) fn start() -> Self {
        let when = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        println!("annals {} · {when}", env!("CARGO_PKG_VERSION"));
        println!("{cores} cores, {}, load {}", model.trim_start_matches([' ', '\t', ':']), load());
        Self { started: Instant::now(), met: 0, missed: Vec::new() }
    }

    /// Begins a part.
    pub(crate) fn part(&self, title: &str) {
        println!("\n{title}");
    }

    /// A figure that is published without a goal.
    pub(crate) fn say(&self, what: &str, value: f64, unit: &str) {
        println!("  {what:<58} {:>9} {unit}", number(value));
    }

    /// A remark on what was just printed.
    pub(crate) fn note(&self, text: &str) {
        println!("    {text}");
    }

    /// A figure with a goal.
    pub(crate) fn judge(&mut self, what: &str, value: f64, unit: &str, goal: Goal) {
        let met = goal.is_met(value);
        let verdict = if met { "reached" } else { "MISSED" };
        println!("  {what:<58} {:>9} {unit:<9} {:<14} {verdict}", number(value), goal.text());
        if met { self.met += 1 } else { self.missed.push(what.to_owned()) }
    }

    /// Says how many goals were reached.
    pub(crate) fn end(&self) {
        let (met, of) = (self.met, self.met + self.missed.len());
        println!(
            "\n{met} of {of} figures reached in {} s, load {}",
            self.started.elapsed().as_secs(),
            load()
        );
        for missed in &self.missed {
            println!("  missed: {missed}");
        }
    }
}

/// The machine's load, because other work on it shows in every figure that is a time.
fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("unknown").to_owned()
}

fn number(value: f64) -> String {
    match value {
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ if value >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The middle one; ratios of single runs vary with whatever else the machine does.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

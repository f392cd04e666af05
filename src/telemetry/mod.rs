//! Logs: structured, to stdout only. The Functions host turns every line on stderr into an error.

mod otlp;
pub mod trace;

use std::{
    error::Error,
    io::{IsTerminal, stdout},
    sync::atomic::{AtomicBool, Ordering},
};

use tracing_subscriber::{
    EnvFilter, Layer,
    filter::Directive,
    fmt::{self, format::Writer, time::FormatTime},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::domain::timestamp::{Clock, SystemClock};

/// The time of day, which is all that a person at a terminal needs.
struct TimeOfDay;

impl FormatTime for TimeOfDay {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        let now = SystemClock.now().to_string();
        writer.write_str(now.get(11..19).unwrap_or(&now))
    }
}

/// Starts logging. `json` for machines, else one readable line an event.
///
/// `azure_core` never logs below info, whatever the filter says: at debug it prints the
/// Authorization header.
pub fn start(filter: Option<&str>, json: bool) {
    begin(filter, json, None);
}

/// Starts the handler's logging, and the export of its spans where a collector is named.
pub fn serve(filter: Option<&str>, collector: Option<&str>) {
    begin(filter, true, collector);
}

static EXPORTS_SPANS: AtomicBool = AtomicBool::new(false);

/// Whether spans go to a collector. One that is for nothing else need not be made where they do not.
pub fn exports_spans() -> bool {
    EXPORTS_SPANS.load(Ordering::Relaxed)
}

fn begin(filter: Option<&str>, json: bool, collector: Option<&str>) {
    let filter =
        filter.and_then(|text| EnvFilter::try_new(text).ok()).unwrap_or_else(|| EnvFilter::new("info"));
    let quiet = [
        "azure_core=info",
        "azure_storage=info",
        "azure_data_tables=info",
        "hyper=info",
        "reqwest=info",
        "opentelemetry=warn",
    ];
    let directives = quiet.into_iter().filter_map(|directive| directive.parse::<Directive>().ok());
    let filter = directives.fold(filter, EnvFilter::add_directive);
    let lines = fmt::layer().with_writer(stdout);
    let lines = if json {
        lines.json().flatten_event(true).with_span_list(false).boxed()
    } else {
        lines.compact().with_target(false).with_timer(TimeOfDay).with_ansi(stdout().is_terminal()).boxed()
    };
    let (spans, problem) = match collector.filter(|text| !text.trim().is_empty()).map(otlp::layer) {
        Some(Ok(layer)) => (Some(layer), None),
        Some(Err(problem)) => (None, Some(problem)),
        None => (None, None),
    };
    EXPORTS_SPANS.store(spans.is_some(), Ordering::Relaxed);
    // Failing means that a logger runs already: a test's, which is as good.
    let _ = tracing_subscriber::registry().with(spans).with(lines).with(filter).try_init();
    if let Some(error) = problem {
        tracing::warn!(evt = "telemetry.not-exported", error, "spans stay here");
    }
}

/// An error and all its sources in one line: sources are never printed by `Display` itself.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}

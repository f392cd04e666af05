//! Logs: structured, to stdout only. The Functions host turns every line on stderr into an error.

use std::{
    error::Error,
    fmt,
    io::{IsTerminal, stdout},
};

use tracing_subscriber::{
    EnvFilter,
    filter::Directive,
    fmt::{format::Writer, time::FormatTime},
};

use crate::domain::timestamp::{Clock, SystemClock};

/// The time of day, which is all that a person at a terminal needs.
struct TimeOfDay;

impl FormatTime for TimeOfDay {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let now = SystemClock.now().to_string();
        writer.write_str(now.get(11..19).unwrap_or(&now))
    }
}

/// Starts logging. `json` for machines, else one readable line an event.
///
/// `azure_core` never logs below info, whatever the filter says: at debug it prints the
/// Authorization header.
pub fn start(filter: Option<&str>, json: bool) {
    let filter =
        filter.and_then(|text| EnvFilter::try_new(text).ok()).unwrap_or_else(|| EnvFilter::new("info"));
    let quiet =
        ["azure_core=info", "azure_storage=info", "azure_data_tables=info", "hyper=info", "reqwest=info"];
    let directives = quiet.into_iter().filter_map(|directive| directive.parse::<Directive>().ok());
    let filter = directives.fold(filter, EnvFilter::add_directive);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stdout);
    // Failing means that a logger runs already: a test's, which is as good.
    let _ = if json {
        lines.json().flatten_event(true).try_init()
    } else {
        lines.compact().with_target(false).with_timer(TimeOfDay).with_ansi(stdout().is_terminal()).try_init()
    };
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

//! Logs: structured, to stdout only. The Functions host turns every line on stderr into an error.

pub mod trace;

use std::error::Error;

use tracing_subscriber::{EnvFilter, filter::Directive};

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
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stdout);
    // Failing means that a logger runs already: a test's, which is as good.
    let _ = if json {
        lines.json().flatten_event(true).with_span_list(false).try_init()
    } else {
        lines.compact().with_target(false).try_init()
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

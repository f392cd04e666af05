//! Logs: structured, to stdout only. The Functions host turns every line on stderr into an error.

use std::error::Error;

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

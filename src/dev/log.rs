//! The handler's log lines, for a person: one short line each, at the level that they have.

use serde_json::{Map, Value};
use tracing::Level;

/// Members that a person at a terminal does not need.
const SKIPPED: [&str; 7] = ["timestamp", "level", "target", "evt", "message", "invocation_id", "span"];

/// A line that the handler wrote to stdout. Ours are JSON; those of others pass as they are.
pub(super) fn stdout(line: &str) {
    let (level, text) = readable(line);
    match level {
        Level::ERROR => tracing::error!(target: "handler", "{text}"),
        Level::WARN => tracing::warn!(target: "handler", "{text}"),
        Level::INFO => tracing::info!(target: "handler", "{text}"),
        _ => tracing::debug!(target: "handler", "{text}"),
    }
}

/// A line that the handler wrote to stderr: a warning if it says so, else an error.
pub(super) fn stderr(line: &str) {
    if line.to_ascii_lowercase().contains("warn") {
        tracing::warn!(target: "handler", "{line}");
    } else {
        tracing::error!(target: "handler", "{line}");
    }
}

fn readable(line: &str) -> (Level, String) {
    let Ok(Value::Object(members)) = serde_json::from_str::<Value>(line) else {
        return (Level::INFO, line.to_owned());
    };
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let level = match text("level") {
        Some("ERROR") => Level::ERROR,
        Some("WARN") => Level::WARN,
        // Every minute, and nothing to see.
        Some("INFO") if text("function") == Some("sweep") => Level::DEBUG,
        Some("INFO") => Level::INFO,
        _ => Level::DEBUG,
    };
    let words = ["evt", "message"].into_iter().filter_map(text).map(str::to_owned);
    let words: Vec<String> = words.chain(fields(&members)).collect();
    (level, words.join(" "))
}

fn fields(members: &Map<String, Value>) -> impl Iterator<Item = String> {
    let shown = members.iter().filter(|(name, value)| !SKIPPED.contains(&name.as_str()) && !value.is_null());
    shown.map(|(name, value)| match value.as_str() {
        Some(text) if !text.contains(' ') => format!("{name}={text}"),
        _ => format!("{name}={value}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_line_becomes_a_short_one_and_keeps_its_level() {
        let line = r#"{"timestamp":"2026-11-24T09:00:00Z","level":"WARN","evt":"dead-letter.kept","tenant":null,"code":"not-json","reason":"must be JSON","target":"annals"}"#;
        let (level, text) = readable(line);
        assert_eq!(level, Level::WARN);
        assert_eq!(text, r#"dead-letter.kept code=not-json reason="must be JSON""#);
    }

    #[test]
    fn other_lines_pass_as_they_are() {
        assert_eq!(readable("listening on 1"), (Level::INFO, "listening on 1".to_owned()));
        assert_eq!(readable("[1]"), (Level::INFO, "[1]".to_owned()));
    }
}

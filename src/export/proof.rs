//! Lines that carry what another program needs to recompute the digests.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

use crate::{
    domain::{ids::TenantId, position::PartitionId},
    store::{
        registry::Tenant,
        rows::Commit,
        table::{Row, Value},
    },
};

/// Whose log it is: the first line.
#[derive(Debug, Serialize)]
pub struct LogLine<'a> {
    kind: &'static str,
    tenant: &'a TenantId,
    table: &'a str,
}

/// Writes whose log it is.
pub fn log_line(tenant: &Tenant) -> LogLine<'_> {
    LogLine { kind: "log", tenant: &tenant.id, table: tenant.table.as_str() }
}

/// A commit, as `docs/INTEGRITY.md` describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitLine {
    kind: &'static str,
    partition: PartitionId,
    first: u64,
    last: u64,
    recorded: String,
    attempt: String,
    previous: String,
    digest: String,
    /// The exact stored bytes, in base64.
    essentials: String,
}

/// Writes a commit.
pub fn commit_line(partition: PartitionId, commit: &Commit) -> CommitLine {
    CommitLine {
        kind: "commit",
        partition,
        first: commit.first,
        last: commit.last,
        recorded: commit.recorded.to_string(),
        attempt: commit.attempt.clone(),
        previous: hex::encode(commit.previous.0),
        digest: hex::encode(commit.digest.0),
        essentials: STANDARD.encode(&commit.essentials),
    }
}

/// The row of an event, property by property.
#[derive(Debug, Serialize)]
pub struct EventLine {
    kind: &'static str,
    partition: PartitionId,
    sequence: i64,
    key: String,
    /// Name, type (`s`, `i`, `b` in base64, `t`) and value.
    properties: Vec<(String, char, String)>,
}

/// Writes an event's row.
pub fn event_line(partition: PartitionId, row: &Row) -> EventLine {
    let property = |(name, value): &(std::borrow::Cow<'static, str>, Value)| {
        let (kind, text) = match value {
            Value::Str(text) => ('s', text.clone()),
            Value::Int(number) => ('i', number.to_string()),
            Value::Bin(bytes) => ('b', STANDARD.encode(bytes)),
            Value::Bool(truth) => ('t', truth.to_string()),
        };
        (name.to_string(), kind, text)
    };
    EventLine {
        kind: "event",
        partition,
        sequence: row.int("Sequence").unwrap_or_default(),
        key: row.key.clone(),
        properties: row.properties.iter().map(property).collect(),
    }
}

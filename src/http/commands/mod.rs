//! The command journal over HTTP. `docs/COMMANDS.md` tells how it is used.

mod ask;
mod correlation;
mod list;
mod read;
mod views;

pub(super) use self::{
    ask::{Kind, ask},
    correlation::correlated,
    list::list,
    read::{one, was_it},
};
use axum::http::StatusCode;
use serde_json::json;

use super::problem::Problem;
use crate::{
    access::{Caller, Role},
    domain::{
        command::Rule,
        ids::{Invalid, StreamId},
    },
    journal::{JournalError, Record},
    links,
    store::registry::Tenant,
};

/// The id of a command in a path.
fn command_id(segment: &str) -> Result<StreamId, Problem> {
    StreamId::parse(links::from_segment("id", segment)?)
        .map_err(|invalid| Invalid { field: "id".to_owned(), ..invalid }.into())
}

/// A reader sees every command of the tenant, a writer those that it put on record; others are not
/// told whether there is one.
fn visible(caller: &Caller, tenant: &Tenant, record: Option<Record>) -> Result<Record, Problem> {
    let seen = |record: &Record| {
        caller.has(&tenant.id, Role::Reader) || record.is_recorded_by(&caller.recorded_by())
    };
    record.filter(seen).ok_or_else(|| Problem::not_found("unknown-command", "command"))
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::History(error) => error.into(),
            JournalError::Store(error) => error.into(),
            JournalError::OperationReused { version } => {
                let problem = Self::new(StatusCode::CONFLICT, "operation-reused", error.to_string());
                problem.with("version", version)
            }
            JournalError::Forbidden { rule, holder } => {
                let status = match rule {
                    Rule::Unknown => StatusCode::NOT_FOUND,
                    Rule::NotAnApprover | Rule::RequesterExcluded | Rule::NotTheRequester => {
                        StatusCode::FORBIDDEN
                    }
                    _ => StatusCode::CONFLICT,
                };
                let problem = Self::new(status, rule.code(), rule.to_string());
                match rule {
                    Rule::Held { until, .. } => {
                        problem.with("holder", json!(holder)).with("until", until.to_string())
                    }
                    Rule::Final { status } | Rule::NotApproved { status } => {
                        problem.with("commandStatus", status)
                    }
                    _ => problem,
                }
            }
        }
    }
}

//! Export: every event of a tenant, in a form that others can read, and check.
//!
//! Constant memory: a page at a time. `ndjson` is one JSON object a line; with proof, commits come
//! too, and every event with its row as stored, so that `docs/verify_export.py` can recompute all of
//! it. `csv` is for people and their spreadsheets.

mod csv;
mod proof;

pub use self::{
    csv::{header as csv_header, line as csv_line},
    proof::{CommitLine, EventLine, LogLine, commit_line, event_line, log_line},
};

//! Amendments: a stored event's row changed in the very commit that says so.
//!
//! The row is replaced under its ETag, so an amendment rests on what its maker read. It is the only
//! way in which an event row ever changes, and only erasure uses it.

use super::Append;
use crate::{
    domain::ids::Identity,
    store::table::{ETag, Op, Row},
};

/// One changed event row.
#[derive(Debug, Clone)]
pub struct Amendment {
    /// The row as it will be.
    pub row: Row,
    /// The version that was read.
    pub etag: ETag,
    /// Index rows that go with what was erased.
    pub removed: Vec<String>,
    /// Whose event it is: what memory knows of it is forgotten.
    pub identity: Identity,
}

/// The operations of an append's amendments. Rows that turned out to be gone are left out.
pub(super) fn ops(append: &Append, gone: &[String]) -> Vec<Op> {
    let mut ops = Vec::new();
    for amendment in &append.amendments {
        ops.push(Op::Replace(amendment.row.clone(), amendment.etag.clone()));
        let there = amendment.removed.iter().filter(|key| !gone.contains(key));
        ops.extend(there.cloned().map(Op::Delete));
    }
    ops
}

/// Whether an amendment of the append is what failed a batch: the row at `key` has changed, or,
/// where storage named no row, one of the batch's has and the head has not.
pub(super) fn is_stale(append: &Append, key: Option<&str>, moved: bool) -> bool {
    match key {
        Some(key) => append.amendments.iter().any(|amendment| amendment.row.key == key),
        None => !moved && !append.amendments.is_empty(),
    }
}

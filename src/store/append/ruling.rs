//! What a state machine's ruling does to the rows of a stream: when it falls due is a row that a timer
//! reads, for nobody commits merely because time passes.

use crate::{
    domain::ids::StreamName,
    store::{keys, rows::Stream, table::Op},
};

/// How many operations [`due_ops`] gives, at most.
pub(super) fn due_rows(before: Option<&Stream>, after: &Stream) -> usize {
    let was = before.and_then(|stream| stream.due);
    match was == after.due {
        true => 0,
        false => usize::from(was.is_some()) + usize::from(after.due.is_some()),
    }
}

/// Moves the row from the time at which the stream fell due to that at which it will.
pub(super) fn due_ops(
    name: &StreamName,
    before: Option<&Stream>,
    after: &Stream,
    gone: &[String],
) -> Vec<Op> {
    let was = before.and_then(|stream| stream.due);
    if was == after.due {
        return Vec::new();
    }
    let (old, new) = (was.map(|at| keys::due(name, at)), after.due.map(|at| keys::due(name, at)));
    // Times are kept to the nanosecond and keys to the microsecond.
    let stays = old.is_some() && old == new;
    let delete = old.filter(|key| !stays && !gone.contains(key)).map(Op::Delete);
    let write = new.map(|key| Op::Upsert(after.due_row(key, name)));
    delete.into_iter().chain(write).collect()
}

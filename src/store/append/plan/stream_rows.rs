//! A stream's own rows: the one that says how it stands, the one that lists it among those which want
//! attention, and the one by which a timer finds it, for nobody commits merely because time passes.

use crate::{
    domain::ids::StreamName,
    store::{
        keys,
        rows::Stream,
        table::{Op, Row},
    },
};

/// The operations that bring the rows to where they will be; `row` is the first of them as it will be, and
/// `gone` are keys that turned out not to exist.
pub(super) fn ops(
    name: &StreamName,
    before: Option<&Stream>,
    after: &Stream,
    row: Row,
    gone: &[String],
) -> Vec<Op> {
    let is_new = before.is_none_or(|stream| stream.version == 0) || gone.contains(&row.key);
    let mut ops = vec![if is_new { Op::Insert(row) } else { Op::Overwrite(row) }];
    let was = before.and_then(|stream| stream.attention.as_ref());
    if was != after.attention.as_ref() {
        let old = was.map(|status| keys::attention(name, status.as_str()));
        ops.extend(old.filter(|key| !gone.contains(key)).map(Op::Delete));
        if let Some(status) = &after.attention {
            let key = keys::attention(name, status.as_str());
            ops.push(Op::Upsert(after.attention_row(key, name)));
        }
    }
    ops.extend(due_ops(name, before, after, gone));
    ops
}

/// Moves the row from the time at which the stream fell due to that at which it will.
fn due_ops(name: &StreamName, before: Option<&Stream>, after: &Stream, gone: &[String]) -> Vec<Op> {
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

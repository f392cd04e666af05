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
    let write = match before.is_none_or(|stream| stream.version == 0) {
        true => Op::Insert,
        // Somebody has taken it away, and may put it back.
        false if gone.contains(&row.key) => Op::Upsert,
        false => Op::Overwrite,
    };
    let mut ops = vec![write(row)];
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{Category, StreamId};

    #[test]
    fn a_row_that_is_there_is_overwritten_and_one_that_somebody_took_away_is_written_either_way() {
        let name = StreamName::new(Category::parse("c").unwrap(), StreamId::parse("a").unwrap());
        let at = |version| Stream { version, ..Stream::default() };
        let write = |before: u64, gone: &[String]| {
            let after = at(before + 1);
            ops(&name, Some(&at(before)), &after, after.row(&name), gone)
        };
        let row = |version| at(version).row(&name);
        assert_eq!(write(0, &[]), [Op::Insert(row(1))]);
        assert_eq!(write(1, &[]), [Op::Overwrite(row(2))]);
        assert_eq!(write(1, &[keys::stream(&name)]), [Op::Upsert(row(2))]);
    }
}

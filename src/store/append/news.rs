//! What the end of the log says of the commits of others.

use super::read::{StateError, Tip};
use crate::store::{
    keys,
    rows::{Commit, Head},
    table::Page,
};

/// What a look at the end of the log showed.
pub(super) struct News {
    pub(super) tip: Tip,
    pub(super) commits: Vec<Commit>,
}

/// Reads a page of commits with the head at its end; `None` when the page ends before the head.
pub(super) fn news(page: &Page) -> Result<Option<News>, StateError> {
    let Some((last, commits)) = page.rows.split_last().filter(|(last, _)| last.row.key == keys::HEAD) else {
        return if page.next.is_some() { Ok(None) } else { Err(StateError::Missing(keys::HEAD.to_owned())) };
    };
    let commits = commits.iter().map(|stored| Commit::read(&stored.row)).collect::<Result<Vec<_>, _>>()?;
    let tip = Tip { head: Head::read(&last.row)?, etag: last.etag.clone() };
    Ok(Some(News { tip, commits }))
}

/// Whether commits lead without a gap from one head to another. A range is not read in one
/// moment: the head in it may know of a commit that the rows before it do not show yet.
pub(super) fn settles(from: &Head, commits: &[Commit], to: &Head) -> bool {
    let mut at = (from.last, from.digest);
    for commit in commits {
        if commit.first != at.0 + 1 || commit.previous != at.1 {
            return false;
        }
        at = (commit.last, commit.digest);
    }
    at == (to.last, to.digest)
}

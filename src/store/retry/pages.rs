//! Reading ranges, so that every reader minds what the port allows: pages that would be too large, that are
//! short, and that are empty while there is more.

use std::sync::Arc;

use super::read;
use crate::store::table::{Page, Range, ReadError, StoredRow, Table, TableName};

/// Most rows that one storage query gives.
pub(crate) const MAX_ROWS: usize = 1_000;

/// At most `limit` rows of a range, fewer when they would not fit into memory; some, when there are any.
/// Tried again while a fault may pass.
///
/// # Errors
/// The last [`ReadError`].
pub(crate) async fn scan(
    table: &Arc<dyn Table>,
    name: &TableName,
    partition: &str,
    range: &Range,
    limit: usize,
) -> Result<Page, ReadError> {
    page(table, name, partition, range, limit, Faults::TryAgain).await
}

/// As [`scan`], for whoever minds faults alone.
///
/// # Errors
/// The first [`ReadError`].
pub(crate) async fn scan_once(
    table: &Arc<dyn Table>,
    name: &TableName,
    partition: &str,
    range: &Range,
    limit: usize,
) -> Result<Page, ReadError> {
    page(table, name, partition, range, limit, Faults::GiveUp).await
}

/// What is done about a fault that may pass.
enum Faults {
    TryAgain,
    GiveUp,
}

async fn page(
    table: &Arc<dyn Table>,
    name: &TableName,
    partition: &str,
    range: &Range,
    limit: usize,
    faults: Faults,
) -> Result<Page, ReadError> {
    let mut reading = Reading { range: range.clone(), limit: limit.clamp(1, MAX_ROWS) };
    loop {
        let ask = || table.scan(name, partition, &reading.range, reading.limit);
        let answer = match faults {
            Faults::TryAgain => read(ask).await,
            Faults::GiveUp => ask().await,
        };
        if let Some(settled) = reading.settles(answer) {
            return settled;
        }
    }
}

/// All rows of a range, but at most about `most`: what is known to be little.
///
/// # Errors
/// The last [`ReadError`].
pub(crate) async fn all(
    table: &Arc<dyn Table>,
    name: &TableName,
    partition: &str,
    range: &Range,
    most: usize,
) -> Result<Vec<StoredRow>, ReadError> {
    let (mut rows, mut range) = (Vec::new(), range.clone());
    loop {
        let page = scan(table, name, partition, &range, most - rows.len()).await?;
        rows.extend(page.rows);
        match page.next {
            Some(next) if rows.len() < most => range.from = next,
            _ => return Ok(rows),
        }
    }
}

/// What is left to be read.
struct Reading {
    range: Range,
    limit: usize,
}

impl Reading {
    /// What a reader gets; `None` when storage has to be asked again.
    fn settles(&mut self, answer: Result<Page, ReadError>) -> Option<Result<Page, ReadError>> {
        match answer {
            Err(ReadError::TooLarge) if self.limit > 1 => self.limit = (self.limit / 8).max(1),
            Ok(Page { rows, next: Some(next) }) if rows.is_empty() => self.range.from = next,
            settled => return Some(settled),
        }
        None
    }
}

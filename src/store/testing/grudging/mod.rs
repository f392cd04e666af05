//! A table that answers as badly as the port allows: readers that can do with it can do with any.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    super::table::{Page, Range, ReadError, Table, TableName},
    Layer,
};

/// What ends a row key between the last before a range and the first in it: no key of ours holds it twice.
const BEFORE: &str = "~~~~";

/// Over another table. Every page that holds rows is preceded by an empty one, and a page of more rows
/// than it takes would be too large.
#[derive(Debug)]
pub struct Grudging {
    table: Arc<dyn Table>,
    rows: usize,
}

impl Grudging {
    /// Over `table`, with pages of at most so many rows.
    pub fn new(table: Arc<dyn Table>, rows: usize) -> Self {
        Self { table, rows }
    }
}

#[async_trait]
impl Layer for Grudging {
    fn below(&self) -> &dyn Table {
        self.table.as_ref()
    }

    async fn scan(
        &self,
        table: &TableName,
        partition: &str,
        range: &Range,
        limit: usize,
    ) -> Result<Page, ReadError> {
        let page = self.table.scan(table, partition, range, limit).await?;
        if range.from.ends_with(BEFORE) || page.rows.is_empty() {
            return if page.rows.len() > self.rows { Err(ReadError::TooLarge) } else { Ok(page) };
        }
        Ok(Page { rows: Vec::new(), next: Some(just_before(&range.from)) })
    }
}

/// A row key with no other one between it and this.
fn just_before(key: &str) -> String {
    let mut bytes = key.as_bytes().to_vec();
    let last = bytes.last_mut().expect("a range begins somewhere");
    *last -= 1;
    let before = String::from_utf8(bytes).expect("keys are ASCII");
    format!("{before}{BEFORE}")
}

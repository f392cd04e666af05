//! The promises of the [`Table`] port, each an async function that panics when a driver breaks it.
//!
//! [`table_conformance!`](crate::table_conformance) turns the list into one test per promise, so
//! that every driver answers to the same one. A promise that only some drivers keep does not
//! belong here: the store above may rely on nothing else than what this suite shows.
//!
//! Each behaviour gets a fresh table and writes at most 2,000 rows to it, because Azurite slows
//! down with the size of a table.

mod batches;
mod conditions;
mod isolation;
mod races;
mod scans;
mod values;

pub use self::{batches::*, conditions::*, isolation::*, races::*, scans::*, values::*};

use uuid::Uuid;

use super::super::table::{
    Batch, CommitError, ETag, Op, Page, Range, ReadError, Row, StoredRow, Table, TableName, Value,
};

/// Writes one `#[tokio::test]` for each behaviour.
///
/// Takes the path of an `async fn() -> impl Deref<Target: Table>` (an `Arc` of the driver, or a
/// guard that also keeps its folder), after any attributes that each test shall carry:
///
/// ```ignore
/// annals::table_conformance! { open }
/// annals::table_conformance! { #[ignore = "needs Azurite"] open }
/// ```
#[macro_export]
macro_rules! table_conformance {
    ($(#[$attribute:meta])* $open:path) => {
        $crate::table_conformance! {
            @each [$(#[$attribute])*] $open =>
            a_row_gives_back_every_type_of_value
            a_row_gives_back_the_longest_values
            an_empty_row_is_a_row
            every_character_of_our_keys_is_kept
            a_quote_in_a_key_reads_no_other_row
            an_insert_meets_a_row
            a_replace_takes_the_version_that_was_read
            a_replace_refuses_a_version_that_has_passed
            a_replace_of_a_missing_row_meets_a_change
            a_replaced_row_keeps_nothing_of_the_old_one
            an_upsert_writes_whether_or_not_the_row_exists
            an_overwrite_writes_a_row_in_whichever_version
            an_overwrite_of_a_missing_row_says_so
            a_delete_removes_a_row_in_whichever_version
            a_delete_of_a_missing_row_says_so
            the_same_content_written_again_is_another_version
            a_row_that_was_deleted_comes_back_in_another_version
            a_batch_answers_with_the_version_of_its_first_row
            a_batch_of_a_hundred_operations_is_taken
            a_batch_of_every_operation_happens_together
            an_insert_that_meets_a_row_undoes_the_batch_wherever_it_stands
            a_replace_that_is_late_undoes_the_batch_wherever_it_stands
            an_overwrite_that_finds_nothing_undoes_the_batch_wherever_it_stands
            a_delete_that_finds_nothing_undoes_the_batch_wherever_it_stands
            a_batch_that_failed_can_be_sent_again
            a_range_includes_its_first_key_and_not_its_last
            a_range_that_holds_nothing_is_an_empty_last_page
            a_page_never_holds_more_than_its_limit
            pages_cover_a_range_once_and_in_order
            a_thousand_rows_are_one_limit
            keys_sort_by_their_bytes
            a_scan_reads_the_versions_that_a_replace_takes
            partitions_are_apart
            tables_are_apart
            a_table_that_is_not_there_says_so
            a_table_can_be_made_twice
            a_table_that_was_removed_is_gone
            of_many_inserts_of_one_row_one_wins
            a_counter_under_its_version_loses_nothing
        }
    };
    (@each $attributes:tt $open:path => $($behaviour:ident)+) => {
        $($crate::table_conformance! { @one $attributes $open => $behaviour })+
    };
    (@one [$(#[$attribute:meta])*] $open:path => $behaviour:ident) => {
        $(#[$attribute])*
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $behaviour() {
            let driver = $open().await;
            $crate::store::testing::conformance::run(
                &*driver,
                $crate::store::testing::conformance::$behaviour,
            )
            .await;
        }
    };
}

/// Runs one behaviour on a fresh table and removes the table when it passed.
///
/// # Panics
/// When the driver breaks the promise.
pub async fn run(driver: &dyn Table, behaviour: impl AsyncFn(&Scratch<'_>)) {
    let scratch = Scratch::create(driver).await;
    behaviour(&scratch).await;
    driver.delete_table(&scratch.name).await.expect("the scratch table can be removed");
}

/// A table of its own for one behaviour, and shorthands that panic where a driver must not fail.
#[derive(Debug)]
pub struct Scratch<'a> {
    driver: &'a dyn Table,
    name: TableName,
}

impl<'a> Scratch<'a> {
    async fn create(driver: &'a dyn Table) -> Self {
        let name = unused_name();
        driver.create_table(&name).await.expect("a table can be made");
        Self { driver, name }
    }

    async fn commit(&self, partition: &str, ops: Vec<Op>) -> Result<Option<ETag>, CommitError> {
        let batch = Batch::new(partition, ops).expect("the operations make a batch");
        self.driver.commit(&self.name, &batch).await
    }

    /// Commits what must succeed.
    async fn put(&self, partition: &str, ops: Vec<Op>) -> Option<ETag> {
        match self.commit(partition, ops).await {
            Ok(etag) => etag,
            Err(error) => panic!("a batch that meets its conditions is committed, got {error:?}"),
        }
    }

    /// Inserts `rows`, as many batches as it takes.
    async fn fill(&self, partition: &str, rows: impl IntoIterator<Item = Row>) {
        let ops: Vec<Op> = rows.into_iter().map(Op::Insert).collect();
        for some in ops.chunks(100) {
            self.put(partition, some.to_vec()).await;
        }
    }

    async fn get(&self, partition: &str, key: &str) -> Option<StoredRow> {
        self.driver.get(&self.name, partition, key).await.expect("a row can be read")
    }

    async fn must_get(&self, partition: &str, key: &str) -> StoredRow {
        match self.get(partition, key).await {
            Some(row) => row,
            None => panic!("row {partition}/{key} is there"),
        }
    }

    async fn page(&self, partition: &str, range: &Range, limit: usize) -> Page {
        self.driver.scan(&self.name, partition, range, limit).await.expect("a range can be read")
    }

    /// Every row of a range by pages of `limit`; checks what holds for each page.
    async fn scan(&self, partition: &str, range: Range, limit: usize) -> Vec<StoredRow> {
        let mut rows: Vec<StoredRow> = Vec::new();
        let mut rest = range;
        // A driver whose `next` stands still would otherwise hang the test.
        for _ in 0..10_000 {
            let page = self.page(partition, &rest, limit).await;
            assert!(page.rows.len() <= limit, "a page of {limit} holds {} rows", page.rows.len());
            rows.extend(page.rows);
            let Some(next) = page.next else { return rows };
            if let Some(last) = rows.last() {
                assert!(next > last.row.key, "a page goes on behind its last row");
            }
            rest.from = next;
        }
        panic!("the pages of a range come to an end");
    }

    /// Every row of a partition.
    async fn all(&self, partition: &str) -> Vec<StoredRow> {
        self.scan(partition, everything(), 1_000).await
    }

    async fn count(&self, partition: &str) -> usize {
        self.all(partition).await.len()
    }
}

/// A name that no table has: random, so that runs on one account never meet.
fn unused_name() -> TableName {
    let name = format!("t{}", Uuid::new_v4().simple());
    TableName::new(&name).expect("a letter and 32 hex digits are a table name")
}

/// A row with one number.
fn numbered(key: impl Into<String>, number: i64) -> Row {
    Row::new(key).with("Number", Value::Int(number))
}

fn range(from: &str, to: &str) -> Range {
    Range { from: from.into(), to: to.into() }
}

/// The range of every key of our alphabet, whose last character is `~`.
fn everything() -> Range {
    range("", "~~~~~~~~")
}

fn keys(rows: &[StoredRow]) -> Vec<&str> {
    rows.iter().map(|stored| stored.row.key.as_str()).collect()
}

/// Properties compare as a set: a service may give them back in an order of its own.
#[track_caller]
fn assert_same_row(got: &Row, wanted: &Row) {
    fn sorted(row: &Row) -> Vec<&(std::borrow::Cow<'static, str>, Value)> {
        let mut properties: Vec<_> = row.properties.iter().collect();
        properties.sort_by(|a, b| a.0.cmp(&b.0));
        properties
    }
    assert_eq!(got.key, wanted.key);
    assert_eq!(sorted(got), sorted(wanted), "of row {}", wanted.key);
}

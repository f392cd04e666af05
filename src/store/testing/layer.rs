//! Tables over other tables, which differ from them in an answer or two.

use std::{fmt, time::Duration};

use async_trait::async_trait;

use super::super::table::{Batch, CommitError, ETag, Page, Range, ReadError, StoredRow, Table, TableName};

/// What stands in front of a table; as it is, it changes nothing. Whatever is a layer is a [`Table`].
#[async_trait]
pub trait Layer: Send + Sync + fmt::Debug {
    /// The table below.
    fn below(&self) -> &dyn Table;

    /// Happens in front of every request.
    async fn asked(&self) {}

    /// As [`Table::commit`].
    async fn commit(&self, table: &TableName, batch: &Batch) -> Result<Option<ETag>, CommitError> {
        self.below().commit(table, batch).await
    }

    /// As [`Table::get`].
    async fn get(
        &self,
        table: &TableName,
        partition: &str,
        key: &str,
    ) -> Result<Option<StoredRow>, ReadError> {
        self.below().get(table, partition, key).await
    }

    /// As [`Table::scan`].
    async fn scan(
        &self,
        table: &TableName,
        partition: &str,
        range: &Range,
        limit: usize,
    ) -> Result<Page, ReadError> {
        self.below().scan(table, partition, range, limit).await
    }

    /// As [`Table::clock_skew`].
    fn clock_skew(&self) -> Duration {
        self.below().clock_skew()
    }
}

#[async_trait]
impl<L: Layer> Table for L {
    async fn create_table(&self, table: &TableName) -> Result<(), ReadError> {
        self.asked().await;
        self.below().create_table(table).await
    }

    async fn delete_table(&self, table: &TableName) -> Result<(), ReadError> {
        self.asked().await;
        self.below().delete_table(table).await
    }

    async fn commit(&self, table: &TableName, batch: &Batch) -> Result<Option<ETag>, CommitError> {
        self.asked().await;
        Layer::commit(self, table, batch).await
    }

    async fn get(
        &self,
        table: &TableName,
        partition: &str,
        key: &str,
    ) -> Result<Option<StoredRow>, ReadError> {
        self.asked().await;
        Layer::get(self, table, partition, key).await
    }

    async fn scan(
        &self,
        table: &TableName,
        partition: &str,
        range: &Range,
        limit: usize,
    ) -> Result<Page, ReadError> {
        self.asked().await;
        Layer::scan(self, table, partition, range, limit).await
    }

    fn clock_skew(&self) -> Duration {
        Layer::clock_skew(self)
    }
}

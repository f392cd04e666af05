//! The driver of the [`Table`] port.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use azure_core::{Context, Continuable, Etag};
use azure_data_tables::{
    operations::QueryEntityResponse,
    prelude::{TableServiceClient, Top},
};
use futures::StreamExt;

use super::{
    batch,
    entity::Stored,
    fault::Fault,
    keys::{Start, bounds, quoted, sendable},
    outcome,
    skew::ClockSkew,
};
use crate::store::table::{
    Batch, CommitError, ETag, Op, Page, Range, ReadError, StoredRow, Table, TableName,
};

/// Most rows that the service gives in one page.
const MAX_PAGE: usize = 1_000;

/// Azure Table Storage behind the guarded transport. Cheap to clone.
#[derive(Clone)]
pub struct AzureTables {
    service: TableServiceClient,
    endpoint: Arc<str>,
    skew: Arc<ClockSkew>,
}

impl AzureTables {
    /// `service` MUST send its requests through [`batch::OwnBody`].
    pub(super) fn new(service: TableServiceClient, endpoint: &str, skew: Arc<ClockSkew>) -> Self {
        Self { service, endpoint: endpoint.into(), skew }
    }
}

impl fmt::Debug for AzureTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureTables").finish_non_exhaustive()
    }
}

#[async_trait]
impl Table for AzureTables {
    async fn create_table(&self, table: &TableName) -> Result<(), ReadError> {
        match self.service.table_client(table.as_str()).create().await.map_err(|error| Fault::of(&error)) {
            Ok(_) => Ok(()),
            Err(Fault::Answer { status: 409, code, .. }) if code == "TableAlreadyExists" => Ok(()),
            // A table that is being removed keeps its name for a while.
            Err(fault) => Err(outcome::unavailable(&fault)),
        }
    }

    async fn delete_table(&self, table: &TableName) -> Result<(), ReadError> {
        let deleted = self.service.table_client(table.as_str()).delete().await;
        match deleted.map_err(|error| Fault::of(&error)) {
            Ok(_) => Ok(()),
            Err(fault) if outcome::no_row(&fault) || outcome::read(&fault) == ReadError::NoTable => Ok(()),
            Err(fault) => Err(outcome::unavailable(&fault)),
        }
    }

    async fn commit(&self, table: &TableName, batch: &Batch) -> Result<Option<ETag>, CommitError> {
        let illegal = !sendable(batch.partition()) || batch.ops().iter().any(|op| !sendable(op.key()));
        if illegal {
            return Err(CommitError::Refused { code: "IllegalKey".to_owned() });
        }
        let body = batch::write(&self.endpoint, table, batch);
        let body = body.map_err(|_| CommitError::Refused { code: "IllegalRow".to_owned() })?;
        let mut context = Context::new();
        context.insert(body);
        let partition = self.service.table_client(table.as_str()).partition_key_client(batch.partition());
        let reply = partition.transaction().context(context).await.map_err(|error| Fault::of(&error));
        let versions = reply.and_then(|reply| {
            let answers = reply.operation_responses.into_iter();
            answers
                .map(|answer| answer.status_code.is_success().then_some(answer.etag).ok_or(Fault::Senseless))
                .collect::<Result<Vec<_>, _>>()
        });
        versions
            .and_then(|versions| first_version(&versions, batch))
            .map_err(|fault| outcome::commit(&fault, batch))
    }

    async fn get(
        &self,
        table: &TableName,
        partition: &str,
        key: &str,
    ) -> Result<Option<StoredRow>, ReadError> {
        if !sendable(partition) || !sendable(key) {
            return Err(illegal_key());
        }
        let table = self.service.table_client(table.as_str());
        let entity = table.partition_key_client(quoted(partition)).entity_client(quoted(key));
        match entity.get::<Stored>().await.map_err(|error| Fault::of(&error)) {
            Ok(reply) => {
                let etag = ETag(reply.etag.to_string().into());
                Ok(Some(StoredRow { row: reply.entity.row, etag }))
            }
            Err(fault) if outcome::no_row(&fault) => Ok(None),
            Err(fault) => Err(outcome::read(&fault)),
        }
    }

    async fn scan(
        &self,
        table: &TableName,
        partition: &str,
        range: &Range,
        limit: usize,
    ) -> Result<Page, ReadError> {
        let start = Start::read(&range.from);
        if !sendable(partition) || !bounds(start.key()) || !bounds(&range.to) {
            return Err(illegal_key());
        }
        if range.from >= range.to || limit == 0 {
            return Ok(Page::default());
        }
        let top = u32::try_from(limit.min(MAX_PAGE)).unwrap_or(1);
        let filter = format!(
            "PartitionKey eq '{}' and {} and RowKey lt '{}'",
            quoted(partition),
            start.filter(),
            quoted(&range.to)
        );
        let mut query = self.service.table_client(table.as_str()).query().filter(filter).top(Top::new(top));
        if let Start::Token { partition, row, .. } = start {
            query = query.initial_partition_key(partition.to_owned());
            query = if row.is_empty() { query } else { query.initial_row_key(row.to_owned()) };
        }
        // One element is one request; the stream is not asked for another.
        match query.into_stream::<Stored>().next().await {
            Some(Ok(reply)) => page(reply, start.key()).map_err(|fault| outcome::read(&fault)),
            Some(Err(error)) => Err(outcome::read(&Fault::of(&error))),
            None => Err(outcome::read(&Fault::Senseless)),
        }
    }

    fn clock_skew(&self) -> Duration {
        self.skew.get()
    }
}

fn illegal_key() -> ReadError {
    let reason = "the key holds a character that storage refuses".to_owned();
    ReadError::Unavailable { reason, retry_after: None }
}

/// The version of the first row, out of what every operation answered.
fn first_version(versions: &[Option<Etag>], batch: &Batch) -> Result<Option<ETag>, Fault> {
    if versions.len() != batch.ops().len() {
        return Err(Fault::Senseless);
    }
    match (batch.ops().first(), versions.first()) {
        (Some(Op::Delete(_)), _) => Ok(None),
        (_, Some(Some(etag))) => Ok(Some(ETag(etag.to_string().into()))),
        // Committed, and yet nobody can go on from it without reading.
        _ => Err(Fault::Senseless),
    }
}

fn page(reply: QueryEntityResponse<Stored>, from: &str) -> Result<Page, Fault> {
    let token = reply.continuation();
    let rows = reply.entities.into_iter().map(|Stored { row, etag }| {
        let etag = etag.ok_or(Fault::Senseless)?;
        Ok(StoredRow { row, etag: ETag(etag.into()) })
    });
    let rows = rows.collect::<Result<Vec<_>, Fault>>()?;
    let next = token.map(|token| {
        let last = rows.last().map(|stored| stored.row.key.as_str());
        Start::next(last, from, &token)
    });
    Ok(Page { rows, next })
}

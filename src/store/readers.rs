//! What readers leave with us: places of consumers, replays of the feed. Small JSON, each under its
//! ETag, beside the log and no part of it.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use super::{
    keys,
    registry::Tenant,
    retry::{self, WriteError, pages},
    rows::{BadRow, json},
    table::{Batch, ETag, Op, Range, ReadError, Row, Table, Value},
};

/// Why something was not read or kept.
#[derive(Debug, thiserror::Error)]
pub enum ReadersError {
    /// Storage cannot be read; it may pass.
    #[error("what readers left cannot be read")]
    Read(#[from] ReadError),
    /// Storage cannot be written; it may pass.
    #[error("what a reader leaves cannot be written")]
    Write(#[from] WriteError),
    /// A row is not what it should be.
    #[error("a stored row cannot be read")]
    Bad(#[from] BadRow),
}

/// What is kept for the readers of one tenant.
#[derive(Debug, Clone)]
pub struct Readers {
    table: Arc<dyn Table>,
    tenant: Arc<Tenant>,
}

impl Readers {
    /// That of `tenant`.
    pub fn of(table: Arc<dyn Table>, tenant: Arc<Tenant>) -> Self {
        Self { table, tenant }
    }

    /// What is kept under a key, with the version it has.
    ///
    /// # Errors
    /// [`ReadersError`].
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<(T, ETag)>, ReadersError> {
        let row = retry::read(|| self.table.get(&self.tenant.table, keys::READERS, key)).await?;
        Ok(row.map(|stored| Ok::<_, BadRow>((read(&stored.row)?, stored.etag))).transpose()?)
    }

    /// Everything of a range, with the keys: at most 1,000.
    ///
    /// # Errors
    /// [`ReadersError`].
    pub async fn list<T: DeserializeOwned>(&self, range: &Range) -> Result<Vec<T>, ReadersError> {
        let rows = pages::all(&self.table, &self.tenant.table, keys::READERS, range, pages::MAX_ROWS).await?;
        Ok(rows.iter().map(|stored| read(&stored.row)).collect::<Result<_, _>>()?)
    }

    /// Keeps something new, or in the place of what has this version. False: somebody else did.
    ///
    /// # Errors
    /// [`ReadersError`]; it may have been kept.
    pub async fn put(
        &self,
        key: &str,
        value: &impl Serialize,
        was: Option<ETag>,
    ) -> Result<bool, ReadersError> {
        let row = Row::new(key).with("Json", Value::Bin(json(value).into()));
        let op = match was {
            None => Op::Insert(row),
            Some(etag) => Op::Replace(row, etag),
        };
        let batch = Batch::new(keys::READERS, vec![op]).expect("one small row is a batch");
        match retry::write(&self.table, &self.tenant.table, &batch).await {
            Ok(_) => Ok(true),
            Err(WriteError::Exists | WriteError::Changed) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn read<T: DeserializeOwned>(row: &Row) -> Result<T, BadRow> {
    let value = row.bin("Json").and_then(|json| serde_json::from_slice(json).ok());
    value.ok_or_else(|| BadRow { key: row.key.clone(), property: "Json" })
}

//! Where a tenant's table lies, and the driver that leads there.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Tenant;
use crate::store::table::{Batch, CommitError, ETag, Page, Range, ReadError, StoredRow, Table, TableName};

/// Where a tenant's table lies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// In the account that holds the registry.
    #[default]
    Shared,
    /// In an account whose connection string, or endpoint, stands in a setting of this name.
    Connection(String),
    /// In the account behind this table endpoint, which our managed identity may use.
    TableServiceUri(String),
}

impl Place {
    /// Whether it is the shared account.
    pub fn is_shared(&self) -> bool {
        *self == Self::Shared
    }
}

/// Opens accounts that tenants have of their own.
pub trait Silos: Send + Sync + fmt::Debug {
    /// The driver of an account. Sends nothing.
    ///
    /// # Errors
    /// Why there is none, for an operator: which setting is missing, or which rule is broken.
    fn open(&self, place: &Place) -> Result<Arc<dyn Table>, String>;
}

/// No accounts but the shared one.
#[derive(Debug)]
pub struct NoSilos;

impl Silos for NoSilos {
    fn open(&self, _: &Place) -> Result<Arc<dyn Table>, String> {
        Err("this storage has no other accounts".to_owned())
    }
}

/// The one place that knows which tenant's table lies where.
#[derive(Debug)]
pub struct Places {
    shared: Arc<dyn Table>,
    silos: Box<dyn Silos>,
    opened: Mutex<HashMap<Place, Arc<dyn Table>>>,
}

impl Places {
    /// The shared account, and how others are opened.
    pub fn new(shared: Arc<dyn Table>, silos: Box<dyn Silos>) -> Self {
        Self { shared, silos, opened: Mutex::default() }
    }

    /// The shared account: the registry, and the tenants that have no other.
    pub fn shared(&self) -> &Arc<dyn Table> {
        &self.shared
    }

    /// The account of a tenant. One that cannot be opened answers that it is not available: it is
    /// never mistaken for another.
    pub fn of(&self, tenant: &Tenant) -> Arc<dyn Table> {
        self.open(&tenant.settings.storage).unwrap_or_else(|reason| {
            tracing::error!(evt = "tenant.no-storage", tenant = %tenant.id, reason);
            Arc::new(Unreachable)
        })
    }

    /// The driver of a place.
    ///
    /// # Errors
    /// See [`Silos::open`].
    pub fn open(&self, place: &Place) -> Result<Arc<dyn Table>, String> {
        if place.is_shared() {
            return Ok(Arc::clone(&self.shared));
        }
        // Never held across an await; a panic elsewhere leaves nothing half-done in it.
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = opened.get(place) {
            return Ok(Arc::clone(table));
        }
        let table = self.silos.open(place)?;
        opened.insert(place.clone(), Arc::clone(&table));
        Ok(table)
    }
}

/// An account that cannot be opened.
#[derive(Debug)]
struct Unreachable;

impl Unreachable {
    const REASON: &str = "the tenant's own account is not configured here";

    fn read() -> ReadError {
        ReadError::Unavailable { reason: Self::REASON.to_owned(), retry_after: None }
    }
}

#[async_trait]
impl Table for Unreachable {
    async fn create_table(&self, _: &TableName) -> Result<(), ReadError> {
        Err(Self::read())
    }

    async fn delete_table(&self, _: &TableName) -> Result<(), ReadError> {
        Err(Self::read())
    }

    async fn commit(&self, _: &TableName, _: &Batch) -> Result<Option<ETag>, CommitError> {
        Err(CommitError::Denied { code: Self::REASON.to_owned(), retry_after: None })
    }

    async fn get(&self, _: &TableName, _: &str, _: &str) -> Result<Option<StoredRow>, ReadError> {
        Err(Self::read())
    }

    async fn scan(&self, _: &TableName, _: &str, _: &Range, _: usize) -> Result<Page, ReadError> {
        Err(Self::read())
    }
}

//! The registry: which tenants there are, where each keeps its log, and who may do what in it.
//!
//! One table, `annalsregistry`, with one partition, so that a change of a tenant, of its keys or of its
//! grants and the note that it has to be audited are one transaction. Onboarding makes the tenant's
//! table, then the heads of its partitions, then the registry row, by insert: a tenant that can be
//! found is complete. Nothing here is ever made on the way of an append.
//!
//! What a process has read it believes for ten seconds: another process sees a change, and a key
//! that was disabled dies, within that time.

mod api_key;
mod cache;
mod change;
mod grant;
mod place;
mod register;
mod tenant;
mod write;

use std::{sync::Arc, time::Duration};

use rand::seq::SliceRandom;

use self::cache::Cache;
pub use self::{
    api_key::{ApiKey, KeyId, PresentedKey},
    change::{ACCESS_SOURCE, Author, Change, REGISTRY_SOURCE, own_event},
    grant::Grant,
    place::{NoSilos, Place, Places, Silos},
    tenant::{ChangeFeed, ReadAudit, Settings, Tenant, TenantKey},
};
use super::{
    keys,
    retry::{self, WriteError, pages},
    rows::BadRow,
    table::{ETag, Range, ReadError, Row, StoredRow, TableName},
};
use crate::domain::{ids::TenantId, timestamp::Clock};

/// The registry's table.
const REGISTRY: &str = "annalsregistry";
/// The registry's partition.
const PARTITION: &str = "tenants";
/// How long a process may go on with what it last read. The promise is 30 seconds.
const CACHED: Duration = Duration::from_secs(10);
/// Rows read at once when all are listed.
const LIST_PAGE: usize = 500;
/// Most changes of a tenant that may wait to be written into its audit stream.
const MAX_PENDING: usize = 50;
/// The tenant that holds the events of operators. It has no door but ours.
pub const SYSTEM: &str = "annals-system";

/// The id of the system tenant.
pub fn system() -> TenantId {
    TenantId::parse(SYSTEM).expect("the constant is an id")
}

/// Why the registry was not changed, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Something that a tenant keeps as it was given: `partitions`, `storage` or `attention`.
    #[error("`{0}` of a tenant is fixed when it is added, since its stored rows depend on it")]
    Fixed(&'static str),
    /// The tenant is the system's own.
    #[error("the system tenant cannot be changed like this")]
    System,
    /// There is no such tenant.
    #[error("there is no such tenant")]
    UnknownTenant,
    /// There is no such key.
    #[error("the tenant has no such key")]
    UnknownKey,
    /// Its data can be deleted only once it is closed.
    #[error("a tenant must be closed before its data is deleted")]
    NotClosed,
    /// Its account cannot be used.
    #[error("the tenant's storage cannot be used: {0}")]
    NoStorage(String),
    /// Somebody else changed the tenant at the same time.
    #[error("the tenant is being changed by somebody else")]
    Busy,
    /// Storage did not do its part; it may pass.
    #[error("the registry cannot be written")]
    Write(#[from] WriteError),
    /// Storage cannot be read; it may pass.
    #[error("the registry cannot be read")]
    Read(#[from] ReadError),
    /// A row is not what it should be.
    #[error("the registry holds a row that cannot be read")]
    Bad(#[from] BadRow),
}

/// The registry, with a short-lived copy of what it said.
#[derive(Debug)]
pub struct Registry {
    places: Arc<Places>,
    clock: Arc<dyn Clock>,
    name: TableName,
    tenants: Cache<TenantId, Arc<Tenant>>,
    api_keys: Cache<KeyId, Option<Arc<ApiKey>>>,
    grants: Cache<(TenantId, String), Option<Arc<Grant>>>,
}

impl Registry {
    /// The registry in the shared account.
    pub fn new(places: Arc<Places>, clock: Arc<dyn Clock>) -> Self {
        let name = TableName::new(REGISTRY).expect("the constant is a table name");
        Self {
            places,
            clock,
            name,
            tenants: Cache::new(CACHED),
            api_keys: Cache::new(CACHED),
            grants: Cache::new(CACHED),
        }
    }

    /// The tenant, or `None` when there is none. Settings may be 10 seconds old; that there is
    /// no such tenant is never taken from memory.
    ///
    /// # Errors
    /// [`RegistryError`] when storage cannot be read.
    pub async fn get(&self, id: &TenantId) -> Result<Option<Arc<Tenant>>, RegistryError> {
        match self.tenants.get(id) {
            Some(tenant) => Ok(Some(tenant)),
            None => Ok(self.read(id).await?.map(|(tenant, _)| tenant)),
        }
    }

    /// Whether there was such a tenant when it was last asked for. Storage is not asked: false says
    /// nothing.
    pub fn remembers(&self, id: &TenantId) -> bool {
        self.tenants.holds(id)
    }

    /// All tenants, the system's own among them. One whose row cannot be read is passed over.
    ///
    /// # Errors
    /// [`RegistryError`] when storage cannot be read.
    pub async fn list(&self) -> Result<Vec<Arc<Tenant>>, RegistryError> {
        let read = |row: &Row| Ok(BadRow::passed_over(Tenant::read(row)).map(Arc::new));
        Ok(self.all(keys::tenants(), read).await?.into_iter().flatten().collect())
    }

    /// All tenants by lot: for rounds that end after some time. In the order of their names those behind a
    /// tenant whose storage does not answer might never have a turn.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn by_lot(&self) -> Result<Vec<Arc<Tenant>>, RegistryError> {
        let mut tenants = self.list().await?;
        tenants.shuffle(&mut rand::rng());
        Ok(tenants)
    }

    /// The key of this name. What it says may be 10 seconds old, also that there is none.
    ///
    /// # Errors
    /// [`RegistryError`] when storage cannot be read.
    pub async fn api_key(&self, id: &KeyId) -> Result<Option<Arc<ApiKey>>, RegistryError> {
        if let Some(known) = self.api_keys.get(id) {
            return Ok(known);
        }
        let row = self.row(&keys::api_key(id.as_str())).await?;
        let key = row.map(|stored| ApiKey::read(&stored.row)).transpose()?.map(Arc::new);
        self.api_keys.put(id.clone(), key.clone());
        Ok(key)
    }

    /// The keys of a tenant. A key that cannot be read may be anybody's, and is passed over.
    ///
    /// # Errors
    /// [`RegistryError`] when storage cannot be read.
    pub async fn api_keys(&self, tenant: &TenantId) -> Result<Vec<ApiKey>, RegistryError> {
        let all = self.all(keys::api_keys(), |row| Ok(BadRow::passed_over(ApiKey::read(row)))).await?;
        Ok(all.into_iter().flatten().filter(|key| key.tenant == *tenant).collect())
    }

    /// What a principal may do in a tenant. It may be 10 seconds old.
    ///
    /// # Errors
    /// [`RegistryError`] when storage cannot be read.
    pub async fn grant(
        &self,
        tenant: &TenantId,
        principal: &str,
    ) -> Result<Option<Arc<Grant>>, RegistryError> {
        let cached = (tenant.clone(), principal.to_owned());
        if let Some(known) = self.grants.get(&cached) {
            return Ok(known);
        }
        let row = self.row(&keys::grant(tenant, principal)).await?;
        let grant = row.map(|stored| Grant::read(&stored.row)).transpose()?.map(Arc::new);
        self.grants.put(cached, grant.clone());
        Ok(grant)
    }

    /// The grants of a tenant.
    ///
    /// # Errors
    /// [`RegistryError`] when storage cannot be read.
    pub async fn grants(&self, tenant: &TenantId) -> Result<Vec<Grant>, RegistryError> {
        self.all(keys::grants(tenant), |row| Ok(Grant::read(row)?)).await
    }

    /// A key of a tenant and its version, read past the cache.
    async fn key_of(&self, tenant: &TenantId, id: &KeyId) -> Result<(ApiKey, ETag), RegistryError> {
        let stored = self.row(&keys::api_key(id.as_str())).await?.ok_or(RegistryError::UnknownKey)?;
        let key = ApiKey::read(&stored.row)?;
        if key.tenant == *tenant { Ok((key, stored.etag)) } else { Err(RegistryError::UnknownKey) }
    }

    /// A tenant as it is now, read past the cache.
    ///
    /// # Errors
    /// [`RegistryError`] when storage cannot be read.
    async fn read(&self, id: &TenantId) -> Result<Option<(Arc<Tenant>, ETag)>, RegistryError> {
        match self.row(&keys::tenant(id)).await? {
            None => {
                self.tenants.forget(id);
                Ok(None)
            }
            Some(stored) => Ok(Some((self.remember(Tenant::read(&stored.row)?), stored.etag))),
        }
    }

    async fn row(&self, key: &str) -> Result<Option<StoredRow>, RegistryError> {
        match retry::read(|| self.places.shared().get(&self.name, PARTITION, key)).await {
            Err(ReadError::NoTable) => Ok(None),
            stored => Ok(stored?),
        }
    }

    async fn all<T>(
        &self,
        mut range: Range,
        read: impl Fn(&Row) -> Result<T, RegistryError>,
    ) -> Result<Vec<T>, RegistryError> {
        let mut all = Vec::new();
        loop {
            let scan = pages::scan(self.places.shared(), &self.name, PARTITION, &range, LIST_PAGE);
            let page = match scan.await {
                Err(ReadError::NoTable) => return Ok(all),
                page => page?,
            };
            for stored in &page.rows {
                all.push(read(&stored.row)?);
            }
            match page.next {
                Some(next) => range.from = next,
                None => return Ok(all),
            }
        }
    }

    fn remember(&self, tenant: Tenant) -> Arc<Tenant> {
        let tenant = Arc::new(tenant);
        self.tenants.put(tenant.id.clone(), Arc::clone(&tenant));
        tenant
    }
}

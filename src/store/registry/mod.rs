//! The registry: which tenants there are, where each keeps its log, and who may do what in it.
//!
//! One table, `annalsregistry`, with one partition, so that a change of a tenant, of its keys or of its
//! grants and the note that it has to be audited are one transaction. Onboarding makes the tenant's
//! table, then the heads of its partitions, then the registry row, by insert: a tenant that can be
//! found is complete. Nothing here is ever made on the way of an append.
//!
//! What a process has read it believes for [`CACHED`]: another process sees a change, and a key
//! that was disabled dies, within that time.

mod api_key;
mod cache;
mod change;
mod grant;
mod place;
mod tenant;

use std::{sync::Arc, time::Duration};

use serde_json::{Value as Json, json};

use self::cache::Cache;
pub use self::{
    api_key::{ApiKey, KeyId, PresentedKey},
    change::{ACCESS_SOURCE, Author, Change, REGISTRY_SOURCE, own_event},
    grant::Grant,
    place::{NoSilos, Place, Places, Silos},
    tenant::{ChangeFeed, ReadAudit, Settings, Tenant, TenantKey},
};
use super::{
    digest, keys,
    retry::{self, WriteError},
    rows::{BadRow, Head},
    table::{Batch, ETag, Op, Range, ReadError, StoredRow, TableName},
};
use crate::domain::{
    ids::TenantId,
    timestamp::{Clock, Timestamp},
};

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

/// A change to be made: rows beside the tenant's own, and what the audit stream will say.
struct Edit {
    tenant: Tenant,
    rows: Vec<Op>,
    kind: &'static str,
    data: Json,
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

    /// All tenants, the system's own among them.
    ///
    /// # Errors
    /// [`RegistryError`] when storage cannot be read.
    pub async fn list(&self) -> Result<Vec<Arc<Tenant>>, RegistryError> {
        self.all(keys::tenants(), |row| Ok(Arc::new(Tenant::read(row)?))).await
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

    /// The keys of a tenant.
    ///
    /// # Errors
    /// [`RegistryError`] when storage cannot be read.
    pub async fn api_keys(&self, tenant: &TenantId) -> Result<Vec<ApiKey>, RegistryError> {
        let all = self.all(keys::api_keys(), |row| Ok(ApiKey::read(row)?)).await?;
        Ok(all.into_iter().filter(|key| key.tenant == *tenant).collect())
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

    /// Registers a tenant, or changes the settings of one that is. Doing it twice is harmless.
    /// The flag tells that the tenant is new.
    pub(super) async fn put(
        &self,
        id: &TenantId,
        settings: &Settings,
        author: &Author,
    ) -> Result<(Arc<Tenant>, bool), RegistryError> {
        // A second look settles a race with another process that registers the same tenant.
        for _ in 0..3 {
            let known = self.read(id).await?;
            if known.is_some() {
                return Ok((self.change_settings(id, settings, author).await?, false));
            }
            if let Some(tenant) = self.register(id, settings.clone(), author).await? {
                return Ok((self.remember(tenant), true));
            }
        }
        Err(RegistryError::Busy)
    }

    async fn change_settings(
        &self,
        id: &TenantId,
        settings: &Settings,
        author: &Author,
    ) -> Result<Arc<Tenant>, RegistryError> {
        self.edit(id, author, |tenant| {
            let was = &tenant.settings;
            let fixed = [
                ("partitions", was.partitions == settings.partitions),
                ("storage", was.storage == settings.storage),
                ("attention", was.attention == settings.attention),
            ];
            if let Some((name, _)) = fixed.iter().find(|(_, same)| !same) {
                return Err(RegistryError::Fixed(name));
            }
            if was == settings {
                return Ok(None);
            }
            let data = json!({ "before": was, "after": settings });
            let tenant = tenant.clone().with_settings(settings.clone());
            Ok(Some(Edit { tenant, rows: Vec::new(), kind: "annals.tenant.changed", data }))
        })
        .await
    }

    /// Closes a tenant to writes, or opens it again.
    pub(super) async fn set_closed(
        &self,
        id: &TenantId,
        closed: bool,
        author: &Author,
    ) -> Result<Arc<Tenant>, RegistryError> {
        let now = self.now();
        self.edit(id, author, |tenant| {
            if id.as_str() == SYSTEM {
                return Err(RegistryError::System);
            }
            if tenant.closed.is_some() == closed {
                return Ok(None);
            }
            let kind = if closed { "annals.tenant.closed" } else { "annals.tenant.reopened" };
            let tenant = Tenant { closed: closed.then_some(now), ..tenant.clone() };
            Ok(Some(Edit { tenant, rows: Vec::new(), kind, data: json!({}) }))
        })
        .await
    }

    /// Deletes a closed tenant: its table, its keys and grants, and its row.
    pub(super) async fn delete(&self, id: &TenantId) -> Result<(), RegistryError> {
        let Some((tenant, _)) = self.read(id).await? else { return Ok(()) };
        if tenant.closed.is_none() {
            return Err(RegistryError::NotClosed);
        }
        // The table first: a row that is left behind leads to no data, and the command is done again.
        let account = self.places.open(&tenant.settings.storage).map_err(RegistryError::NoStorage)?;
        retry::read(|| account.delete_table(&tenant.table)).await?;
        for key in self.api_keys(id).await? {
            self.remove_row(keys::api_key(key.id.as_str())).await?;
            self.api_keys.forget(&key.id);
        }
        for grant in self.grants(id).await? {
            self.remove_row(keys::grant(id, &grant.principal)).await?;
            self.grants.forget(&(id.clone(), grant.principal));
        }
        self.remove_row(keys::tenant(id)).await?;
        self.tenants.forget(id);
        Ok(())
    }

    async fn remove_row(&self, key: String) -> Result<(), RegistryError> {
        match retry::write(self.places.shared(), &self.name, &single(PARTITION, Op::Delete(key))).await {
            Ok(_) | Err(WriteError::Missing) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps a key, new or changed.
    pub(super) async fn put_key(
        &self,
        key: &ApiKey,
        kind: &'static str,
        author: &Author,
    ) -> Result<(), RegistryError> {
        let mut data =
            json!({ "key": key.id, "label": key.label, "roles": key.roles, "enabled": key.enabled });
        if let Some(expires) = key.expires {
            data["expires"] = json!(expires);
        }
        self.edit(&key.tenant, author, |tenant| {
            let rows = vec![Op::Upsert(key.row())];
            Ok(Some(Edit { tenant: tenant.clone(), rows, kind, data: data.clone() }))
        })
        .await?;
        self.api_keys.forget(&key.id);
        Ok(())
    }

    /// A key of a tenant, read past the cache.
    pub(super) async fn key_of(&self, tenant: &TenantId, id: &KeyId) -> Result<ApiKey, RegistryError> {
        let row = self.row(&keys::api_key(id.as_str())).await?;
        let key = row.map(|stored| ApiKey::read(&stored.row)).transpose()?;
        key.filter(|key| key.tenant == *tenant).ok_or(RegistryError::UnknownKey)
    }

    /// Says what a principal may do in a tenant from now on; nothing at all, without roles.
    pub(super) async fn put_grant(&self, grant: &Grant, author: &Author) -> Result<(), RegistryError> {
        let was = self.row(&keys::grant(&grant.tenant, &grant.principal)).await?;
        let was = was.map(|stored| Grant::read(&stored.row)).transpose()?;
        let before = was.as_ref().map(|was| was.roles.clone()).unwrap_or_default();
        if before == grant.roles {
            return Ok(());
        }
        let data = json!({ "principal": grant.principal, "before": before, "after": grant.roles });
        let key = keys::grant(&grant.tenant, &grant.principal);
        self.edit(&grant.tenant, author, |tenant| {
            let row = match grant.roles.is_empty() {
                true => Op::Delete(key.clone()),
                false => Op::Upsert(grant.row()),
            };
            let kind = "annals.tenant.roles-assigned";
            Ok(Some(Edit { tenant: tenant.clone(), rows: vec![row], kind, data: data.clone() }))
        })
        .await?;
        self.grants.forget(&(grant.tenant.clone(), grant.principal.clone()));
        Ok(())
    }

    /// Notes that changes stand in the tenant's audit stream.
    pub(super) async fn settle(&self, id: &TenantId, written: &[String]) -> Result<(), RegistryError> {
        for _ in 0..3 {
            let Some((tenant, etag)) = self.read(id).await? else { return Ok(()) };
            let mut settled = (*tenant).clone();
            settled.pending.retain(|change| !written.contains(&change.id));
            if settled.pending.len() == tenant.pending.len() {
                return Ok(());
            }
            let batch = single(PARTITION, Op::Replace(settled.row(), etag));
            match retry::write(self.places.shared(), &self.name, &batch).await {
                Ok(_) => {
                    self.remember(settled);
                    return Ok(());
                }
                Err(WriteError::Changed) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(RegistryError::Busy)
    }

    /// Makes a change under the tenant's version, with the note that it has to be audited.
    /// `decide` gives `None` when there is nothing to change.
    async fn edit(
        &self,
        id: &TenantId,
        author: &Author,
        decide: impl Fn(&Tenant) -> Result<Option<Edit>, RegistryError>,
    ) -> Result<Arc<Tenant>, RegistryError> {
        for _ in 0..5 {
            let (tenant, etag) = self.read(id).await?.ok_or(RegistryError::UnknownTenant)?;
            let Some(Edit { tenant: mut changed, mut rows, kind, data }) = decide(&tenant)? else {
                return Ok(tenant);
            };
            if changed.pending.len() >= MAX_PENDING {
                return Err(RegistryError::Busy);
            }
            changed.revision += 1;
            changed.pending.push(self.change(&changed, kind, data, author));
            rows.insert(0, Op::Replace(changed.row(), etag));
            let batch = Batch::new(PARTITION, rows).expect("a few small rows are a batch");
            match retry::write(self.places.shared(), &self.name, &batch).await {
                Ok(_) => return Ok(self.remember(changed)),
                Err(WriteError::Changed) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(RegistryError::Busy)
    }

    fn change(&self, tenant: &Tenant, kind: &str, data: Json, author: &Author) -> Change {
        Change {
            // The table is of this incarnation alone, so the id is too.
            id: format!("{}-{}", tenant.table, tenant.revision),
            kind: kind.to_owned(),
            time: self.now(),
            author: author.clone(),
            data,
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now().to_micros()
    }

    /// `Ok(None)`: somebody else registered it in between.
    async fn register(
        &self,
        id: &TenantId,
        settings: Settings,
        author: &Author,
    ) -> Result<Option<Tenant>, RegistryError> {
        let incarnation = hex::encode(rand::random::<[u8; 16]>());
        let table = TableName::new(&keys::table_name(id, &incarnation)).expect("hexadecimal behind a letter");
        let account = self.places.open(&settings.storage).map_err(RegistryError::NoStorage)?;
        let shared = self.places.shared();
        let now = self.now();
        let mut tenant = Tenant {
            id: id.clone(),
            table,
            key: TenantKey(rand::random()),
            created: now,
            closed: None,
            settings: Settings::default(),
            redactor: Arc::default(),
            revision: 1,
            pending: Vec::new(),
        }
        .with_settings(settings);
        let data = json!({ "after": tenant.settings });
        tenant.pending.push(self.change(&tenant, "annals.tenant.added", data, author));
        retry::read(|| shared.create_table(&self.name)).await?;
        retry::read(|| account.create_table(&tenant.table)).await?;
        for partition in tenant.partitions() {
            let head = Head { last: 0, digest: digest::genesis(&tenant.table, partition), recorded: now };
            retry::write(&account, &tenant.table, &single(&partition.to_string(), Op::Insert(head.row())))
                .await?;
        }
        match retry::write(shared, &self.name, &single(PARTITION, Op::Insert(tenant.row()))).await {
            Ok(_) => {}
            // The row is ours after all when an answer was lost; otherwise our table is nobody's.
            Err(WriteError::Exists) => match self.read(id).await? {
                Some((found, _)) if found.table == tenant.table => {}
                _ => {
                    let _ = account.delete_table(&tenant.table).await;
                    return Ok(None);
                }
            },
            Err(error) => return Err(error.into()),
        }
        tracing::info!(evt = "tenant.registered", tenant = %id, partitions = tenant.settings.partitions);
        Ok(Some(tenant))
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
        read: impl Fn(&super::table::Row) -> Result<T, RegistryError>,
    ) -> Result<Vec<T>, RegistryError> {
        let mut all = Vec::new();
        loop {
            let scan = || self.places.shared().scan(&self.name, PARTITION, &range, LIST_PAGE);
            let page = match retry::read(scan).await {
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

fn single(partition: &str, op: Op) -> Batch {
    Batch::new(partition, vec![op]).expect("one small row is a batch")
}

//! The tenants: which there are, and where each keeps its log.
//!
//! One row a tenant in the table `annalsregistry`. Onboarding makes the tenant's table, then the
//! heads of its partitions, then the registry row, by insert: a tenant that can be found is
//! complete. Nothing here is ever made on the way of an append.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    digest, keys,
    retry::{self, WriteError},
    rows::{BadRow, Head},
    table::{Batch, ETag, Op, ReadError, Row, StoredRow, Table, TableName, Value},
};
use crate::domain::{
    ids::TenantId,
    position::PartitionId,
    timestamp::{Clock, Timestamp},
};

/// The registry's table.
const REGISTRY: &str = "annalsregistry";
/// The registry's partition.
const PARTITION: &str = "tenants";
/// How long a process may go on with what it last read of a tenant.
const CACHED: Duration = Duration::from_secs(10);
/// Tenants read at once when all are listed.
const LIST_PAGE: usize = 500;

/// Key of a tenant: cursors are sealed and actors hashed under it.
#[derive(Clone, PartialEq, Eq)]
pub struct TenantKey(pub [u8; 32]);

impl fmt::Debug for TenantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TenantKey(..)")
    }
}

/// What leaves the silo.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeFeed {
    /// Off: nothing leaves.
    #[serde(default)]
    pub enabled: bool,
    /// Event types that are published, each exact or a prefix ending in `*`; none: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
}

impl ChangeFeed {
    /// Whether an event of this type is published.
    pub fn publishes(&self, event_type: &str) -> bool {
        let matches = |filter: &String| match filter.strip_suffix('*') {
            Some(prefix) => event_type.starts_with(prefix),
            None => event_type == filter,
        };
        self.enabled && (self.types.is_empty() || self.types.iter().any(matches))
    }
}

/// What an operator decides about a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A name for people.
    pub display_name: Option<String>,
    /// How many partitions; never changes.
    pub partitions: u8,
    /// What leaves the silo.
    pub change_feed: ChangeFeed,
}

/// A registered tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its table, of this incarnation alone.
    pub table: TableName,
    /// Its key.
    pub key: TenantKey,
    /// When it was registered.
    pub created: Timestamp,
    /// Its settings.
    pub settings: Settings,
}

impl Tenant {
    /// Its partitions.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> + Clone + use<> {
        PartitionId::first(self.settings.partitions)
    }
}

/// Why a tenant was not registered or changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The number of partitions is fixed.
    #[error("a tenant keeps the number of partitions it was given ({0})")]
    PartitionsFixed(u8),
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
    table: Arc<dyn Table>,
    clock: Arc<dyn Clock>,
    name: TableName,
    seen: Mutex<HashMap<TenantId, (Instant, Arc<Tenant>)>>,
}

impl Registry {
    /// The registry on this storage.
    pub fn new(table: Arc<dyn Table>, clock: Arc<dyn Clock>) -> Self {
        let name = TableName::new(REGISTRY).expect("the constant is a table name");
        Self { table, clock, name, seen: Mutex::default() }
    }

    /// The tenant, or `None` when there is none. Settings may be 10 seconds old; that there is
    /// no such tenant is never taken from memory.
    ///
    /// # Errors
    /// [`RegistryError`] when storage cannot be read.
    pub async fn get(&self, id: &TenantId) -> Result<Option<Arc<Tenant>>, RegistryError> {
        let known =
            self.seen().get(id).filter(|(at, _)| at.elapsed() < CACHED).map(|(_, tenant)| Arc::clone(tenant));
        match known {
            Some(tenant) => Ok(Some(tenant)),
            None => Ok(self.read(id).await?.map(|(tenant, _)| tenant)),
        }
    }

    /// All tenants.
    ///
    /// # Errors
    /// [`RegistryError`] when storage cannot be read.
    pub async fn list(&self) -> Result<Vec<Arc<Tenant>>, RegistryError> {
        let (mut range, mut tenants) = (keys::tenants(), Vec::new());
        loop {
            let page = match self.table.scan(&self.name, PARTITION, &range, LIST_PAGE).await {
                Err(ReadError::NoTable) => return Ok(tenants),
                page => page?,
            };
            for stored in &page.rows {
                tenants.push(Arc::new(read_tenant(&stored.row)?));
            }
            match page.next {
                Some(next) => range.from = next,
                None => return Ok(tenants),
            }
        }
    }

    /// Registers a tenant, or changes the settings of one that is. Doing it twice is harmless.
    /// The flag tells that the tenant is new.
    ///
    /// # Errors
    /// [`RegistryError::PartitionsFixed`] when the number of partitions would change; others when
    /// storage fails: then the tenant is registered whole or not at all.
    pub async fn put(&self, id: &TenantId, settings: Settings) -> Result<(Arc<Tenant>, bool), RegistryError> {
        // A second look settles a race with another process that registers the same tenant.
        for _ in 0..3 {
            let outcome = match self.read(id).await? {
                Some((tenant, etag)) => {
                    self.change(&tenant, etag, settings.clone()).await?.map(|t| (t, false))
                }
                None => self.register(id, settings.clone()).await?.map(|t| (t, true)),
            };
            if let Some((tenant, new)) = outcome {
                return Ok((self.remember(tenant), new));
            }
        }
        Err(RegistryError::Busy)
    }

    /// `Ok(None)`: somebody else registered it in between.
    async fn register(&self, id: &TenantId, settings: Settings) -> Result<Option<Tenant>, RegistryError> {
        let incarnation = hex::encode(rand::random::<[u8; 16]>());
        let table = TableName::new(&keys::table_name(id, &incarnation)).expect("hexadecimal behind a letter");
        let now = self.clock.now().to_micros();
        let tenant = Tenant { id: id.clone(), table, key: TenantKey(rand::random()), created: now, settings };
        retry::read(|| self.table.create_table(&self.name)).await?;
        retry::read(|| self.table.create_table(&tenant.table)).await?;
        for partition in tenant.partitions() {
            let head = Head { last: 0, digest: digest::genesis(&tenant.table, partition), recorded: now };
            retry::write(&self.table, &tenant.table, &single(&partition.to_string(), Op::Insert(head.row())))
                .await?;
        }
        match retry::write(&self.table, &self.name, &single(PARTITION, Op::Insert(tenant_row(&tenant)))).await
        {
            Ok(_) => {}
            // The row is ours after all when an answer was lost; otherwise our table is nobody's.
            Err(WriteError::Exists) => match self.read(id).await? {
                Some((found, _)) if found.table == tenant.table => {}
                _ => {
                    let _ = self.table.delete_table(&tenant.table).await;
                    return Ok(None);
                }
            },
            Err(error) => return Err(error.into()),
        }
        tracing::info!(evt = "tenant.registered", tenant = %id, partitions = tenant.settings.partitions);
        Ok(Some(tenant))
    }

    /// `Ok(None)`: somebody else changed it in between.
    async fn change(
        &self,
        tenant: &Tenant,
        etag: ETag,
        settings: Settings,
    ) -> Result<Option<Tenant>, RegistryError> {
        if settings.partitions != tenant.settings.partitions {
            return Err(RegistryError::PartitionsFixed(tenant.settings.partitions));
        }
        if settings == tenant.settings {
            return Ok(Some(tenant.clone()));
        }
        let changed = Tenant { settings, ..tenant.clone() };
        let batch = single(PARTITION, Op::Replace(tenant_row(&changed), etag));
        match retry::write(&self.table, &self.name, &batch).await {
            Ok(_) => Ok(Some(changed)),
            Err(WriteError::Changed) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn read(&self, id: &TenantId) -> Result<Option<(Arc<Tenant>, ETag)>, RegistryError> {
        let key = keys::tenant(id);
        let read = retry::read(|| self.table.get(&self.name, PARTITION, &key)).await;
        let stored: Option<StoredRow> = match read {
            Err(ReadError::NoTable) => None,
            stored => stored?,
        };
        match stored {
            None => {
                self.seen().remove(id);
                Ok(None)
            }
            Some(stored) => Ok(Some((self.remember(read_tenant(&stored.row)?), stored.etag))),
        }
    }

    fn remember(&self, tenant: Tenant) -> Arc<Tenant> {
        let tenant = Arc::new(tenant);
        self.seen().insert(tenant.id.clone(), (Instant::now(), Arc::clone(&tenant)));
        tenant
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, HashMap<TenantId, (Instant, Arc<Tenant>)>> {
        // Never held across an await; a panic elsewhere leaves nothing half-done in it.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn single(partition: &str, op: Op) -> Batch {
    Batch::new(partition, vec![op]).expect("one small row is a batch")
}

fn tenant_row(tenant: &Tenant) -> Row {
    let settings = &tenant.settings;
    let feed = super::rows::json(&settings.change_feed);
    let row = Row::new(keys::tenant(&tenant.id))
        .with("Tenant", Value::Str(tenant.id.to_string()))
        .with("Table", Value::Str(tenant.table.to_string()))
        .with("Key", Value::Str(STANDARD_NO_PAD.encode(tenant.key.0)))
        .with("Created", Value::Str(tenant.created.to_string()))
        .with("Partitions", Value::Int(settings.partitions.into()))
        .with("ChangeFeed", Value::Bin(feed.into()));
    match &settings.display_name {
        Some(name) => row.with("DisplayName", Value::Str(name.clone())),
        None => row,
    }
}

fn read_tenant(row: &Row) -> Result<Tenant, BadRow> {
    let bad = |property| move || BadRow { key: row.key.clone(), property };
    let text = |property: &'static str| row.str(property).ok_or_else(bad(property));
    let key = STANDARD_NO_PAD.decode(text("Key")?).ok().and_then(|bytes| bytes.try_into().ok());
    let feed = row.bin("ChangeFeed").and_then(|json| serde_json::from_slice(json).ok());
    let partitions = row.int("Partitions").and_then(|n| u8::try_from(n).ok());
    Ok(Tenant {
        id: TenantId::parse(text("Tenant")?).map_err(|_| bad("Tenant")())?,
        table: TableName::new(text("Table")?).ok_or_else(bad("Table"))?,
        key: TenantKey(key.ok_or_else(bad("Key"))?),
        created: Timestamp::parse("Created", text("Created")?).map_err(|_| bad("Created")())?,
        settings: Settings {
            display_name: row.str("DisplayName").map(str::to_owned),
            partitions: partitions.ok_or_else(bad("Partitions"))?,
            change_feed: feed.ok_or_else(bad("ChangeFeed"))?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_filter_is_exact_or_a_prefix() {
        let feed = |types: &[&str]| ChangeFeed {
            enabled: true,
            types: types.iter().map(|t| (*t).to_owned()).collect(),
        };
        assert!(feed(&[]).publishes("a.b"));
        assert!(feed(&["a.b"]).publishes("a.b") && !feed(&["a.b"]).publishes("a.b.c"));
        assert!(feed(&["x", "a.*"]).publishes("a.b") && !feed(&["a.*"]).publishes("b.a"));
        assert!(!ChangeFeed::default().publishes("a.b"));
    }
}

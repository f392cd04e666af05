//! Changing tenants, keys and grants: each change is made, and then told in the tenant's audit stream.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::Instant;

use super::{
    Store, StoreError,
    registry::{
        ApiKey, Author, Change, Grant, KeyId, PresentedKey, REGISTRY_SOURCE, RegistryError, SYSTEM, Settings,
        Tenant, own_event, system,
    },
};
use crate::{
    access::Role,
    domain::{event::NewEvent, ids::TenantId, timestamp::Timestamp},
};

/// How long an event about a change may take. It is written later otherwise, by the sweep.
const PATIENCE: Duration = Duration::from_secs(10);

/// What somebody changes.
#[derive(Debug)]
pub struct Administration<'a> {
    store: &'a Store,
    author: Author,
}

impl Store {
    /// Changes by this author.
    pub fn administration(&self, author: Author) -> Administration<'_> {
        Administration { store: self, author }
    }

    /// Writes what a tenant's audit stream does not tell yet; gives the number of changes.
    ///
    /// # Errors
    /// [`StoreError`]: then it is done by the next sweep.
    pub async fn announce(&self, tenant: &Arc<Tenant>) -> Result<usize, StoreError> {
        if tenant.pending.is_empty() {
            return Ok(0);
        }
        let until = Instant::now() + PATIENCE;
        for change in &tenant.pending {
            self.record(tenant, vec![change.event()], change.author.recorded_by.clone(), until).await?;
            if change.kind.starts_with("annals.tenant.") && tenant.id.as_str() != SYSTEM {
                self.tell_operators(&tenant.id, change, until).await?;
            }
        }
        let written: Vec<_> = tenant.pending.iter().map(|change| change.id.clone()).collect();
        self.registry.settle(&tenant.id, &written).await.map_err(unavailable)?;
        Ok(written.len())
    }

    /// Writes a change into the system tenant as well.
    async fn tell_operators(&self, id: &TenantId, change: &Change, until: Instant) -> Result<(), StoreError> {
        let Some(system) = self.registry.get(&system()).await.map_err(unavailable)? else { return Ok(()) };
        let data = json!({ "tenant": id, "change": change.data });
        let actor = change.author.actor.clone();
        let event = own_event(REGISTRY_SOURCE, &change.id, &change.kind, change.time, actor, &data);
        self.record(&system, vec![event], change.author.recorded_by.clone(), until).await.map(drop)
    }
}

fn unavailable(error: RegistryError) -> StoreError {
    StoreError::Unavailable { reason: error.to_string() }
}

impl Administration<'_> {
    /// Registers a tenant, or changes the settings of one that is. Doing it twice is harmless. The
    /// flag tells that it is new.
    ///
    /// # Errors
    /// [`RegistryError::Fixed`] for what cannot change; others when storage fails: then the tenant is
    /// registered whole or not at all.
    pub async fn put(
        &self,
        id: &TenantId,
        settings: &Settings,
    ) -> Result<(Arc<Tenant>, bool), RegistryError> {
        if id.as_str() == SYSTEM && self.store.registry.get(id).await?.is_some() {
            return Err(RegistryError::System);
        }
        let system = system();
        if self.store.registry.get(&system).await?.is_none() {
            let annals = Author::annals();
            let settings = Settings { display_name: Some("Annals itself".to_owned()), ..Settings::default() };
            let (tenant, _) = self.store.registry.put(&system, &settings, &annals).await?;
            self.tell(&tenant).await;
            if *id == system {
                return Ok((tenant, true));
            }
        }
        let (tenant, new) = self.store.registry.put(id, settings, &self.author).await?;
        self.tell(&tenant).await;
        Ok((tenant, new))
    }

    /// Closes a tenant: what it has can be read, and nothing is added. Or opens it again.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn set_closed(&self, id: &TenantId, closed: bool) -> Result<Arc<Tenant>, RegistryError> {
        let tenant = self.store.registry.set_closed(id, closed, &self.author).await?;
        self.tell(&tenant).await;
        Ok(tenant)
    }

    /// Deletes a closed tenant and everything it has. The system tenant keeps the record of it: written
    /// before, so that no deletion goes unrecorded, and after, so that it says what came of it.
    ///
    /// # Errors
    /// [`RegistryError::NotClosed`], and others when storage fails: then it is to be done again.
    pub async fn delete_data(&self, id: &TenantId) -> Result<(), RegistryError> {
        if id.as_str() == SYSTEM {
            return Err(RegistryError::System);
        }
        let tenant = self.store.registry.get(id).await?.ok_or(RegistryError::UnknownTenant)?;
        if tenant.closed.is_none() {
            return Err(RegistryError::NotClosed);
        }
        self.record_deletion(&tenant, "annals.tenant.deletion-started").await?;
        self.store.registry.delete(id).await?;
        self.record_deletion(&tenant, "annals.tenant.deleted").await
    }

    async fn record_deletion(&self, tenant: &Tenant, kind: &str) -> Result<(), RegistryError> {
        let system = self.store.registry.get(&system()).await?.ok_or(RegistryError::UnknownTenant)?;
        let data = json!({ "tenant": tenant.id, "table": tenant.table.as_str(), "created": tenant.created });
        let step = kind.rsplit('.').next().unwrap_or_default();
        // Another try is another event: an id of its own, not the tenant's.
        let id = format!("{}-{step}-{}", tenant.table, uuid::Uuid::new_v4());
        let now = self.store.clock.now().to_micros();
        let event = own_event(REGISTRY_SOURCE, &id, kind, now, self.author.actor.clone(), &data);
        let until = Instant::now() + PATIENCE;
        let recorded = self.record(&system, event, until).await;
        recorded.map_err(|error| {
            RegistryError::Write(super::WriteError::Unavailable { reason: error.to_string() })
        })
    }

    async fn record(&self, tenant: &Arc<Tenant>, event: NewEvent, until: Instant) -> Result<(), StoreError> {
        self.store.record(tenant, vec![event], self.author.recorded_by.clone(), until).await.map(drop)
    }

    /// Makes a key. What it gives is the only time that it can be seen.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn create_key(
        &self,
        tenant: &TenantId,
        label: &str,
        roles: Vec<Role>,
        expires: Option<Timestamp>,
    ) -> Result<(PresentedKey, ApiKey), RegistryError> {
        let presented = PresentedKey::random(KeyId::random());
        let key = ApiKey {
            id: presented.id.clone(),
            tenant: tenant.clone(),
            label: label.to_owned(),
            roles,
            hash: presented.hash(),
            previous: None,
            created: self.store.clock.now().to_micros(),
            expires,
            enabled: true,
        };
        self.store.registry.put_key(&key, &self.author).await?;
        self.tell_of(tenant).await;
        Ok((presented, key))
    }

    /// Disables a key, or enables it again. Processes that know it forget it within 10 seconds.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn set_key(
        &self,
        tenant: &TenantId,
        id: &KeyId,
        enabled: bool,
    ) -> Result<ApiKey, RegistryError> {
        let kind = if enabled { "annals.tenant.key-enabled" } else { "annals.tenant.key-disabled" };
        let change = |key: &ApiKey| (key.enabled != enabled).then(|| ApiKey { enabled, ..key.clone() });
        let key = self.store.registry.change_key(tenant, id, kind, &self.author, change).await?;
        self.tell_of(tenant).await;
        Ok(key)
    }

    /// Gives a key another secret. The old one goes on counting for `grace`.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn rotate_key(
        &self,
        tenant: &TenantId,
        id: &KeyId,
        grace: Duration,
    ) -> Result<(PresentedKey, ApiKey), RegistryError> {
        let presented = PresentedKey::random(id.clone());
        let (hash, until) = (presented.hash(), self.store.clock.now().to_micros().plus(grace));
        // With this secret already, it was done, and the answer was lost.
        let change = |key: &ApiKey| {
            let previous = (!grace.is_zero()).then_some((key.hash, until));
            (key.hash != hash).then(|| ApiKey { hash, previous, ..key.clone() })
        };
        let kind = "annals.tenant.key-rotated";
        let key = self.store.registry.change_key(tenant, id, kind, &self.author, change).await?;
        self.tell_of(tenant).await;
        Ok((presented, key))
    }

    /// Says what a principal may do in a tenant from now on; nothing at all, without roles.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn assign(&self, grant: &Grant) -> Result<(), RegistryError> {
        self.store.registry.put_grant(grant, &self.author).await?;
        self.tell_of(&grant.tenant).await;
        Ok(())
    }

    async fn tell_of(&self, id: &TenantId) {
        match self.store.registry.get(id).await {
            Ok(Some(tenant)) => self.tell(&tenant).await,
            Ok(None) => {}
            Err(error) => tracing::warn!(evt = "tenant.untold", tenant = %id, error = %error),
        }
    }

    /// The change is made, whatever becomes of its event now: the sweep writes what is left.
    async fn tell(&self, tenant: &Arc<Tenant>) {
        if let Err(error) = self.store.announce(tenant).await {
            tracing::warn!(evt = "tenant.untold", tenant = %tenant.id, error = %error);
        }
    }
}

#[cfg(test)]
mod tests;

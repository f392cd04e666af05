//! Changes: each one transaction, with the note that it has to be audited.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{
    ApiKey, Author, Change, Grant, KeyId, MAX_PENDING, PARTITION, Registry, RegistryError, SYSTEM, Settings,
    Tenant,
};
use crate::{
    domain::{ids::TenantId, timestamp::Timestamp},
    store::{
        keys,
        retry::{self, WriteError},
        table::{Batch, Op},
    },
};

/// A change to be made: rows beside the tenant's own, and what the audit stream will say.
struct Edit {
    tenant: Tenant,
    rows: Vec<Op>,
    kind: &'static str,
    data: Json,
}

impl Registry {
    /// Registers a tenant, or changes the settings of one that is. Doing it twice is harmless.
    /// The flag tells that the tenant is new.
    pub(in crate::store) async fn put(
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
    pub(in crate::store) async fn set_closed(
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
    pub(in crate::store) async fn delete(&self, id: &TenantId) -> Result<(), RegistryError> {
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

    /// Keeps a new key.
    pub(in crate::store) async fn put_key(&self, key: &ApiKey, author: &Author) -> Result<(), RegistryError> {
        self.write_key(key, Op::Upsert(key.row()), "annals.tenant.key-created", author).await
    }

    /// Changes a key as it is now; `change` gives `None` when there is nothing to change. What somebody
    /// else did to it at the same time stays done.
    pub(in crate::store) async fn change_key(
        &self,
        tenant: &TenantId,
        id: &KeyId,
        kind: &'static str,
        author: &Author,
        change: impl Fn(&ApiKey) -> Option<ApiKey>,
    ) -> Result<ApiKey, RegistryError> {
        for _ in 0..3 {
            let (key, etag) = self.key_of(tenant, id).await?;
            let Some(changed) = change(&key) else { return Ok(key) };
            match self.write_key(&changed, Op::Replace(changed.row(), etag), kind, author).await {
                // The key itself may be what has changed.
                Err(RegistryError::Busy) => {}
                written => return written.map(|()| changed),
            }
        }
        Err(RegistryError::Busy)
    }

    async fn write_key(
        &self,
        key: &ApiKey,
        op: Op,
        kind: &'static str,
        author: &Author,
    ) -> Result<(), RegistryError> {
        let mut data =
            json!({ "key": key.id, "label": key.label, "roles": key.roles, "enabled": key.enabled });
        if let Some(expires) = key.expires {
            data["expires"] = json!(expires);
        }
        self.edit(&key.tenant, author, |tenant| {
            let rows = vec![op.clone()];
            Ok(Some(Edit { tenant: tenant.clone(), rows, kind, data: data.clone() }))
        })
        .await?;
        self.api_keys.forget(&key.id);
        Ok(())
    }

    /// Says what a principal may do in a tenant from now on; nothing at all, without roles.
    pub(in crate::store) async fn put_grant(
        &self,
        grant: &Grant,
        author: &Author,
    ) -> Result<(), RegistryError> {
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
    pub(in crate::store) async fn settle(
        &self,
        id: &TenantId,
        written: &[String],
    ) -> Result<(), RegistryError> {
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

    pub(super) fn change(&self, tenant: &Tenant, kind: &str, data: Json, author: &Author) -> Change {
        Change {
            // The table is of this incarnation alone, so the id is too.
            id: format!("{}-{}", tenant.table, tenant.revision),
            kind: kind.to_owned(),
            time: self.now(),
            author: author.clone(),
            data,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now().to_micros()
    }
}

pub(super) fn single(partition: &str, op: Op) -> Batch {
    Batch::new(partition, vec![op]).expect("one small row is a batch")
}

//! A tenant made: its table, the heads of its partitions, and then its row.

use std::sync::Arc;

use serde_json::json;

use super::{Author, PARTITION, Registry, RegistryError, Settings, Tenant, TenantKey, write::single};
use crate::{
    domain::ids::TenantId,
    store::{
        digest, keys,
        retry::{self, WriteError},
        rows::Head,
        table::{Op, TableName},
    },
};

impl Registry {
    /// `Ok(None)`: somebody else registered it in between.
    pub(super) async fn register(
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
            let batch = single(&partition.to_string(), Op::Insert(head.row()));
            match retry::write(&account, &tenant.table, &batch).await {
                // The table is nobody else's: the head is ours, and its answer was lost.
                Ok(_) | Err(WriteError::Exists) => {}
                Err(error) => return Err(error.into()),
            }
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
}

//! Grants: what a principal of the identity provider may do in a tenant.

use crate::{
    access::Role,
    domain::ids::TenantId,
    store::{
        keys,
        rows::{BadRow, json},
        table::{Row, Value},
    },
};

/// What one principal may do in one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The tenant.
    pub tenant: TenantId,
    /// The principal, as it stands in `recordedby`: `entra:{directory}:{object id}`.
    pub principal: String,
    /// Its roles.
    pub roles: Vec<Role>,
}

impl Grant {
    pub(super) fn row(&self) -> Row {
        Row::new(keys::grant(&self.tenant, &self.principal))
            .with("Tenant", Value::Str(self.tenant.to_string()))
            .with("Principal", Value::Str(self.principal.clone()))
            .with("Roles", Value::Bin(json(&self.roles).into()))
    }

    pub(super) fn read(row: &Row) -> Result<Self, BadRow> {
        let bad = |property| move || BadRow { key: row.key.clone(), property };
        let text = |property: &'static str| row.str(property).ok_or_else(bad(property));
        let roles = row.bin("Roles").and_then(|json| serde_json::from_slice(json).ok());
        Ok(Self {
            tenant: TenantId::parse(text("Tenant")?).map_err(|_| bad("Tenant")())?,
            principal: text("Principal")?.to_owned(),
            roles: roles.ok_or_else(bad("Roles"))?,
        })
    }
}

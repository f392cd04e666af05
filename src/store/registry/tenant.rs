//! A tenant, as the registry keeps it.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{Place, change::Change};
use crate::{
    domain::{
        ids::TenantId,
        position::PartitionId,
        redaction::{Redactor, Rules},
        timestamp::Timestamp,
    },
    store::{
        keys,
        rows::{BadRow, json},
        table::{Row, TableName, Value},
    },
};

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

/// Which reads leave an event in the tenant's audit stream.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum ReadAudit {
    /// None.
    #[default]
    Off,
    /// Exports.
    Exports,
    /// Every read of data.
    All,
}

/// What is decided about a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Where its table lies; never changes.
    #[serde(default, skip_serializing_if = "Place::is_shared")]
    pub storage: Place,
    /// How many partitions; never changes.
    pub partitions: u8,
    /// What leaves the silo.
    #[serde(default)]
    pub change_feed: ChangeFeed,
    /// What is redacted, besides what always is.
    #[serde(default)]
    pub redaction: Rules,
    /// How long events are kept, in days. Kept here; not yet acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
    /// Statuses that want attention, besides those that always do; never changes, since streams are
    /// indexed by it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attention: Vec<String>,
    /// Which reads are audited.
    #[serde(default)]
    pub read_audit: ReadAudit,
}

impl Default for Settings {
    /// One partition in the shared account, change feed off.
    fn default() -> Self {
        Self {
            display_name: None,
            storage: Place::Shared,
            partitions: 1,
            change_feed: ChangeFeed::default(),
            redaction: Rules::default(),
            retention_days: None,
            attention: Vec::new(),
            read_audit: ReadAudit::Off,
        }
    }
}

impl Settings {
    /// Whether streams of this status are listed for an operator.
    pub fn wants_attention(&self, status: &str) -> bool {
        crate::domain::ATTENTION.contains(&status) || self.attention.iter().any(|wanted| wanted == status)
    }
}

/// A registered tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its table, of this incarnation alone.
    pub table: TableName,
    /// Its key.
    pub key: TenantKey,
    /// When it was registered.
    pub created: Timestamp,
    /// Since when nothing may be written to it.
    pub closed: Option<Timestamp>,
    /// Its settings.
    pub settings: Settings,
    /// The rules of `settings.redaction`, ready to be applied.
    pub redactor: Arc<Redactor>,
    /// Counts the changes.
    pub revision: u64,
    /// Changes that do not stand in the tenant's audit stream yet.
    pub pending: Vec<Change>,
}

impl Tenant {
    /// Its partitions.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> + Clone + use<> {
        PartitionId::first(self.settings.partitions)
    }

    /// The same with other settings.
    pub(super) fn with_settings(self, settings: Settings) -> Self {
        let redactor = Arc::new(Redactor::new(&settings.redaction));
        Self { settings, redactor, ..self }
    }

    pub(super) fn row(&self) -> Row {
        let mut row = Row::new(keys::tenant(&self.id))
            .with("Tenant", Value::Str(self.id.to_string()))
            .with("Table", Value::Str(self.table.to_string()))
            .with("Key", Value::Str(STANDARD_NO_PAD.encode(self.key.0)))
            .with("Created", Value::Str(self.created.to_string()))
            .with("Settings", Value::Bin(json(&self.settings).into()))
            .with("Revision", Value::Int(i64::try_from(self.revision).unwrap_or(i64::MAX)))
            .with("Pending", Value::Bin(json(&self.pending).into()));
        if let Some(closed) = self.closed {
            row = row.with("Closed", Value::Str(closed.to_string()));
        }
        row
    }

    pub(super) fn read(row: &Row) -> Result<Self, BadRow> {
        let bad = |property| move || BadRow { key: row.key.clone(), property };
        let text = |property: &'static str| row.str(property).ok_or_else(bad(property));
        let time = |property: &'static str, text: &str| {
            Timestamp::parse(property, text).map_err(|_| bad(property)())
        };
        let key = STANDARD_NO_PAD.decode(text("Key")?).ok().and_then(|bytes| bytes.try_into().ok());
        let settings: Option<Settings> =
            row.bin("Settings").and_then(|json| serde_json::from_slice(json).ok());
        let settings = settings.ok_or_else(bad("Settings"))?;
        let pending = row.bin("Pending").and_then(|json| serde_json::from_slice(json).ok());
        Ok(Self {
            id: TenantId::parse(text("Tenant")?).map_err(|_| bad("Tenant")())?,
            table: TableName::new(text("Table")?).ok_or_else(bad("Table"))?,
            key: TenantKey(key.ok_or_else(bad("Key"))?),
            created: time("Created", text("Created")?)?,
            closed: row.str("Closed").map(|closed| time("Closed", closed)).transpose()?,
            redactor: Arc::new(Redactor::new(&settings.redaction)),
            settings,
            revision: row.int("Revision").and_then(|n| u64::try_from(n).ok()).ok_or_else(bad("Revision"))?,
            pending: pending.ok_or_else(bad("Pending"))?,
        })
    }
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

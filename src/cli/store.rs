//! Commands that work on storage itself: whoever may write there may use them. That is how the first
//! tenant and the first key come to be.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::show;
use crate::{
    access::Role,
    config::{Settings, Storage},
    domain::{ids::TenantId, timestamp::Timestamp},
    host::{self, App},
    http::{TenantView, api_key_view, check_label, check_principal, sorted_roles},
    onboarding::{self, Wanted},
    store::embedded::Embedded,
    store::registry::{Author, Grant, KeyId, Place, ReadAudit, Tenant},
};

/// Which storage: an account that the settings name (`AnnalsStorage`, …), or a data folder.
#[derive(Debug, Args)]
pub(super) struct Where {
    /// Folder of an embedded store, instead of the account that the environment names.
    #[arg(long, global = true)]
    data: Option<PathBuf>,
}

impl Where {
    fn settings(&self) -> anyhow::Result<Settings> {
        let lookup = |name: &str| match (&self.data, name) {
            (Some(folder), "ANNALS_DATA_DIR") => Some(folder.display().to_string()),
            (Some(_), "AnnalsStorage" | "AnnalsStorage__tableServiceUri") => None,
            _ => std::env::var(name).ok(),
        };
        Ok(Settings::for_tools(&lookup)?)
    }

    /// The app on storage that is there. Refuses a folder that holds no store: a name with a slip in it
    /// must not make one.
    pub(super) fn app(&self) -> anyhow::Result<Arc<App>> {
        let settings = self.settings()?;
        match &settings.storage {
            Storage::Embedded(folder) if !Embedded::is_in(folder) => {
                bail!("there is no store in {}: `annals tenant add` makes one", folder.display())
            }
            _ => Ok(Arc::new(host::tool(&settings)?)),
        }
    }

    /// As [`Self::app`], on a folder that may be new.
    fn new_app(&self) -> anyhow::Result<Arc<App>> {
        Ok(Arc::new(host::tool(&self.settings()?)?))
    }
}

/// `annals tenant …`
#[derive(Debug, Subcommand)]
pub(super) enum TenantCommand {
    /// Add a tenant. Doing it twice is harmless.
    Add {
        tenant: TenantId,
        #[command(flatten)]
        change: Box<Change>,
        /// Partitions, 1 to 64; fixed from then on.
        #[arg(long)]
        partitions: Option<u8>,
        /// Keep its table in the account of the setting AnnalsSilos__{name}.
        #[arg(long, value_name = "NAME", conflicts_with = "table_service_uri")]
        connection: Option<String>,
        /// Keep its table in this account, which the managed identity may use.
        #[arg(long, value_name = "URI")]
        table_service_uri: Option<String>,
        /// A status that wants attention, besides faulted, in-doubt and pending-approval; fixed.
        #[arg(long, value_name = "STATUS")]
        attention: Vec<String>,
    },
    /// List the tenants.
    List,
    /// Show a tenant.
    Show { tenant: TenantId },
    /// Change what can be changed of a tenant.
    Update {
        tenant: TenantId,
        #[command(flatten)]
        change: Box<Change>,
    },
    /// Close a tenant: what it has can be read, and nothing is added.
    Remove { tenant: TenantId },
    /// Open a closed tenant again.
    Reopen { tenant: TenantId },
    /// Delete a closed tenant and everything it has, for ever.
    DeleteData {
        tenant: TenantId,
        /// The tenant again, so that nothing is deleted by a slip.
        #[arg(long, value_name = "TENANT")]
        yes_delete: TenantId,
    },
}

/// What can be changed of a tenant. What is not given stays.
#[derive(Debug, Args)]
pub(super) struct Change {
    /// A name for people.
    #[arg(long)]
    name: Option<String>,
    /// Whether events are published.
    #[arg(long, value_name = "BOOL")]
    change_feed: Option<bool>,
    /// Publish only this event type, or those that begin with it when it ends in `*`; can be repeated.
    #[arg(long, value_name = "TYPE")]
    feed_type: Vec<String>,
    /// Redact members with this name too; can be repeated.
    #[arg(long, value_name = "NAME")]
    redact_name: Vec<String>,
    /// Redact what this JSON pointer leads to (/data/…, /extensions/…); can be repeated.
    #[arg(long, value_name = "POINTER")]
    redact_pointer: Vec<String>,
    /// Whether values that look like secrets are redacted.
    #[arg(long, value_name = "BOOL")]
    redact_shapes: Option<bool>,
    /// Days that events are to be kept (noted; not yet acted on).
    #[arg(long, value_name = "DAYS")]
    retention_days: Option<u32>,
    /// Which reads leave an event.
    #[arg(long)]
    read_audit: Option<ReadAudit>,
}

impl Change {
    fn apply(self, wanted: &mut Wanted) {
        if self.name.is_some() {
            wanted.display_name = self.name;
        }
        wanted.change_feed.enabled = self.change_feed.unwrap_or(wanted.change_feed.enabled);
        for (given, list) in [
            (self.feed_type, &mut wanted.change_feed.types),
            (self.redact_name, &mut wanted.redaction.names),
            (self.redact_pointer, &mut wanted.redaction.pointers),
        ] {
            if !given.is_empty() {
                *list = given;
            }
        }
        wanted.redaction.shapes = self.redact_shapes.unwrap_or(wanted.redaction.shapes);
        wanted.retention_days = self.retention_days.or(wanted.retention_days);
        wanted.read_audit = self.read_audit.unwrap_or(wanted.read_audit);
    }
}

/// Runs `annals tenant …`.
pub(super) async fn tenant(place: &Where, command: TenantCommand) -> anyhow::Result<()> {
    let adds = matches!(command, TenantCommand::Add { .. });
    let app = if adds { place.new_app()? } else { place.app()? };
    let administration = app.store.administration(Author::command_line());
    match command {
        TenantCommand::Add { tenant, change, partitions, connection, table_service_uri, attention } => {
            let mut wanted = match app.store.registry().get(&tenant).await? {
                Some(known) => Wanted::change_to(&known.settings),
                None => Wanted::default(),
            };
            change.apply(&mut wanted);
            wanted.partitions = partitions;
            wanted.storage =
                connection.map(Place::Connection).or(table_service_uri.map(Place::TableServiceUri));
            wanted.attention = (!attention.is_empty()).then_some(attention);
            put(&app, &tenant, wanted).await
        }
        TenantCommand::Update { tenant, change } => {
            let mut wanted = Wanted::change_to(&known(&app, &tenant).await?.settings);
            change.apply(&mut wanted);
            put(&app, &tenant, wanted).await
        }
        TenantCommand::List => {
            let tenants = app.store.registry().list().await?;
            show_json(&json!(tenants.iter().map(|tenant| TenantView::of(tenant)).collect::<Vec<_>>()))
        }
        TenantCommand::Show { tenant } => show_json(&json!(TenantView::of(&*known(&app, &tenant).await?))),
        TenantCommand::Remove { tenant } => {
            show_json(&json!(TenantView::of(&*administration.set_closed(&tenant, true).await?)))
        }
        TenantCommand::Reopen { tenant } => {
            show_json(&json!(TenantView::of(&*administration.set_closed(&tenant, false).await?)))
        }
        TenantCommand::DeleteData { tenant, yes_delete } => {
            if tenant != yes_delete {
                bail!("--yes-delete names another tenant: nothing was deleted");
            }
            administration.delete_data(&tenant).await?;
            show_json(&json!({ "deleted": tenant }))
        }
    }
}

async fn put(app: &App, tenant: &TenantId, wanted: Wanted) -> anyhow::Result<()> {
    let known = app.store.registry().get(tenant).await?;
    let settings = wanted.settings(known.as_ref().map(|known| &known.settings))?;
    if known.is_none_or(|known| !known.settings.change_feed.enabled) {
        onboarding::check_feed(app.public_url.as_ref(), &settings)?;
    }
    onboarding::check_place(&app.silos, &settings.storage)?;
    let (tenant, _) = app.store.administration(Author::command_line()).put(tenant, &settings).await?;
    show_json(&json!(TenantView::of(&tenant)))
}

async fn known(app: &App, tenant: &TenantId) -> anyhow::Result<Arc<Tenant>> {
    let found = app.store.registry().get(tenant).await?;
    found.with_context(|| format!("there is no tenant {tenant}"))
}

/// `annals key …`
#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key. It is shown now and never again.
    Create {
        tenant: TenantId,
        /// A name for people.
        #[arg(long)]
        label: String,
        /// What its holder may do; can be repeated.
        #[arg(long = "role", required = true)]
        roles: Vec<Role>,
        /// When it ends, such as 2027-01-31T00:00:00Z.
        #[arg(long)]
        expires: Option<String>,
    },
    /// List the keys of a tenant.
    List { tenant: TenantId },
    /// Disable a key. Handlers that know it forget it within 10 seconds.
    Disable { tenant: TenantId, key: String },
    /// Enable a key again.
    Enable { tenant: TenantId, key: String },
    /// Give a key another secret, shown now and never again.
    Rotate {
        tenant: TenantId,
        key: String,
        /// Seconds for which the old secret goes on counting, a week at most.
        #[arg(long, default_value_t = 0)]
        grace: u64,
    },
}

/// Runs `annals key …`.
pub(super) async fn key(place: &Where, command: KeyCommand) -> anyhow::Result<()> {
    let app = place.app()?;
    let administration = app.store.administration(Author::command_line());
    let id = |text: &str| KeyId::parse(text).context("a key is named by 16 hexadecimal digits");
    match command {
        KeyCommand::Create { tenant, label, roles, expires } => {
            check_label(&label)?;
            let expires = expires.map(|text| Timestamp::parse("expires", &text)).transpose()?;
            let created = administration.create_key(&tenant, &label, sorted_roles(roles), expires).await?;
            show_json(&api_key_view(&created.1, Some(&created.0)))
        }
        KeyCommand::List { tenant } => {
            known(&app, &tenant).await?;
            let keys = app.store.registry().api_keys(&tenant).await?;
            show_json(&keys.iter().map(|key| api_key_view(key, None)).collect())
        }
        KeyCommand::Disable { tenant, key } => {
            show_json(&api_key_view(&administration.set_key(&tenant, &id(&key)?, false).await?, None))
        }
        KeyCommand::Enable { tenant, key } => {
            show_json(&api_key_view(&administration.set_key(&tenant, &id(&key)?, true).await?, None))
        }
        KeyCommand::Rotate { tenant, key, grace } => {
            let grace = Duration::from_secs(grace);
            onboarding::check_grace(grace)?;
            let rotated = administration.rotate_key(&tenant, &id(&key)?, grace).await?;
            show_json(&api_key_view(&rotated.1, Some(&rotated.0)))
        }
    }
}

/// `annals role …`
#[derive(Debug, Subcommand)]
pub(super) enum RoleCommand {
    /// Say what a principal may do in a tenant from now on.
    Assign {
        tenant: TenantId,
        /// `entra:{directory}:{object id}`.
        principal: String,
        #[arg(required = true)]
        roles: Vec<Role>,
    },
    /// List who may do what in a tenant.
    List { tenant: TenantId },
    /// Take all roles of a principal away.
    Revoke { tenant: TenantId, principal: String },
}

/// Runs `annals role …`.
pub(super) async fn role(place: &Where, command: RoleCommand) -> anyhow::Result<()> {
    let app = place.app()?;
    let (tenant, principal, roles) = match command {
        RoleCommand::List { tenant } => {
            known(&app, &tenant).await?;
            let grants = app.store.registry().grants(&tenant).await?;
            let view = |grant: &Grant| json!({ "principal": grant.principal, "roles": grant.roles });
            return show_json(&grants.iter().map(view).collect());
        }
        RoleCommand::Assign { tenant, principal, roles } => (tenant, principal, roles),
        RoleCommand::Revoke { tenant, principal } => (tenant, principal, Vec::new()),
    };
    let grant = Grant { tenant, principal: check_principal(&principal)?, roles: sorted_roles(roles) };
    app.store.administration(Author::command_line()).assign(&grant).await?;
    show_json(&json!({ "tenant": grant.tenant, "principal": grant.principal, "roles": grant.roles }))
}

fn show_json(value: &Value) -> anyhow::Result<()> {
    show(&serde_json::to_string_pretty(value)?);
    Ok(())
}

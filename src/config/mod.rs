//! Settings, parsed once at start. A bad one stops the start with a message that names it and says
//! what is expected; secrets never appear in a message or in `Debug`.

mod auth;
mod checkpoint;
mod limits;
mod silos;
mod storage;

use std::{collections::BTreeSet, fmt, path::PathBuf};

use url::Url;

pub use self::{
    auth::{AuthSettings, DEV, TokenSettings},
    checkpoint::{CheckpointSettings, NoKey},
    limits::Limits,
    silos::{SiloRules, check_connection, silo},
    storage::{AzureStorage, Credential, Secret},
};
use crate::{domain::ids::TenantId, links::PublicUrl, queue::QueueName};

/// Where settings come from: the environment, or a map in a test.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Every setting that this program reads, with what it means. `docs/OPERATIONS.md` and the
/// Bicep are checked against this list.
pub const SETTINGS: &[(&str, &str)] = &[
    ("FUNCTIONS_CUSTOMHANDLER_PORT", "loopback port to listen on; set by the Functions host"),
    ("AnnalsStorage", "connection string of the storage account (`UseDevelopmentStorage=true` for Azurite)"),
    (
        "AnnalsStorage__tableServiceUri",
        "table endpoint, for a managed identity instead of a connection string",
    ),
    ("AnnalsStorage__queueServiceUri", "queue endpoint, with the table endpoint"),
    ("AnnalsStorage__clientId", "client id of a user-assigned identity; system-assigned without it"),
    ("AnnalsStorage__credential", "`managedidentity`, where it is given"),
    ("IDENTITY_ENDPOINT", "where a managed identity's tokens come from; set by the platform"),
    ("IDENTITY_HEADER", "proves to that endpoint who asks; set by the platform"),
    ("AnnalsEventGrid__topicEndpointUri", "Event Grid topic; read by the Functions host, checked here"),
    ("ANNALS_DATA_DIR", "folder of the embedded store, used when no storage account is named"),
    ("ANNALS_PUBLIC_URL", "base of links, such as https://annals.example; required by a change feed"),
    ("ANNALS_INGEST_QUEUE", "queue on which messages come in (annals-ingest)"),
    ("ANNALS_PUBLISH_QUEUE", "queue on which commits wait to be published (annals-publish)"),
    ("ANNALS_LOG", "tracing filter (info)"),
    (
        "ANNALS_OTLP_ENDPOINT",
        "base URL of an OpenTelemetry collector (OTLP over HTTP); spans stay here without it",
    ),
    ("ANNALS_AUTH", "how callers prove who they are: `entra`, `keys`, `entra,keys` or `platform`; required"),
    (
        "ANNALS_OPERATORS",
        "names of the first operators, joined by commas: `entra:{directory}:{object}`, `key:{id}`",
    ),
    ("ANNALS_TOKEN_ISSUERS", "accepted issuers of bearer tokens, joined by commas; v1 and v2 are two"),
    ("ANNALS_TOKEN_AUDIENCES", "accepted audiences of bearer tokens, joined by commas"),
    ("ANNALS_JWKS_URL", "where the issuer's keys are"),
    ("ANNALS_QUEUE_TENANTS", "tenants that the queue may write to, joined by commas; all without it"),
    ("ANNALS_STORAGE_SUFFIX", "endpoint suffix of tenants' own accounts (core.windows.net)"),
    ("ANNALS_STORAGE_HOSTS", "hosts of private endpoints that may be a tenant's account, joined by commas"),
    ("AnnalsSilos__{name}", "connection string of a tenant's own account"),
    (
        "AnnalsSilos__{name}__tableServiceUri",
        "table endpoint of a tenant's own account, for the managed identity",
    ),
    ("ANNALS_WRITES_PER_SECOND", "HTTP writes of one tenant on one instance (1000)"),
    ("ANNALS_READS_PER_SECOND", "HTTP reads of one tenant on one instance (1000)"),
    ("WEBSITE_AUTH_ENABLED", "set by the platform while its own authentication is on"),
    ("WEBSITE_INSTANCE_ID", "set by the platform; refuses ANNALS_AUTH=off"),
    ("WEBSITE_SITE_NAME", "set by the platform; refuses ANNALS_AUTH=off"),
    ("WEBSITE_HOSTNAME", "set by the platform; refuses ANNALS_AUTH=off"),
    ("WEBSITE_OWNER_NAME", "set by the platform; refuses ANNALS_AUTH=off"),
    (
        "ANNALS_CHECKPOINT_KEY",
        "Ed25519 key that signs checkpoints, as a reference to a vault; none without it",
    ),
    ("ANNALS_CHECKPOINT_CONTAINER", "URL of a blob container that keeps checkpoints too"),
    ("ANNALS_DEV", "set by `annals dev` for its handler; allows ANNALS_AUTH=off"),
    ("ANNALS_DEV_QUEUES", "base of the queues of `annals dev`, which sets it"),
];

/// A setting is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} {rule}")]
pub struct ConfigError {
    name: &'static str,
    rule: String,
}

impl ConfigError {
    fn new(name: &'static str, rule: impl Into<String>) -> Self {
        Self { name, rule: rule.into() }
    }

    /// The same rule, said of another setting.
    fn rule_of(&self, name: &str) -> String {
        format!("{name} {}", self.rule)
    }
}

/// Which storage serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// A storage account.
    Azure(AzureStorage),
    /// One file on this machine.
    Embedded(PathBuf),
}

/// All settings of the handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Loopback port to listen on.
    pub port: u16,
    /// Which storage serves.
    pub storage: Storage,
    /// The base of links.
    pub public_url: Option<PublicUrl>,
    /// Queue on which messages come in.
    pub ingest_queue: QueueName,
    /// Queue on which commits wait to be published.
    pub publish_queue: QueueName,
    /// Base of the queues of `annals dev`.
    pub dev_queues: Option<Url>,
    /// How callers prove who they are.
    pub auth: AuthSettings,
    /// Which addresses may be a tenant's own account.
    pub silos: SiloRules,
    /// How much a tenant may ask for.
    pub limits: Limits,
    /// Tenants that the queue may write to; all, if `None`.
    pub queue_tenants: Option<BTreeSet<TenantId>>,
    /// What checkpoints are signed with, and where else they are kept.
    pub checkpoint: CheckpointSettings,
}

impl Settings {
    /// Reads all settings.
    ///
    /// # Errors
    /// [`ConfigError`] for the first that is missing or wrong.
    pub fn read(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        let port = port(lookup)?;
        let settings = Self::common(lookup)?;
        Ok(Self { port, auth: AuthSettings::read(lookup)?, ..settings })
    }

    /// Reads the settings of a tool that works on storage and serves nobody.
    ///
    /// # Errors
    /// [`ConfigError`] for the first that is missing or wrong.
    pub fn for_tools(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        Self::common(lookup)
    }

    fn common(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        let queue = |name, default: &str| {
            let text = value(lookup, name).unwrap_or_else(|| default.to_owned());
            QueueName::new(&text).ok_or_else(|| {
                ConfigError::new(
                    name,
                    "must be a queue name: 3 to 63 lower-case letters, digits and single hyphens",
                )
            })
        };
        let ingest_queue = queue("ANNALS_INGEST_QUEUE", "annals-ingest")?;
        let publish_queue = queue("ANNALS_PUBLISH_QUEUE", "annals-publish")?;
        let shared = ingest_queue == publish_queue
            || ingest_queue.poison().as_ref() == Some(&publish_queue)
            || publish_queue.poison().as_ref() == Some(&ingest_queue);
        if shared {
            let rule = "must not be the queue of ANNALS_INGEST_QUEUE, nor one the poison queue of the other";
            return Err(ConfigError::new("ANNALS_PUBLISH_QUEUE", rule));
        }
        url(lookup, "AnnalsEventGrid__topicEndpointUri")?;
        url(lookup, "ANNALS_OTLP_ENDPOINT")?;
        let public_url = url(lookup, "ANNALS_PUBLIC_URL")?;
        if public_url.as_ref().is_some_and(|url| url.query().is_some() || url.fragment().is_some()) {
            return Err(ConfigError::new("ANNALS_PUBLIC_URL", "must be a URL without query and fragment"));
        }
        Ok(Self {
            port: 0,
            storage: storage(lookup)?,
            public_url: public_url.map(PublicUrl::new),
            ingest_queue,
            publish_queue,
            dev_queues: url(lookup, "ANNALS_DEV_QUEUES")?,
            auth: AuthSettings::none(),
            silos: SiloRules::read(lookup)?,
            limits: Limits::read(lookup)?,
            queue_tenants: queue_tenants(lookup)?,
            checkpoint: CheckpointSettings::read(lookup)?,
        })
    }
}

/// An empty setting counts as none: that is what a cleared app setting leaves.
fn value(lookup: Lookup<'_>, name: &str) -> Option<String> {
    lookup(name).filter(|text| !text.trim().is_empty())
}

/// The parts of a list joined by commas.
fn list(lookup: Lookup<'_>, name: &str) -> Vec<String> {
    let text = value(lookup, name).unwrap_or_default();
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn queue_tenants(lookup: Lookup<'_>) -> Result<Option<BTreeSet<TenantId>>, ConfigError> {
    const NAME: &str = "ANNALS_QUEUE_TENANTS";
    if value(lookup, NAME).is_none() {
        return Ok(None);
    }
    let tenants: Result<_, _> = list(lookup, NAME).into_iter().map(TenantId::parse).collect();
    tenants.map(Some).map_err(|_| ConfigError::new(NAME, "must be ids of tenants joined by commas"))
}

fn port(lookup: Lookup<'_>) -> Result<u16, ConfigError> {
    const NAME: &str = "FUNCTIONS_CUSTOMHANDLER_PORT";
    let rule = "must be the port to listen on (1 to 65535); the Functions host sets it, `annals dev` runs without it";
    let port = value(lookup, NAME).and_then(|text| text.parse().ok()).filter(|port| *port != 0);
    port.ok_or_else(|| ConfigError::new(NAME, rule))
}

fn url(lookup: Lookup<'_>, name: &'static str) -> Result<Option<Url>, ConfigError> {
    let Some(text) = value(lookup, name) else { return Ok(None) };
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.map(Some).ok_or_else(|| ConfigError::new(name, "must be an absolute http or https URL"))
}

/// The storage that serves: an account by connection string or identity, or the embedded store.
///
/// # Errors
/// [`ConfigError`] when none or two are named, or one is wrong.
pub fn storage(lookup: Lookup<'_>) -> Result<Storage, ConfigError> {
    let connection = value(lookup, "AnnalsStorage");
    let endpoint = value(lookup, "AnnalsStorage__tableServiceUri");
    match (connection, endpoint, value(lookup, "ANNALS_DATA_DIR")) {
        (Some(_), Some(_), _) => Err(ConfigError::new(
            "AnnalsStorage",
            "must not be set together with AnnalsStorage__tableServiceUri",
        )),
        (Some(text), None, _) => AzureStorage::from_connection_string(&text).map(Storage::Azure),
        (None, Some(_), _) => AzureStorage::from_identity(lookup).map(Storage::Azure),
        (None, None, Some(folder)) => Ok(Storage::Embedded(folder.into())),
        (None, None, None) => Err(ConfigError::new(
            "AnnalsStorage",
            "must name a storage account (a connection string, or AnnalsStorage__tableServiceUri for a managed \
             identity), or ANNALS_DATA_DIR the folder of the embedded store",
        )),
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests;

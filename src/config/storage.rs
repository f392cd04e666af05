//! The storage account: a connection string, or endpoints with a managed identity.

use std::collections::HashMap;

use url::Url;

use super::{ConfigError, Lookup, url, value};

const CONNECTION: &str = "AnnalsStorage";
/// Azurite's account, its published key and its default ports.
const DEVELOPMENT: (&str, &str) = (
    "devstoreaccount1",
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
);

/// Something that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub(crate) String);

/// How we prove who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// The account's key.
    SharedKey(Secret),
    /// A shared access signature.
    Sas(Secret),
    /// A managed identity: system-assigned, or user-assigned by its client id.
    ManagedIdentity {
        /// Client id of a user-assigned identity.
        client_id: Option<String>,
        /// Where the platform gives out tokens.
        endpoint: Url,
        /// What proves to it that we are the app.
        header: Secret,
    },
}

/// A storage account, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureStorage {
    /// Name of the account.
    pub account: String,
    /// Table endpoint, without a trailing slash.
    pub table_endpoint: String,
    /// Queue endpoint, without a trailing slash.
    pub queue_endpoint: String,
    /// How we prove who we are.
    pub credential: Credential,
}

impl AzureStorage {
    /// Reads a connection string. Errors never repeat any of it: it holds the account's key.
    pub(super) fn from_connection_string(text: &str) -> Result<Self, ConfigError> {
        let wrong = |rule: &str| ConfigError::new(CONNECTION, rule);
        let mut parts = HashMap::new();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) =
                part.split_once('=').ok_or_else(|| wrong("must be `Name=value` pairs joined by `;`"))?;
            parts.insert(name.trim().to_ascii_lowercase(), value.trim());
        }
        let part = |name: &str| parts.get(name).copied().filter(|value| !value.is_empty());
        if part("usedevelopmentstorage").is_some_and(|flag| flag.eq_ignore_ascii_case("true")) {
            return Ok(Self::development());
        }
        let endpoint_of = |service: &str| part(&format!("{service}endpoint")).map(str::to_owned);
        let account = part("accountname");
        let credential = match (part("accountkey"), part("sharedaccesssignature")) {
            (Some(key), None) => Credential::SharedKey(Secret(key.to_owned())),
            (None, Some(sas)) => Credential::Sas(Secret(sas.trim_start_matches('?').to_owned())),
            _ => return Err(wrong("must hold either AccountKey or SharedAccessSignature")),
        };
        let scheme = part("defaultendpointsprotocol").unwrap_or("https");
        let suffix = part("endpointsuffix").unwrap_or("core.windows.net");
        let endpoint = |service: &str| -> Result<String, ConfigError> {
            let text =
                endpoint_of(service).or_else(|| Some(format!("{scheme}://{}.{service}.{suffix}", account?)));
            let text =
                text.ok_or_else(|| wrong("must hold AccountName, or TableEndpoint and QueueEndpoint"))?;
            let parsed = Url::parse(&text)
                .ok()
                .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            let url = parsed.ok_or_else(|| wrong("must hold endpoints that are http or https URLs"))?;
            Ok(url.as_str().trim_end_matches('/').to_owned())
        };
        let (table_endpoint, queue_endpoint) = (endpoint("table")?, endpoint("queue")?);
        let account = account.map(str::to_owned).or_else(|| account_of(&table_endpoint));
        let account = account.ok_or_else(|| wrong("must hold AccountName"))?;
        Ok(Self { account, table_endpoint, queue_endpoint, credential })
    }

    fn development() -> Self {
        let (account, key) = DEVELOPMENT;
        Self {
            account: account.to_owned(),
            table_endpoint: format!("http://127.0.0.1:10002/{account}"),
            queue_endpoint: format!("http://127.0.0.1:10001/{account}"),
            credential: Credential::SharedKey(Secret(key.to_owned())),
        }
    }

    /// Reads endpoints for a managed identity.
    pub(super) fn from_identity(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        const TABLE: &str = "AnnalsStorage__tableServiceUri";
        const QUEUE: &str = "AnnalsStorage__queueServiceUri";
        const CREDENTIAL: &str = "AnnalsStorage__credential";
        if value(lookup, CREDENTIAL).is_some_and(|kind| !kind.eq_ignore_ascii_case("managedidentity")) {
            return Err(ConfigError::new(CREDENTIAL, "must be `managedidentity` or not be set"));
        }
        let endpoint = |name| {
            let url = url(lookup, name)?
                .ok_or_else(|| ConfigError::new(name, "must be the endpoint of the service"))?;
            if url.scheme() != "https" && !is_loopback(&url) {
                return Err(ConfigError::new(name, "must be an https URL: a token is sent to it"));
            }
            Ok(url.as_str().trim_end_matches('/').to_owned())
        };
        let table_endpoint = endpoint(TABLE)?;
        let queue_endpoint = endpoint(QUEUE)?;
        let account = account_of(&table_endpoint);
        Ok(Self {
            account: account.ok_or_else(|| ConfigError::new(TABLE, "must begin with the account's name"))?,
            queue_endpoint,
            table_endpoint,
            credential: Self::identity(lookup)?,
        })
    }

    /// An account of which only the tables are used, by our managed identity.
    pub(super) fn with_identity(lookup: Lookup<'_>, tables: &Url) -> Result<Self, ConfigError> {
        let table_endpoint = tables.as_str().trim_end_matches('/').to_owned();
        let account = account_of(&table_endpoint).unwrap_or_default();
        let queue_endpoint = table_endpoint.clone();
        Ok(Self { account, table_endpoint, queue_endpoint, credential: Self::identity(lookup)? })
    }

    fn identity(lookup: Lookup<'_>) -> Result<Credential, ConfigError> {
        const ENDPOINT: &str = "IDENTITY_ENDPOINT";
        const HEADER: &str = "IDENTITY_HEADER";
        let rule = "must be set for a managed identity; the platform does so when the app has one";
        Ok(Credential::ManagedIdentity {
            client_id: value(lookup, "AnnalsStorage__clientId"),
            endpoint: url(lookup, ENDPOINT)?.ok_or_else(|| ConfigError::new(ENDPOINT, rule))?,
            header: value(lookup, HEADER).map(Secret).ok_or_else(|| ConfigError::new(HEADER, rule))?,
        })
    }
}

pub(super) fn is_loopback(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

/// `https://{account}.table.core.windows.net`, or an emulator's `http://127.0.0.1:10002/{account}`.
fn account_of(endpoint: &str) -> Option<String> {
    let url = Url::parse(endpoint).ok()?;
    let in_path = url.path().trim_matches('/');
    let name = if in_path.is_empty() { url.host_str()?.split('.').next()? } else { in_path };
    (!name.is_empty()).then(|| name.to_owned())
}

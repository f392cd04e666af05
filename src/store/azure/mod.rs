//! A storage account as the store and the queues use it.
//!
//! The only folder, with `queue::azure`, that names an `azure_*` crate. Those crates have seen their
//! last release, so they stay behind the two ports: a successor replaces this folder and nothing else.

mod batch;
mod entity;
mod fault;
mod identity;
mod keys;
mod outcome;
mod skew;
mod tables;
mod throttle;
mod transport;

use std::sync::Arc;

use azure_core::{ClientOptions, Context, Policy, PolicyResult, Request, RetryOptions, TransportOptions};
use azure_data_tables::clients::TableServiceClientBuilder;
use azure_storage::{CloudLocation, StorageCredentials};
use azure_storage_queues::QueueServiceClientBuilder;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

pub(crate) use self::fault::Fault;
pub use self::tables::AzureTables;
use self::{
    identity::{ManagedIdentity, Source},
    skew::ClockSkew,
    transport::Transport,
};
use crate::{
    config::{AzureStorage, Credential, Secret},
    queue::azure::{AzureQueues, NeverExpiring},
};

/// Why an account cannot be used. Each is in the settings, so each stops the start.
#[derive(Debug, thiserror::Error)]
pub enum AzureError {
    /// The HTTP client.
    #[error("no HTTP client can be made")]
    Client(#[from] reqwest::Error),
    /// The account's key.
    #[error("AnnalsStorage must hold an AccountKey in base64")]
    Key,
    /// The shared access signature.
    #[error("AnnalsStorage must hold a SharedAccessSignature that is a query string with a `sig`")]
    Signature,
}

/// One storage account: endpoints, a credential and a pool of connections that its drivers share.
#[derive(Debug)]
pub struct Account {
    table_endpoint: String,
    table_location: CloudLocation,
    queue_location: CloudLocation,
    credentials: StorageCredentials,
    transport: TransportOptions,
    skew: Arc<ClockSkew>,
}

impl Account {
    /// Takes the settings of an account. Nothing is sent: storage may be down when we start.
    ///
    /// # Errors
    /// [`AzureError`] for a credential that can never work.
    pub fn open(storage: &AzureStorage) -> Result<Self, AzureError> {
        let skew = Arc::<ClockSkew>::default();
        let transport = Transport::new(transport::client()?, Arc::clone(&skew));
        let location =
            |uri: &String| CloudLocation::Custom { account: storage.account.clone(), uri: uri.clone() };
        Ok(Self {
            table_endpoint: storage.table_endpoint.clone(),
            table_location: location(&storage.table_endpoint),
            queue_location: location(&storage.queue_endpoint),
            credentials: credentials(storage)?,
            transport: TransportOptions::new(Arc::new(transport)),
            skew,
        })
    }

    /// The account's tables.
    pub fn tables(&self) -> AzureTables {
        let builder =
            TableServiceClientBuilder::with_location(self.table_location.clone(), self.credentials.clone());
        let options = self.options().per_call_policies(vec![Arc::new(batch::OwnBody) as Arc<dyn Policy>]);
        let service = builder.client_options(options).build();
        AzureTables::new(service, &self.table_endpoint, Arc::clone(&self.skew))
    }

    /// The account's queues.
    pub fn queues(&self) -> AzureQueues {
        let builder =
            QueueServiceClientBuilder::with_location(self.queue_location.clone(), self.credentials.clone());
        let policies: Vec<Arc<dyn Policy>> = vec![Arc::new(NeverExpiring)];
        let options = self.options().per_call_policies(policies);
        AzureQueues::new(builder.client_options(options).build())
    }

    /// One call is one request: when to try again is decided above the ports.
    fn options(&self) -> ClientOptions {
        ClientOptions::new(self.transport.clone()).retry(RetryOptions::none())
    }
}

/// Hands a request on to the next policy; every pipeline ends with a transport.
pub(crate) async fn next_policy(
    ctx: &Context,
    request: &mut Request,
    next: &[Arc<dyn Policy>],
) -> PolicyResult {
    match next.split_first() {
        Some((policy, rest)) => policy.send(ctx, request, rest).await,
        None => Err(Fault::Senseless.into()),
    }
}

fn credentials(storage: &AzureStorage) -> Result<StorageCredentials, AzureError> {
    match &storage.credential {
        Credential::SharedKey(Secret(key)) => {
            BASE64.decode(key).map_err(|_| AzureError::Key)?;
            Ok(StorageCredentials::access_key(storage.account.clone(), key.clone()))
        }
        Credential::Sas(Secret(query)) => {
            let signed = url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "sig");
            let credentials = StorageCredentials::sas_token(query).ok().filter(|_| signed);
            credentials.ok_or(AzureError::Signature)
        }
        Credential::ManagedIdentity { client_id, endpoint, header } => {
            let client_id = client_id.clone();
            let source = Source { endpoint: endpoint.clone(), header: header.clone(), client_id };
            Ok(StorageCredentials::token_credential(Arc::new(ManagedIdentity::new(source)?)))
        }
    }
}

/// The account's managed identity as a source of tokens for Azure Storage; `None` where it is reached
/// by key or signature.
///
/// # Errors
/// When no HTTP client can be made.
pub(crate) fn storage_tokens(
    credential: &Credential,
) -> reqwest::Result<Option<Arc<dyn crate::queue::Tokens>>> {
    let Credential::ManagedIdentity { client_id, endpoint, header } = credential else { return Ok(None) };
    let source = Source { endpoint: endpoint.clone(), header: header.clone(), client_id: client_id.clone() };
    Ok(Some(Arc::new(StorageTokens(ManagedIdentity::new(source)?))))
}

struct StorageTokens(ManagedIdentity);

#[async_trait::async_trait]
impl crate::queue::Tokens for StorageTokens {
    async fn token(&self) -> Result<String, String> {
        let scope = ["https://storage.azure.com/.default"];
        let token = azure_core::auth::TokenCredential::get_token(&self.0, &scope).await;
        token.map(|token| token.token.secret().to_owned()).map_err(|error| Fault::of(&error).to_string())
    }
}

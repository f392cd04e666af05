//! A blob container for checkpoints. Give it an immutability policy, in a subscription that whoever
//! runs this one cannot change: then a rewritten past is found.

use std::{fmt, time::Duration};

use reqwest::{Client, StatusCode};
use url::Url;

use super::note::Note;
use crate::queue::Tokens;

/// Version of the Blob service that is spoken to.
const VERSION: &str = "2021-12-02";
const TIMEOUT: Duration = Duration::from_secs(15);

/// A checkpoint was not put. Says nothing of the address, which may carry a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the container did not take it ({0})")]
pub struct ContainerError(String);

/// A container, by an address with a shared access signature, or by a managed identity.
#[derive(Clone)]
pub struct Container {
    url: Url,
    http: Client,
    tokens: Option<std::sync::Arc<dyn Tokens>>,
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Container({})", self.url.path())
    }
}

impl Container {
    /// The container at `url`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(url: Url, tokens: Option<std::sync::Arc<dyn Tokens>>) -> reqwest::Result<Self> {
        Ok(Self { url, http: Client::builder().timeout(TIMEOUT).build()?, tokens })
    }

    /// Puts a checkpoint where nothing is yet; one that is there already is a success.
    ///
    /// # Errors
    /// [`ContainerError`]; doing it again is harmless.
    pub async fn put(&self, note: &Note) -> Result<(), ContainerError> {
        let mut url = self.url.clone();
        let name = format!("{}/{}/{:020}.txt", note.table, note.partition, note.sequence);
        url.set_path(&format!("{}/{name}", self.url.path().trim_end_matches('/')));
        let mut request = self
            .http
            .put(url)
            .header("x-ms-version", VERSION)
            .header("x-ms-blob-type", "BlockBlob")
            .header("if-none-match", "*")
            .header("content-type", "text/plain; charset=utf-8")
            .body(note.to_string());
        if let Some(tokens) = &self.tokens {
            request = request.bearer_auth(tokens.token().await.map_err(ContainerError)?);
        }
        let response =
            request.send().await.map_err(|error| ContainerError(error.without_url().to_string()))?;
        match response.status() {
            status if status.is_success() => Ok(()),
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Ok(()),
            status => Err(ContainerError(status.to_string())),
        }
    }
}

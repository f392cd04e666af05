//! The managed identity of an App Service or Functions app, system- or user-assigned.
//!
//! Our own, because the SDK's generation knows system-assigned identities only and the next one
//! brings a second SDK along (`docs/adr/0003-managed-identity.md`).

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use azure_core::auth::{AccessToken, TokenCredential};
use serde::Deserialize;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::fault::Fault;
use crate::config::Secret;

/// Longest wait for a token.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A token this close to its end is renewed while it still serves.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// A token this close to its end no longer serves.
const UNUSABLE_BEFORE: Duration = Duration::from_secs(30);
/// After a failed renewal in the background, wait before the next.
const REST: Duration = Duration::from_secs(10);

/// Where tokens come from, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// `IDENTITY_ENDPOINT`.
    pub(crate) endpoint: url::Url,
    /// `IDENTITY_HEADER`, which proves that we are the app.
    pub(crate) header: Secret,
    /// A user-assigned identity's client id.
    pub(crate) client_id: Option<String>,
}

/// Gives out tokens: one request at a time, renewed while the old one still serves.
pub(crate) struct ManagedIdentity(Arc<Inner>);

struct Inner {
    source: Source,
    http: reqwest::Client,
    cached: Mutex<Cached>,
    /// Held while a token is being fetched.
    flight: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Cached {
    token: Option<AccessToken>,
    failed: Option<Instant>,
}

/// The endpoint's answer. `expires_on` is seconds since 1970, as text.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_on: Seconds,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Text(String),
    Number(i64),
}

impl ManagedIdentity {
    /// An identity; nothing is sent yet.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub(crate) fn new(source: Source) -> reqwest::Result<Self> {
        // The endpoint is the platform's own, on a link-local address: never through a proxy.
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        let cached = Mutex::default();
        Ok(Self(Arc::new(Inner { source, http, cached, flight: Arc::default() })))
    }
}

impl Inner {
    fn cached(&self) -> std::sync::MutexGuard<'_, Cached> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token that lasts longer than `rest`.
    fn lasting(&self, rest: Duration) -> Option<AccessToken> {
        let now = OffsetDateTime::now_utc();
        self.cached().token.clone().filter(|token| token.expires_on - now > rest)
    }

    fn failed_since(&self, then: Instant) -> bool {
        self.cached().failed.is_some_and(|failed| failed >= then)
    }

    async fn fetch(&self, scope: &str) -> Result<AccessToken, Fault> {
        let fetched = self.ask(scope.trim_end_matches("/.default")).await;
        let mut cached = self.cached();
        match &fetched {
            Ok(token) => *cached = Cached { token: Some(token.clone()), failed: None },
            Err(fault) => {
                cached.failed = Some(Instant::now());
                tracing::warn!(evt = "identity.failed", reason = %fault);
            }
        }
        fetched
    }

    async fn ask(&self, resource: &str) -> Result<AccessToken, Fault> {
        let mut url = self.source.endpoint.clone();
        url.query_pairs_mut().append_pair("api-version", "2019-08-01").append_pair("resource", resource);
        if let Some(client_id) = &self.source.client_id {
            url.query_pairs_mut().append_pair("client_id", client_id);
        }
        let request = self.http.get(url).header("x-identity-header", self.source.header.0.as_str());
        let answer = request.send().await.map_err(|error| Fault::of_http(&error))?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(|error| Fault::of_http(&error))?;
        if status != 200 {
            return Err(Fault::Answer { status, code: String::new(), index: None, retry_after: None });
        }
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| Fault::Senseless)?;
        let seconds = match answer.expires_on {
            Seconds::Number(seconds) => Some(seconds),
            Seconds::Text(text) => text.parse().ok(),
        };
        let expires = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        Ok(AccessToken::new(answer.access_token, expires.ok_or(Fault::Senseless)?))
    }

    /// Renews in the background, unless that is going on or has just failed.
    fn renew(self: &Arc<Self>, scope: &str) {
        let rests = self.cached().failed.is_some_and(|failed| failed.elapsed() < REST);
        let Ok(flight) = Arc::clone(&self.flight).try_lock_owned() else { return };
        if rests {
            return;
        }
        let (this, scope) = (Arc::clone(self), scope.to_owned());
        tokio::spawn(async move {
            // Whether it worked shows in the cache.
            let _ = this.fetch(&scope).await;
            drop(flight);
        });
    }
}

#[async_trait]
impl TokenCredential for ManagedIdentity {
    async fn get_token(&self, scopes: &[&str]) -> azure_core::Result<AccessToken> {
        let scope = scopes.first().copied().ok_or(Fault::NoToken)?;
        let inner = &self.0;
        if let Some(token) = inner.lasting(RENEW_BEFORE) {
            return Ok(token);
        }
        if let Some(token) = inner.lasting(UNUSABLE_BEFORE) {
            inner.renew(scope);
            return Ok(token);
        }
        let came = Instant::now();
        let _flight = inner.flight.lock().await;
        // Whoever waited takes what came of it: a dead endpoint costs one time-out, not one each.
        match inner.lasting(UNUSABLE_BEFORE) {
            Some(token) => Ok(token),
            None if inner.failed_since(came) => Err(Fault::NoToken.into()),
            None => Ok(inner.fetch(scope).await?),
        }
    }

    async fn clear_cache(&self) -> azure_core::Result<()> {
        *self.0.cached() = Cached::default();
        Ok(())
    }
}

impl fmt::Debug for ManagedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManagedIdentity").field(&self.0.source).finish()
    }
}

#[cfg(test)]
mod tests;

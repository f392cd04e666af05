//! The issuer's keys: fetched when they are needed, kept while the issuer cannot be reached.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::TokenError;

/// Longest wait for the issuer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer read.
const MAX: usize = 256 * 1024;

/// How often keys are fetched, and how long they count.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Keys of this age are looked at again.
    pub fresh: Duration,
    /// At most one fetch in this time, whatever keys tokens name.
    pub between: Duration,
    /// The same while there are no keys at all.
    pub first: Duration,
    /// Keys count this long when the issuer cannot be reached.
    pub keep: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Self {
            fresh: minutes(60),
            between: minutes(5),
            first: Duration::from_secs(10),
            keep: minutes(24 * 60),
        }
    }
}

#[derive(Default)]
struct Known {
    keys: HashMap<String, DecodingKey>,
    fetched: Option<Instant>,
    asked: Option<Instant>,
}

/// The keys of one issuer.
pub struct IssuerKeys {
    client: reqwest::Client,
    url: Url,
    pace: Pace,
    known: Mutex<Known>,
    fetching: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for IssuerKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuerKeys").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default, rename = "use")]
    purpose: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
}

impl Jwk {
    /// A key that signs with RS256, under its name. Any other is passed over.
    fn signing(self) -> Option<(String, DecodingKey)> {
        let fits = self.kty == "RSA"
            && self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.alg.as_deref().is_none_or(|alg| alg == "RS256");
        let key = DecodingKey::from_rsa_components(&self.n?, &self.e?).ok()?;
        fits.then_some(()).and(self.kid.map(|kid| (kid, key)))
    }
}

impl IssuerKeys {
    /// The keys behind a URL that is configured. Nothing is fetched yet.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(url: Url, pace: Pace) -> Result<Self, reqwest::Error> {
        // No redirects: what is configured is where keys come from.
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { client, url, pace, known: Mutex::default(), fetching: tokio::sync::Mutex::default() })
    }

    /// The key of this name.
    ///
    /// # Errors
    /// [`TokenError::Refused`] when the issuer has no such key, [`TokenError::Unavailable`] when it
    /// cannot be asked and what it once said is too old.
    pub(super) async fn get(&self, kid: &str) -> Result<DecodingKey, TokenError> {
        let (found, due) = self.look(kid);
        if due {
            let turn = match found {
                // Whoever has a key need not wait for the issuer.
                Some(_) => self.fetching.try_lock().ok(),
                None => Some(self.fetching.lock().await),
            };
            if turn.is_some() && self.look(kid).1 {
                self.fetch().await;
            }
        }
        let known = self.lock();
        let alive = known.fetched.is_some_and(|at| at.elapsed() < self.pace.keep);
        match known.keys.get(kid).filter(|_| alive) {
            Some(key) => Ok(key.clone()),
            None if alive => Err(TokenError::Refused("a key that the issuer does not have")),
            None => Err(TokenError::Unavailable),
        }
    }

    /// The key, if it is known, and whether the issuer should be asked now.
    fn look(&self, kid: &str) -> (Option<DecodingKey>, bool) {
        let known = self.lock();
        let found = known.keys.get(kid).cloned();
        let fresh = known.fetched.is_some_and(|at| at.elapsed() < self.pace.fresh);
        let pause = if known.fetched.is_some() { self.pace.between } else { self.pace.first };
        let may = known.asked.is_none_or(|at| at.elapsed() >= pause);
        let wanted = found.is_none() || !fresh;
        (found, wanted && may)
    }

    async fn fetch(&self) {
        self.lock().asked = Some(Instant::now());
        match self.ask().await {
            Ok(keys) => {
                let mut known = self.lock();
                known.keys = keys;
                known.fetched = Some(Instant::now());
            }
            Err(error) => {
                tracing::warn!(evt = "auth.no-keys", error, "the issuer's keys could not be fetched")
            }
        }
    }

    async fn ask(&self) -> Result<HashMap<String, DecodingKey>, String> {
        let plain = |error: reqwest::Error| error.without_url().to_string();
        let mut response = self.client.get(self.url.clone()).send().await.map_err(plain)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(format!("status {}", response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(plain)? {
            if body.len() + chunk.len() > MAX {
                return Err("the answer is too large".to_owned());
            }
            body.extend_from_slice(&chunk);
        }
        let jwks: Jwks = serde_json::from_slice(&body).map_err(|_| "not a set of keys".to_owned())?;
        let keys: HashMap<_, _> = jwks.keys.into_iter().filter_map(Jwk::signing).collect();
        // An empty set would lock everybody out: what was known is better.
        if keys.is_empty() { Err("no key that signs".to_owned()) } else { Ok(keys) }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Never held across an await; a panic elsewhere leaves nothing half-done in it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! An identity provider of one's own, on this machine: it signs tokens and shows its keys.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents},
};
use serde_json::{Value, json};

use crate::domain::timestamp::{Clock, SystemClock};

/// The issuer's own key, and one that somebody else has.
const KEYS: [&[u8]; 2] = [
    include_bytes!("../../tests/fixtures/jwt/issuer.pkcs8.der"),
    include_bytes!("../../tests/fixtures/jwt/other.pkcs8.der"),
];

/// A key that signs.
#[derive(Debug)]
pub struct SigningKey(RsaKeyPair);

impl SigningKey {
    /// The issuer's.
    pub fn issuer() -> Self {
        Self::read(KEYS[0])
    }

    /// Somebody else's.
    pub fn other() -> Self {
        Self::read(KEYS[1])
    }

    fn read(der: &[u8]) -> Self {
        Self(RsaKeyPair::from_pkcs8(der).expect("the fixture is a key"))
    }

    /// The public half, as an issuer shows it.
    pub fn jwk(&self, kid: &str) -> Value {
        let part = |bytes: &[u8]| {
            let first = bytes.iter().position(|byte| *byte != 0).unwrap_or_default();
            URL_SAFE_NO_PAD.encode(&bytes[first..])
        };
        let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(self.0.public());
        let (n, e) = (part(&n), part(&e));
        json!({ "kty": "RSA", "use": "sig", "kid": kid, "n": n, "e": e })
    }

    /// A token with this header and payload.
    pub fn sign(&self, header: &Value, payload: &Value) -> String {
        let signed = unsigned(header, payload);
        let mut signature = vec![0; self.0.public().modulus_len()];
        let random = SystemRandom::new();
        self.0.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).expect("the key signs");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Header and payload of a token, without a signature.
pub fn unsigned(header: &Value, payload: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload.to_string()))
}

#[derive(Debug, Default)]
struct Shown {
    keys: Mutex<Vec<Value>>,
    asked: AtomicUsize,
    down: AtomicBool,
}

/// A running issuer.
#[derive(Debug)]
pub struct Issuer {
    /// Where its keys are.
    pub jwks: String,
    shown: Arc<Shown>,
    serving: tokio::task::JoinHandle<()>,
}

impl Issuer {
    /// `iss` of its tokens.
    pub const ISS: &str = "https://login.example/directory/v2.0";
    /// `aud` of its tokens.
    pub const AUD: &str = "api://annals";
    /// Name of its key.
    pub const KID: &str = "key-1";

    /// Starts one that shows its own key.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start() -> io::Result<Self> {
        let shown = Arc::<Shown>::default();
        let answer = async |State(shown): State<Arc<Shown>>| {
            shown.asked.fetch_add(1, Ordering::SeqCst);
            let keys = shown.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
            match shown.down.load(Ordering::SeqCst) {
                true => Err(StatusCode::SERVICE_UNAVAILABLE),
                false => Ok(Json(json!({ "keys": keys }))),
            }
        };
        let router = Router::new().route("/keys", get(answer)).with_state(Arc::clone(&shown));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let jwks = format!("http://{}/keys", listener.local_addr()?);
        let serving = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        let issuer = Self { jwks, shown, serving };
        issuer.show(vec![SigningKey::issuer().jwk(Self::KID)]);
        Ok(issuer)
    }

    /// Shows other keys from now on.
    pub fn show(&self, keys: Vec<Value>) {
        *self.shown.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Answers 503 from now on, or no longer.
    pub fn set_down(&self, down: bool) {
        self.shown.down.store(down, Ordering::SeqCst);
    }

    /// How often its keys were asked for.
    pub fn asked(&self) -> usize {
        self.shown.asked.load(Ordering::SeqCst)
    }

    /// The header of a good token.
    pub fn header() -> Value {
        json!({ "alg": "RS256", "typ": "JWT", "kid": Self::KID })
    }

    /// The payload of a good token, for an application with these roles.
    pub fn payload(object: &str, roles: &[&str]) -> Value {
        let now = SystemClock.now().unix_nanos() / 1_000_000_000;
        let now = u64::try_from(now).unwrap_or_default();
        json!({
            "iss": Self::ISS, "aud": Self::AUD, "tid": "directory", "oid": object, "sub": "s", "idtyp": "app",
            "iat": now, "nbf": now - 5, "exp": now + 600, "roles": roles,
        })
    }

    /// A good token.
    pub fn token(object: &str, roles: &[&str]) -> String {
        SigningKey::issuer().sign(&Self::header(), &Self::payload(object, roles))
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

//! Bearer tokens: JWTs of an issuer that is configured, never of one that a token names.
//!
//! A token is taken when its algorithm is the one that is pinned, its key is one of the issuer's, its
//! signature holds, its issuer and audience are ours, and now lies in its time. Everything that a
//! token could use to point elsewhere (`jku`, `x5u`, `jwk`) is not read; one with `crit` is refused.

mod crypto;
mod keys;

use std::time::Duration;

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde::Deserialize;

pub use self::keys::{IssuerKeys, Pace};
use super::principal::{Claims, Principal};

/// Largest token read.
const MAX: usize = 16 * 1024;
/// How far our clock and the issuer's may be apart.
const LEEWAY: Duration = Duration::from_secs(60);
/// The one algorithm taken: what Entra ID signs with.
const ALGORITHM: Algorithm = Algorithm::RS256;

/// Why a token is not taken. The reason goes to the log, not to the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not one of ours.
    #[error("the token is refused: {0}")]
    Refused(&'static str),
    /// The issuer's keys are not known now; it may pass.
    #[error("the issuer's keys are not available")]
    Unavailable,
}

#[derive(Debug, Deserialize)]
struct Payload {
    // A single string by the specification: a list of issuers is refused here.
    #[expect(dead_code, reason = "checked by the crate; its form is checked by being read")]
    iss: String,
    #[serde(default)]
    tid: Option<String>,
    #[serde(default)]
    oid: Option<String>,
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    idtyp: Option<String>,
    #[serde(default)]
    scp: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
}

/// Verifies tokens.
#[derive(Debug)]
pub struct Tokens {
    validation: Validation,
    keys: IssuerKeys,
}

impl Tokens {
    /// Takes tokens of these issuers, made for one of these audiences, signed with one of these keys.
    pub fn new(issuers: &[String], audiences: &[String], keys: IssuerKeys) -> Self {
        crypto::install();
        let mut validation = Validation::new(ALGORITHM);
        validation.set_issuer(issuers);
        validation.set_audience(audiences);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY.as_secs();
        Self { validation, keys }
    }

    /// Who the token vouches for.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn verify(&self, token: &str) -> Result<Principal, TokenError> {
        if token.len() > MAX {
            return Err(TokenError::Refused("too long"));
        }
        let header = decode_header(token).map_err(|_| TokenError::Refused("no header that we read"))?;
        if header.alg != ALGORITHM {
            return Err(TokenError::Refused("another algorithm"));
        }
        if header.crit.is_some() {
            return Err(TokenError::Refused("a critical extension"));
        }
        if header
            .typ
            .as_deref()
            .is_some_and(|typ| !["jwt", "at+jwt"].iter().any(|t| typ.eq_ignore_ascii_case(t)))
        {
            return Err(TokenError::Refused("another type"));
        }
        let kid = header.kid.ok_or(TokenError::Refused("no key named"))?;
        let key = self.keys.get(&kid).await?;
        let payload = decode::<Payload>(token, &key, &self.validation)
            .map_err(|error| TokenError::Refused(reason(error.kind())))?
            .claims;
        let claims = Claims {
            directory: payload.tid,
            object: payload.oid,
            subject: payload.sub,
            // A token without a scope was given to an application and not to a person through one.
            is_application: payload.idtyp.as_deref() == Some("app") || payload.scp.is_none(),
            roles: payload.roles,
        };
        claims.principal().ok_or(TokenError::Refused("nobody named"))
    }
}

fn reason(kind: &jsonwebtoken::errors::ErrorKind) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
    match kind {
        ErrorKind::InvalidSignature => "signature",
        ErrorKind::ExpiredSignature => "expired",
        ErrorKind::ImmatureSignature => "not yet valid",
        ErrorKind::InvalidIssuer => "issuer",
        ErrorKind::InvalidAudience => "audience",
        ErrorKind::MissingRequiredClaim(_) => "a claim is missing",
        _ => "not a token that we read",
    }
}

//! API keys: made once, shown once, kept as a hash.
//!
//! A key is `annals_{id}_{secret}`: 16 hexadecimal digits that name it, and 32 random bytes. Of the
//! secret only its SHA-256 is kept: it has 256 bits of entropy, so nothing slower is needed.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    access::{Role, Roles},
    domain::{ids::TenantId, timestamp::Timestamp},
    store::{
        keys,
        rows::{BadRow, json},
        table::{Row, Value},
    },
};

/// What every key begins with, so that a scanner of sources knows one when it sees it.
const PREFIX: &str = "annals_";

/// The name of a key: 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct KeyId(String);

impl KeyId {
    /// A new one.
    pub fn random() -> Self {
        Self(hex::encode(rand::random::<[u8; 8]>()))
    }

    /// Parses 16 hexadecimal digits in lower case.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        fits.then(|| Self(text.to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key as its holder presents it. Never printed, but by [`PresentedKey::reveal`].
#[derive(Clone)]
pub struct PresentedKey {
    /// Its name.
    pub id: KeyId,
    secret: String,
}

impl PresentedKey {
    /// A new secret under this name.
    pub fn random(id: KeyId) -> Self {
        Self { id, secret: URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()) }
    }

    /// Parses what a caller sends.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let fits =
            secret.len() == 43 && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        Some(Self { id: KeyId::parse(id)?, secret: fits.then(|| secret.to_owned())? })
    }

    /// The key as it is shown, once.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, self.secret)
    }

    /// What is kept of it.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.id.as_str())
            .chain_update([0])
            .chain_update(&self.secret)
            .finalize()
            .into()
    }
}

impl fmt::Debug for PresentedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresentedKey({}, ..)", self.id)
    }
}

/// A key as the registry keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its name.
    pub id: KeyId,
    /// The one tenant in which it counts.
    pub tenant: TenantId,
    /// A name for people.
    pub label: String,
    /// What its holder may do there.
    pub roles: Vec<Role>,
    /// SHA-256 of its secret.
    pub hash: [u8; 32],
    /// The secret before the last rotation, and until when it still counts.
    pub previous: Option<([u8; 32], Timestamp)>,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it counts no more.
    pub expires: Option<Timestamp>,
    /// Whether it counts at all.
    pub enabled: bool,
}

impl ApiKey {
    /// Its roles.
    pub fn roles(&self) -> Roles {
        self.roles.iter().copied().collect()
    }

    /// Whether what was presented opens anything now. Takes as long for a wrong secret as for a
    /// right one.
    pub fn opens(&self, presented: &PresentedKey, now: Timestamp) -> bool {
        let hash = presented.hash();
        let current = self.hash.ct_eq(&hash);
        let previous = match &self.previous {
            Some((previous, until)) if now < *until => previous.ct_eq(&hash),
            _ => 0.into(),
        };
        let alive = self.enabled && self.expires.is_none_or(|expires| now < expires);
        bool::from(current | previous) && alive
    }

    pub(super) fn row(&self) -> Row {
        let mut row = Row::new(keys::api_key(self.id.as_str()))
            .with("Id", Value::Str(self.id.to_string()))
            .with("Tenant", Value::Str(self.tenant.to_string()))
            .with("Label", Value::Str(self.label.clone()))
            .with("Roles", Value::Bin(json(&self.roles).into()))
            .with("Hash", Value::Bin(self.hash.to_vec().into()))
            .with("Created", Value::Str(self.created.to_string()))
            .with("Enabled", Value::Bool(self.enabled));
        if let Some((hash, until)) = &self.previous {
            row = row
                .with("PreviousHash", Value::Bin(hash.to_vec().into()))
                .with("PreviousUntil", Value::Str(until.to_string()));
        }
        if let Some(expires) = self.expires {
            row = row.with("Expires", Value::Str(expires.to_string()));
        }
        row
    }

    pub(super) fn read(row: &Row) -> Result<Self, BadRow> {
        let bad = |property| move || BadRow { key: row.key.clone(), property };
        let text = |property: &'static str| row.str(property).ok_or_else(bad(property));
        let time = |property: &'static str| -> Result<Option<Timestamp>, BadRow> {
            row.str(property)
                .map(|text| Timestamp::parse(property, text).map_err(|_| bad(property)()))
                .transpose()
        };
        let hash =
            |property: &'static str| row.bin(property).and_then(|bytes| bytes.as_ref().try_into().ok());
        let roles = row.bin("Roles").and_then(|json| serde_json::from_slice(json).ok());
        Ok(Self {
            id: KeyId::parse(text("Id")?).ok_or_else(bad("Id"))?,
            tenant: TenantId::parse(text("Tenant")?).map_err(|_| bad("Tenant")())?,
            label: text("Label")?.to_owned(),
            roles: roles.ok_or_else(bad("Roles"))?,
            hash: hash("Hash").ok_or_else(bad("Hash"))?,
            previous: hash("PreviousHash").zip(time("PreviousUntil")?),
            created: time("Created")?.ok_or_else(bad("Created"))?,
            expires: time("Expires")?,
            enabled: row.bool("Enabled").ok_or_else(bad("Enabled"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(presented: &PresentedKey) -> ApiKey {
        ApiKey {
            id: presented.id.clone(),
            tenant: TenantId::parse("acme").unwrap(),
            label: "engine".to_owned(),
            roles: vec![Role::Writer],
            hash: presented.hash(),
            previous: None,
            created: at(0),
            expires: Some(at(100)),
            enabled: true,
        }
    }

    fn at(seconds: u32) -> Timestamp {
        Timestamp::parse("t", &format!("2026-01-01T00:{:02}:{:02}Z", seconds / 60, seconds % 60)).unwrap()
    }

    #[test]
    fn a_key_opens_until_it_is_disabled_expired_or_rotated() {
        let presented = PresentedKey::random(KeyId::random());
        let mut key = key(&presented);
        assert!(key.opens(&presented, at(99)) && !key.opens(&presented, at(100)));
        let other = PresentedKey::random(key.id.clone());
        assert!(!key.opens(&other, at(1)), "the secret counts, not the name");
        key.previous = Some((key.hash, at(50)));
        key.hash = other.hash();
        assert!(key.opens(&presented, at(49)) && key.opens(&other, at(49)));
        assert!(!key.opens(&presented, at(50)) && key.opens(&other, at(50)));
        key.enabled = false;
        assert!(!key.opens(&other, at(1)));
    }

    #[test]
    fn a_key_is_read_back_as_it_was_shown_and_never_printed() {
        let presented = PresentedKey::random(KeyId::random());
        let shown = presented.reveal();
        assert_eq!(PresentedKey::parse(&shown).unwrap().hash(), presented.hash());
        assert!(!format!("{presented:?}").contains(&shown[24..]));
        for bad in ["", "annals_", "annals_0_0", &shown[1..], &shown[..shown.len() - 1], &format!("{shown}x")]
        {
            assert!(PresentedKey::parse(bad).is_none(), "{bad}");
        }
        let stored = key(&presented);
        assert_eq!(ApiKey::read(&stored.row()).unwrap(), stored);
        assert!(!format!("{:?}", stored.row()).contains(&shown[24..]));
    }
}

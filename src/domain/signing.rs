//! Keys in the text form of signed notes: `name+hash+base64`, with an id so that keys can be changed.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer, Verifier, VerifyingKey};
use sha2::{Digest, Sha256};

/// Ed25519, as signed notes number it.
const ED25519: u8 = 1;

/// A key that cannot be read. Never says what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an Ed25519 key as signed notes write it: `{0}name+hash+base64`")]
pub struct BadKey(&'static str);

/// What signs.
#[derive(Clone)]
pub struct SigningKey {
    name: String,
    id: [u8; 4],
    key: ed25519_dalek::SigningKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, ..)", self.name)
    }
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.verifier() == other.verifier()
    }
}

impl Eq for SigningKey {}

/// What a signature is checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

fn id(name: &str, public: &[u8; 32]) -> [u8; 4] {
    let digest =
        Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(public).finalize();
    std::array::from_fn(|index| digest[index])
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 128 && name.bytes().all(|b| b.is_ascii_graphic() && b != b'+')
}

/// Splits `name+hash+base64`; the bytes behind the algorithm.
fn parts(text: &str) -> Option<(&str, [u8; 4], [u8; 32])> {
    // Base64 may hold `+` itself.
    let mut parts = text.splitn(3, '+');
    let (name, hash, key) = (parts.next()?, parts.next()?, parts.next()?);
    let mut id = [0; 4];
    hex::decode_to_slice(hash, &mut id).ok()?;
    let bytes = STANDARD.decode(key).ok()?;
    let (algorithm, key) = bytes.split_first()?;
    (is_name(name) && *algorithm == ED25519).then_some((name, id, key.try_into().ok()?))
}

impl SigningKey {
    /// Draws a key.
    ///
    /// # Errors
    /// [`BadKey`] for a name that a note cannot carry.
    pub fn generate(name: &str) -> Result<Self, BadKey> {
        Self::of(name, rand::random()).ok_or(BadKey("PRIVATE+KEY+"))
    }

    fn of(name: &str, seed: [u8; 32]) -> Option<Self> {
        let key = ed25519_dalek::SigningKey::from_bytes(&seed);
        let id = id(name, key.verifying_key().as_bytes());
        is_name(name).then(|| Self { name: name.to_owned(), id, key })
    }

    /// The text form, which is a secret.
    pub fn secret(&self) -> String {
        let bytes = [&[ED25519], self.key.as_bytes().as_slice()].concat();
        format!("PRIVATE+KEY+{}+{}+{}", self.name, hex::encode(self.id), STANDARD.encode(bytes))
    }

    /// What signatures are checked with.
    pub fn verifier(&self) -> VerifierKey {
        VerifierKey { name: self.name.clone(), id: self.id, key: self.key.verifying_key() }
    }

    /// The signature line of a text.
    pub fn sign(&self, text: &str) -> String {
        let signature = self.key.sign(text.as_bytes()).to_bytes();
        let bytes = [self.id.as_slice(), &signature].concat();
        format!("\u{2014} {} {}\n", self.name, STANDARD.encode(bytes))
    }
}

impl FromStr for SigningKey {
    type Err = BadKey;
    fn from_str(text: &str) -> Result<Self, BadKey> {
        let bad = BadKey("PRIVATE+KEY+");
        let (name, id, seed) = text.trim().strip_prefix("PRIVATE+KEY+").and_then(parts).ok_or(bad)?;
        Self::of(name, seed).filter(|key| key.id == id).ok_or(bad)
    }
}

impl VerifierKey {
    /// Whether a signature line is this key's signature of a text.
    pub fn signed(&self, text: &str, line: &str) -> bool {
        let check = || {
            let (name, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
            let bytes = STANDARD.decode(encoded).ok()?;
            let (id, signature) = bytes.split_at_checked(4)?;
            let signature = Signature::from_slice(signature).ok()?;
            let ours = name == self.name && id == self.id;
            (ours && self.key.verify(text.as_bytes(), &signature).is_ok()).then_some(())
        };
        check().is_some()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[ED25519], self.key.as_bytes().as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id), STANDARD.encode(bytes))
    }
}

impl FromStr for VerifierKey {
    type Err = BadKey;
    fn from_str(text: &str) -> Result<Self, BadKey> {
        let bad = BadKey("");
        let (name, given, public) = parts(text.trim()).ok_or(bad)?;
        let key = VerifyingKey::from_bytes(&public).map_err(|_| bad)?;
        let id = id(name, &public);
        if id == given { Ok(Self { name: name.to_owned(), id, key }) } else { Err(bad) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_specifications_example_is_read_and_checks_its_note() {
        // The example of golang.org/x/mod/sumdb/note, from which the format comes.
        let secret = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
        let public = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let key: SigningKey = secret.parse().unwrap();
        assert_eq!((key.secret(), key.verifier().to_string()), (secret.to_owned(), public.to_owned()));
        let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let line = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
        assert!(key.verifier().signed(text, line));
        assert_eq!(key.sign(text), format!("{line}\n"));
        assert!(!key.verifier().signed("another text\n", line));
    }

    #[test]
    fn a_key_survives_its_text_form_and_a_broken_one_is_refused() {
        let key = SigningKey::generate("annals.example/prod").unwrap();
        assert_eq!(key.secret().parse(), Ok(key.clone()));
        assert_eq!(key.verifier().to_string().parse(), Ok(key.verifier()));
        assert!(SigningKey::generate("a b").is_err());
        for broken in ["", "PRIVATE+KEY+a+00000000+AA==", &key.secret().replace("prod", "test")] {
            assert!(broken.parse::<SigningKey>().is_err());
        }
    }
}

//! What makes tampering show: the salted digest of an event's row, and the chain of commits.
//!
//! Both are taken over the **exact stored bytes**. Nothing is re-serialised to check them, so
//! any language can, with SHA-256, HMAC and `docs/INTEGRITY.md`, which says this in full:
//!
//! - `field(x)` = length of `x` in bytes as 8 bytes big-endian, then `x`.
//! - Event digest = HMAC-SHA-256 under the row's `Salt` of `field("annals-event-1")`,
//!   `field(partition)`, `field(row key)`, then for each property but `Salt` and `Digest`, in
//!   ascending order of names: `field(name)`, a type byte (`s` text, `i` number, `b` binary,
//!   `t` truth value), `field(value)`; numbers in decimal, truth values as `true` or `false`.
//! - Commit digest = SHA-256 of `field("annals-commit-1")`, `field(previous digest)`,
//!   `field(partition)`, `field(first sequence)`, `field(last sequence)` (decimal),
//!   `field(recorded time)` (as stored), `field(attempt)` and `field(essentials)` (the joined
//!   stored bytes).
//! - Row digest (of a stream's row, in the essentials of each event that changed it) = the first 16
//!   bytes of SHA-256 of `field("annals-row-1")`, `field(partition)`, `field(row key)` and all
//!   properties, written as in an event digest.
//! - The digest before the first commit = SHA-256 of `field("annals-genesis-1")`,
//!   `field(table name)`, `field(partition)`: a log moved to another tenant does not verify.

use std::borrow::Cow;

use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};

use super::table::{Row, TableName, Value};
use crate::domain::position::PartitionId;

/// A SHA-256 or HMAC-SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Takes 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The random key under which one event is digested. Blanked at erasure: from then on nobody
/// can test a guess at what the event said.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 32]);

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt(..)")
    }
}

/// Takes fields one by one; SHA-256 and HMAC alike.
trait Fields {
    fn bytes(&mut self, bytes: &[u8]);

    fn field(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes(&(bytes.len() as u64).to_be_bytes());
        self.bytes(bytes);
        self
    }
}

impl Fields for Sha256 {
    fn bytes(&mut self, bytes: &[u8]) {
        sha2::Digest::update(self, bytes);
    }
}

impl Fields for Hmac<Sha256> {
    fn bytes(&mut self, bytes: &[u8]) {
        Mac::update(self, bytes);
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // HMAC takes a key of any length: `new_from_slice` has no failing case for it.
    <Hmac<Sha256> as Mac>::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes any key"))
}

/// HMAC-SHA-256 of `message` under `key`.
pub fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = keyed(key);
    Mac::update(&mut mac, message);
    mac.finalize().into_bytes().into()
}

/// The salted digest of an event's row, as it is stored (see the module's text).
pub fn event(partition: PartitionId, row: &Row, salt: &Salt) -> Digest {
    let properties = row.properties.iter().filter(|(n, _)| n != "Salt" && n != "Digest");
    let mut mac = keyed(&salt.0);
    mac.field(b"annals-event-1").field(partition.to_string().as_bytes()).field(row.key.as_bytes());
    add_properties(&mut mac, properties.collect());
    Digest(mac.finalize().into_bytes().into())
}

/// The digest of any row with all its properties, as 32 hexadecimal digits: what an event's
/// essentials say of its stream's row, which holds no personal data and so needs no salt.
pub fn row(partition: PartitionId, row: &Row) -> String {
    let mut hash = Sha256::new();
    hash.field(b"annals-row-1").field(partition.to_string().as_bytes()).field(row.key.as_bytes());
    add_properties(&mut hash, row.properties.iter().collect());
    hexadecimal(&hash.finalize()[..16])
}

/// Digits in lower case: `hex::encode`, by way of its slice, which takes a quarter of the time.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let mut digits = vec![0; 2 * bytes.len()];
    // It fails where the room is not twice the bytes.
    hex::encode_to_slice(bytes, &mut digits).expect("the room is right");
    String::from_utf8(digits).expect("digits are ASCII")
}

fn add_properties(mac: &mut impl Fields, mut properties: Vec<&(Cow<'static, str>, Value)>) {
    properties.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, value) in properties {
        mac.field(name.as_bytes());
        let (kind, bytes) = match value {
            Value::Str(text) => (b"s", Cow::Borrowed(text.as_bytes())),
            Value::Int(number) => (b"i", Cow::Owned(number.to_string().into_bytes())),
            Value::Bin(bytes) => (b"b", Cow::Borrowed(bytes.as_ref())),
            Value::Bool(truth) => (b"t", Cow::Owned(truth.to_string().into_bytes())),
        };
        mac.bytes(kind);
        mac.field(&bytes);
    }
}

/// What the digest of a commit covers.
#[derive(Debug, Clone, Copy)]
pub struct CommitFields<'a> {
    /// The digest of the commit before.
    pub previous: Digest,
    /// The partition.
    pub partition: PartitionId,
    /// Sequence of its first event.
    pub first: u64,
    /// Sequence of its last event.
    pub last: u64,
    /// Recorded time, as stored.
    pub recorded: &'a str,
    /// Which attempt of which process wrote it.
    pub attempt: &'a str,
    /// The essentials of its events, as stored.
    pub essentials: &'a [u8],
}

/// The digest of a commit (see the module's text).
pub fn commit(fields: CommitFields<'_>) -> Digest {
    let mut hash = Sha256::new();
    hash.field(b"annals-commit-1")
        .field(&fields.previous.0)
        .field(fields.partition.to_string().as_bytes())
        .field(fields.first.to_string().as_bytes())
        .field(fields.last.to_string().as_bytes())
        .field(fields.recorded.as_bytes())
        .field(fields.attempt.as_bytes())
        .field(fields.essentials);
    Digest(hash.finalize().into())
}

/// The digest that stands before the first commit of a partition.
pub fn genesis(table: &TableName, partition: PartitionId) -> Digest {
    let mut hash = Sha256::new();
    hash.field(b"annals-genesis-1").field(table.as_str().as_bytes()).field(partition.to_string().as_bytes());
    Digest(hash.finalize().into())
}

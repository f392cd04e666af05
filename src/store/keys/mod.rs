//! Every PartitionKey and RowKey of the product is built here, and nowhere else.
//!
//! A key is made of parts joined by `|`. Each part is written in `[A-Za-z0-9._-]`; any other byte
//! of its UTF-8 becomes `~` and two hexadecimal digits, so no id can reach out of its part, into
//! another row, or into a filter expression. A part that would come out longer than
//! [`MAX_PART`] becomes `~~` and the SHA-256 of the id in hexadecimal: no id encodes to that, since
//! `~` is otherwise followed by a digit. Keys are never parsed back into ids: rows carry the
//! originals as properties.
//!
//! `tests/golden/keys.txt` holds one key of every kind; lines may be added, never changed.

mod partition;

use std::fmt::{self, Write};

use sha2::{Digest, Sha256};

pub use self::partition::{partition_of_identity, partition_of_stream};
use super::{digest::hexadecimal, table::Range};
use crate::domain::{
    ATTENTION,
    ids::{CorrelationId, Identity, StreamName, TenantId},
    timestamp::Timestamp,
};

/// Longest part of a key. Three of them and the markup stay under the 512 characters
/// that design section 4 allows a row key.
pub const MAX_PART: usize = 160;

/// The row that every commit of a partition updates under its ETag. Sorts behind every commit.
pub const HEAD: &str = "c|head";

/// Partition of the dead letters.
pub const DEAD: &str = "dead";

/// Partition of what readers leave with us: consumers' places, replays of the feed.
pub const READERS: &str = "readers";

/// `format!` with room for a key of usual ids: every commit writes some hundred keys.
macro_rules! key {
    ($($text:tt)+) => {{
        let mut key = String::with_capacity(80);
        // Writing to a String never fails.
        let _ = write!(key, $($text)+);
        key
    }};
}

/// An id as a part of a key.
struct Part<'a>(&'a str);

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.0;
        let strange = id.bytes().filter(|byte| !is_plain(*byte)).count();
        if id.len() + 2 * strange > MAX_PART {
            return write!(f, "~~{}", hex::encode(Sha256::digest(id)));
        }
        if strange == 0 {
            return f.write_str(id);
        }
        for byte in id.bytes() {
            if is_plain(byte) { f.write_char(char::from(byte))? } else { write!(f, "~{byte:02X}")? }
        }
        Ok(())
    }
}

/// Everything whose key starts with `prefix`.
fn starting_with(prefix: String) -> Range {
    // `}` is the character behind `|`, with which every prefix ends.
    let mut to = prefix.clone();
    to.pop();
    to.push('}');
    Range { from: prefix, to }
}

/// `c|{last sequence}`: a commit.
pub fn commit(last: u64) -> String {
    key!("c|{last:020}")
}

/// All commits that end at `sequence` or later, and the head behind them.
pub fn commits_from(sequence: u64) -> Range {
    Range { from: commit(sequence), to: format!("{HEAD}~") }
}

/// The commits that end from `from` up to and including `to`.
pub fn commits_between(from: u64, to: u64) -> Range {
    // `~` sorts behind the digits, and the head behind every commit.
    Range { from: commit(from), to: format!("{}~", commit(to)) }
}

/// The highest version that a key can hold.
pub const LAST_VERSION: u64 = 999_999_999_999;

/// `e|{category}|{id}|{version}`: an event in full.
pub fn event(stream: &StreamName, version: u64) -> String {
    key!("e|{}|{version:012}", StreamKey(stream))
}

/// The events of a stream from version `from` up to and including `to`.
pub fn events_between(stream: &StreamName, from: u64, to: u64) -> Range {
    // `~` sorts behind the digits, so the range includes `to` itself and nothing longer.
    Range { from: event(stream, from), to: format!("{}~", event(stream, to)) }
}

/// A stream as two parts.
struct StreamKey<'a>(&'a StreamName);

impl fmt::Display for StreamKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{}", Part(self.0.category.as_str()), Part(self.0.id.as_str()))
    }
}

/// An identity as two parts.
struct IdentityKey<'a>(&'a Identity);

impl fmt::Display for IdentityKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = Sha256::digest(self.0.source.as_str());
        write!(f, "{}|{}", Part(self.0.id.as_str()), hexadecimal(&source[..8]))
    }
}

/// `i|{event id}|{16 hex of SHA-256(source)}`: where an event is stored.
pub fn identity(identity: &Identity) -> String {
    key!("i|{}", IdentityKey(identity))
}

/// Every event with this id, whatever its source.
pub fn identities_of(id: &str) -> Range {
    starting_with(format!("i|{}|", Part(id)))
}

/// `s|{category}|{id}`: a stream.
pub fn stream(stream: &StreamName) -> String {
    key!("s|{}", StreamKey(stream))
}

/// All streams, or those of one category.
pub fn streams(category: Option<&str>) -> Range {
    starting_with(category.map_or_else(|| "s|".to_owned(), |c| format!("s|{}|", Part(c))))
}

/// `a|{category}|{status}|{id}`: a stream whose status wants attention.
pub fn attention(stream: &StreamName, status: &str) -> String {
    key!("a|{}|{}|{}", Part(stream.category.as_str()), Part(status), Part(stream.id.as_str()))
}

/// All streams of a category that have a status which wants attention.
pub fn attentions(category: &str, status: &str) -> Range {
    starting_with(format!("a|{}|{}|", Part(category), Part(status)))
}

/// `t|{due time}|{category}|{id}`: a stream that falls due, in microseconds since 1970.
pub fn due(stream: &StreamName, at: Timestamp) -> String {
    format!("t|{:020}|{}", at.unix_micros(), StreamKey(stream))
}

/// Everything that falls due up to and including `now`.
pub fn due_until(now: Timestamp) -> Range {
    // `}` is the character behind `|`.
    Range { from: "t|".to_owned(), to: format!("t|{:020}}}", now.unix_micros()) }
}

/// All rows of streams that want attention, whatever for.
pub fn all_attentions() -> Range {
    starting_with("a|".to_owned())
}

/// What the stream behind such a row wants attention for. Statuses of that list are written as they
/// are, so this one part of a key can be read back.
pub fn attention_status(key: &str) -> Option<&'static str> {
    let written = key.split('|').nth(2)?;
    ATTENTION.into_iter().find(|status| *status == written)
}

/// `x|{correlation id}|{sequence}`: a link from a correlation id to an event.
pub fn correlation(correlation: &CorrelationId, sequence: u64) -> String {
    key!("x|{}|{sequence:020}", Part(correlation.as_str()))
}

/// Every link from this correlation id, from `sequence` on.
pub fn correlations_from(correlation: &CorrelationId, sequence: u64) -> Range {
    let all = starting_with(format!("x|{}|", Part(correlation.as_str())));
    Range { from: self::correlation(correlation, sequence), to: all.to }
}

/// `u|{keyed hash of a data subject}|{sequence}`: a link to an event that is about that person.
pub fn subject(subject: &str, sequence: u64) -> String {
    format!("u|{}|{sequence:020}", Part(subject))
}

/// Every event that is about a data subject and not erased.
pub fn subjects(subject: &str) -> Range {
    starting_with(format!("u|{}|", Part(subject)))
}

/// `n|{name}`: a consumer's place.
pub fn consumer(name: &str) -> String {
    format!("n|{}", Part(name))
}

/// All consumers.
pub fn consumers() -> Range {
    starting_with("n|".to_owned())
}

/// `r|{id}`: a replay of the change feed.
pub fn replay(id: &str) -> String {
    format!("r|{}", Part(id))
}

/// `f|{last sequence}`: a commit that still has to be handed to the publish queue.
pub fn debt(last: u64) -> String {
    format!("f|{last:020}")
}

/// All feed debt of a partition.
pub fn debts() -> Range {
    starting_with("f|".to_owned())
}

/// Row key of a tenant in the registry.
pub fn tenant(tenant: &TenantId) -> String {
    format!("t|{}", Part(tenant.as_str()))
}

/// All tenants of the registry.
pub fn tenants() -> Range {
    starting_with("t|".to_owned())
}

/// Row key of an API key in the registry.
pub fn api_key(id: &str) -> String {
    format!("k|{}", Part(id))
}

/// All API keys of the registry.
pub fn api_keys() -> Range {
    starting_with("k|".to_owned())
}

/// Row key of what a principal may do in a tenant.
pub fn grant(tenant: &TenantId, principal: &str) -> String {
    format!("g|{}|{}", Part(tenant.as_str()), Part(principal))
}

/// All grants of a tenant.
pub fn grants(tenant: &TenantId) -> Range {
    starting_with(format!("g|{}|", Part(tenant.as_str())))
}

/// `d|{hash}`: a dead letter.
pub fn dead_letter(hash: &[u8; 32]) -> String {
    format!("d|{}", hex::encode(hash))
}

/// `b|{hash}|{part}`: more of the body of a dead letter that one row cannot hold.
pub fn dead_letter_body(hash: &[u8; 32], part: usize) -> String {
    format!("b|{}|{part:02}", hex::encode(hash))
}

/// Everything of one dead letter's body that lies outside of its own row.
pub fn dead_letter_bodies(hash: &[u8; 32]) -> Range {
    starting_with(format!("b|{}|", hex::encode(hash)))
}

/// All dead letters.
pub fn dead_letters() -> Range {
    starting_with("d|".to_owned())
}

/// Name of a tenant's table: `annals` and 32 hexadecimal digits of SHA-256 over the tenant's id
/// and its incarnation, which is random, so that a tenant removed and added again is another one.
pub fn table_name(tenant: &TenantId, incarnation: &str) -> String {
    let digest =
        Sha256::new().chain_update(tenant.as_str()).chain_update([0]).chain_update(incarnation).finalize();
    format!("annals{}", hex::encode(&digest[..16]))
}

#[cfg(test)]
mod tests;

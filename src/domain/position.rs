//! Where an event stands in a tenant's log.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One ordered log of a tenant, `p00` to `p63`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PartitionId(u8);

impl PartitionId {
    /// Most partitions of a tenant.
    pub const MAX: u8 = 64;

    /// The partition with this number, below [`Self::MAX`].
    pub fn new(number: u8) -> Option<Self> {
        (number < Self::MAX).then_some(Self(number))
    }

    /// The first `count` partitions, at most [`Self::MAX`].
    pub fn first(count: u8) -> impl Iterator<Item = Self> + Clone {
        (0..count.min(Self::MAX)).map(Self)
    }

    /// Parses `p00` to `p63`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits =
            text.strip_prefix('p').filter(|d| d.len() == 2 && d.bytes().all(|b| b.is_ascii_digit()))?;
        digits.parse().ok().and_then(Self::new)
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{:02}", self.0)
    }
}

impl TryFrom<String> for PartitionId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a partition is written p00 to p63")
    }
}

impl From<PartitionId> for String {
    fn from(id: PartitionId) -> Self {
        id.to_string()
    }
}

/// The place of an event in its tenant: a partition, and a sequence that counts 1, 2, 3… in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// The partition.
    pub partition: PartitionId,
    /// The place in it.
    pub sequence: u64,
}

impl fmt::Display for Position {
    /// `p00-17`: the id of the event on the change feed, the same at every publish.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.partition, self.sequence)
    }
}

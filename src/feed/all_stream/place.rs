//! Where a reader stands: a place in each partition, with what proves that it is still there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{domain::position::PartitionId, store::digest::Digest};

/// The first bytes of a commit's digest: enough to tell one history from another.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mark([u8; 6]);

impl Mark {
    /// The mark of a digest.
    pub fn of(digest: &Digest) -> Self {
        Self(std::array::from_fn(|index| digest.0[index]))
    }
}

impl std::fmt::Debug for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl From<Mark> for String {
    fn from(mark: Mark) -> Self {
        hex::encode(mark.0)
    }
}

impl TryFrom<String> for Mark {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut mark = [0; 6];
        hex::decode_to_slice(text, &mut mark).map_err(|_| "a mark is 12 hexadecimal digits")?;
        Ok(Self(mark))
    }
}

/// A place in a partition: behind this event (or, newest first, before it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Place {
    /// The event; 0 is the beginning.
    #[serde(rename = "s")]
    pub sequence: u64,
    /// The mark of the commit that holds it, where that was seen.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
}

/// A place in every partition; where none is given, the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Places(BTreeMap<PartitionId, Place>);

impl Places {
    /// The place in a partition.
    pub fn get(&self, partition: PartitionId) -> Place {
        self.0.get(&partition).copied().unwrap_or_default()
    }

    /// The place in a partition, if one was set.
    pub fn given(&self, partition: PartitionId) -> Option<Place> {
        self.0.get(&partition).copied()
    }

    /// Sets the place in a partition.
    pub fn set(&mut self, partition: PartitionId, place: Place) {
        self.0.insert(partition, place);
    }

    /// All places that were set.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionId, Place)> + '_ {
        self.0.iter().map(|(partition, place)| (*partition, *place))
    }

    /// Whether every place here lies at or behind its place in `other`.
    pub fn is_at_least(&self, other: &Self) -> bool {
        other.iter().all(|(partition, place)| self.get(partition).sequence >= place.sequence)
    }
}

//! What verification found.

use serde::{Deserialize, Serialize};

use crate::domain::{position::PartitionId, timestamp::Timestamp};

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The partition.
    pub partition: PartitionId,
    /// The row, by its key.
    pub row: String,
    /// What must be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// What was found in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckedPartition {
    /// The partition.
    pub partition: PartitionId,
    /// Commits whose digests were recomputed.
    pub commits: u64,
    /// Events in them.
    pub events: u64,
    /// Erasures among those.
    pub erasures: u64,
    /// Up to which sequence.
    pub sequence: u64,
    /// The digest there, in hexadecimal.
    pub digest: String,
    /// When that was recorded.
    pub recorded_time: Timestamp,
    /// Rows beside the commits that were compared.
    pub rows: u64,
    /// What was compared: the kinds of rows.
    pub checked: Vec<String>,
}

/// The result of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What was checked.
    pub partitions: Vec<CheckedPartition>,
    /// What is wrong, first things first; empty: nothing.
    pub differences: Vec<Difference>,
    /// How much was wrong in what [`State::hand_over`](super::State::hand_over) gave before.
    #[serde(default, skip_serializing_if = "nothing")]
    pub earlier: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn nothing(count: &usize) -> bool {
    *count == 0
}

impl Report {
    /// Whether everything is as it must be.
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty() && self.earlier == 0
    }
}

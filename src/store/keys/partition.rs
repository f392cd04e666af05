//! Which partition a key falls into.

use std::fmt;

use sha2::{Digest, Sha256};

use super::{IdentityKey, StreamKey};
use crate::domain::{
    ids::{Identity, StreamName},
    position::PartitionId,
};

/// The partition of a stream, among `partitions`: jump consistent hash of the stream's key.
pub fn partition_of_stream(stream: &StreamName, partitions: u8) -> PartitionId {
    partition_of_key(&StreamKey(stream), partitions)
}

/// The partition of an event by its identity: what spreads a tenant's audit stream.
pub fn partition_of_identity(identity: &Identity, partitions: u8) -> PartitionId {
    partition_of_key(&IdentityKey(identity), partitions)
}

fn partition_of_key(written: &impl fmt::Display, partitions: u8) -> PartitionId {
    // Where there is one, there is nothing to find out.
    let number = if partitions <= 1 {
        0
    } else {
        let digest = Sha256::digest(written.to_string());
        let seed = digest.iter().take(8).fold(0_u64, |acc, byte| acc << 8 | u64::from(*byte));
        jump_hash(seed, partitions.min(PartitionId::MAX))
    };
    PartitionId::new(number).unwrap_or_else(|| unreachable!("jump hash stays below the number of buckets"))
}

/// Jump consistent hash (Lamping and Veach, 2014): which of `buckets` a key falls into.
pub(super) fn jump_hash(mut key: u64, buckets: u8) -> u8 {
    let (mut bucket, mut next) = (0_i64, 0_i64);
    while next < i64::from(buckets) {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        #[expect(clippy::cast_precision_loss, reason = "the algorithm is defined on doubles")]
        let step = (1_i64 << 31) as f64 / ((key >> 33) + 1) as f64;
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "as published")]
        {
            next = ((bucket + 1) as f64 * step) as i64;
        }
    }
    u8::try_from(bucket).unwrap_or_default()
}

//! How much one tenant may ask of one instance.

use std::num::NonZeroU32;

use super::{ConfigError, Lookup, value};

/// HTTP requests a second, for each tenant on each instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Writes.
    pub writes: NonZeroU32,
    /// Reads.
    pub reads: NonZeroU32,
}

impl Limits {
    pub(super) fn read(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        let rate = |name: &'static str| match value(lookup, name) {
            None => Ok(NonZeroU32::new(1_000).unwrap_or(NonZeroU32::MIN)),
            Some(text) => text
                .trim()
                .parse()
                .map_err(|_| ConfigError::new(name, "must be a number of requests a second, from 1 on")),
        };
        Ok(Self { writes: rate("ANNALS_WRITES_PER_SECOND")?, reads: rate("ANNALS_READS_PER_SECOND")? })
    }
}

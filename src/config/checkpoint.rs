//! What checkpoints are signed with, and where else they are kept.

use url::Url;

use super::{ConfigError, Lookup, url, value};
use crate::domain::signing::SigningKey;

/// Settings of checkpoints.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct CheckpointSettings {
    /// The key; without one nothing is signed.
    pub key: Option<SigningKey>,
    /// A blob container, with a shared access signature or for the app's managed identity.
    pub container: Option<Url>,
}

impl std::fmt::Debug for CheckpointSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckpointSettings").field("key", &self.key).finish_non_exhaustive()
    }
}

impl CheckpointSettings {
    pub(super) fn read(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        const KEY: &str = "ANNALS_CHECKPOINT_KEY";
        let key = match value(lookup, KEY) {
            None => None,
            // What the platform leaves of a reference that it could not follow.
            Some(text) if text.starts_with("@Microsoft.KeyVault(") => {
                return Err(ConfigError::new(KEY, "refers to a vault that the app cannot read"));
            }
            Some(text) => Some(text.parse().map_err(|error| ConfigError::new(KEY, format!("{error}")))?),
        };
        Ok(Self { key, container: url(lookup, "ANNALS_CHECKPOINT_CONTAINER")? })
    }
}

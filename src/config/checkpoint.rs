//! What checkpoints are signed with, and where else they are kept.

use url::Url;

use super::{ConfigError, Lookup, url, value};
use crate::domain::signing::SigningKey;

/// Why there is no key. Neither stops anything but checkpoints: what a vault that is down may cost is
/// the proof of an hour, not the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, thiserror::Error)]
pub enum NoKey {
    /// Nobody named one.
    #[default]
    #[error("ANNALS_CHECKPOINT_KEY is not set")]
    NotSet,
    /// The setting still holds the reference to a vault.
    #[error("ANNALS_CHECKPOINT_KEY refers to a vault that the app could not read when it started")]
    Unread,
}

/// Settings of checkpoints.
#[derive(Clone, PartialEq, Eq)]
pub struct CheckpointSettings {
    /// The key; without one nothing is signed.
    pub key: Result<SigningKey, NoKey>,
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
            None => Err(NoKey::NotSet),
            // What the platform leaves of a reference that it could not follow.
            Some(text) if text.starts_with("@Microsoft.KeyVault(") => Err(NoKey::Unread),
            Some(text) => Ok(text.parse().map_err(|error| ConfigError::new(KEY, format!("{error}")))?),
        };
        Ok(Self { key, container: url(lookup, "ANNALS_CHECKPOINT_CONTAINER")? })
    }
}

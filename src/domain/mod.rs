//! The domain: ids, events and what they mean. Pure.
//!
//! Imports std, `serde`, `time`, `bytes`, `sha2`, `base64` and `thiserror`, and nothing else: no
//! Azure, no axum, no clock but the [`timestamp::Clock`] it is handed. `tests/it/architecture.rs`
//! keeps it so.

pub mod event;
pub mod ids;
pub mod timestamp;

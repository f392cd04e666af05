//! The domain: ids, events and what they mean. Pure.
//!
//! Imports std, `serde`, `time`, `bytes`, `sha2`, `base64` and `thiserror`, and nothing else: no
//! Azure, no axum, no clock but the [`timestamp::Clock`] it is handed. `tests/it/architecture.rs`
//! keeps it so.

pub mod essentials;
pub mod event;
pub mod ids;
pub mod position;
pub mod timestamp;

/// Statuses that put a stream on the list of those which want an operator's attention.
pub const ATTENTION: [&str; 3] = ["faulted", "in-doubt", "pending-approval"];

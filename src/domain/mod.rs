//! The domain: ids, events and what they mean. Pure.
//!
//! Imports std, `serde`, `serde_json`, `time`, `bytes`, `sha2`, `base64`, `percent-encoding` and
//! `thiserror`, and nothing else: no Azure, no axum, no clock but the [`timestamp::Clock`] it is
//! handed. `tests/it/architecture.rs` keeps it so.
//!
//! An event comes in through [`message`] (a document) or [`cloud_event`] (binary mode), gets its
//! meaning in [`classify`](mod@classify) with the types of [`known`], and its content digest in [`canonical`].

pub mod canonical;
pub mod classify;
pub mod cloud_event;
pub mod command;
pub mod erasure;
pub mod essentials;
pub mod event;
pub mod ids;
pub(crate) mod json;
pub mod known;
pub mod marain;
pub mod message;
pub mod own;
pub mod position;
pub mod redaction;
pub mod signing;
pub mod timestamp;

/// Status of an instance that has failed.
pub const FAULTED: &str = "faulted";
/// Status of a command of which nobody knows what became.
pub const IN_DOUBT: &str = "in-doubt";
/// Status of a command that waits for approvals.
pub const PENDING_APPROVAL: &str = "pending-approval";
/// Statuses that put a stream on the list of those which want an operator's attention.
pub const ATTENTION: [&str; 3] = [FAULTED, IN_DOUBT, PENDING_APPROVAL];

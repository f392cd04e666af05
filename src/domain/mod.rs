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
pub mod erasure;
pub mod essentials;
pub mod event;
pub mod ids;
mod json;
pub mod known;
pub mod marain;
pub mod message;
pub mod own;
pub mod position;
pub mod redaction;
pub mod timestamp;

/// Statuses that put a stream on the list of those which want an operator's attention.
pub const ATTENTION: [&str; 3] = ["faulted", "in-doubt", "pending-approval"];

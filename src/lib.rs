//! Annals: a per-tenant audit log, event history and change feed behind the Azure Functions host.
//!
//! Dependencies point one way: `main`, `cli`, `dev` → [`http`](self), [`host`] → [`store`], [`feed`] →
//! [`domain`]. `docs/ARCHITECTURE.md` walks through a message coming in, a history being read, and
//! a duplicate arriving; `tests/it/architecture.rs` keeps the arrows pointing that way.

pub mod access;
pub mod cli;
pub mod config;
pub mod dev;
pub mod domain;
pub mod feed;
pub mod host;
mod http;
pub mod journal;
pub mod links;
pub mod onboarding;
pub mod queue;
pub mod store;
pub mod telemetry;
#[cfg(feature = "test-util")]
pub mod testing;

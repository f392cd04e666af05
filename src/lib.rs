//! Annals: a per-tenant audit log, event history and change feed behind the Azure Functions host.

pub mod domain;
pub mod queue;
pub mod store;
pub mod telemetry;

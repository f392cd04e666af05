//! One test binary for everything that needs more than one module.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod access;
mod appends;
mod azure_faults;
mod conformance_azurite;
mod conformance_embedded;
mod dead_letters;
mod dead_storage;
mod faults;
mod forged;
mod history;
mod hostile;
mod loads;
mod publishing;
mod settings;
mod support;

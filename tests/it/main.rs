//! One test binary for everything that needs more than one module.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod access;
mod azure_faults;
mod conformance_azurite;
mod conformance_embedded;
mod handler;
mod proof;
mod racing;
mod support;
mod tampering;

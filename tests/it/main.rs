//! One test binary for everything that needs more than one module.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod access;
mod architecture;
mod azure_faults;
mod commands;
mod conformance_azurite;
mod conformance_embedded;
mod dev;
mod dev_host;
mod erasing;
mod function_definitions;
mod handler;
mod host_contract;
mod infra;
mod legacy_api;
mod proof;
mod racing;
mod support;
mod tampering;
mod tenancy;
mod tokens;

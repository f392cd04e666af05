//! One test binary for everything that needs more than one module.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod access;
mod appends;
mod architecture;
mod attacks;
mod azure_faults;
mod canary;
mod checkpoints;
mod commands;
mod commands_by_key;
mod conformance_azurite;
mod conformance_embedded;
mod dead_letters;
mod dead_storage;
mod dev;
mod dev_host;
mod erasing;
mod erasing_many;
mod exporting;
mod fairness;
mod faults;
mod forged;
mod function_definitions;
mod history;
mod host_contract;
mod hostile;
mod infra;
mod legacy_api;
mod loads;
mod paging;
mod proof;
mod publishing;
mod racing;
mod replaying;
mod settings;
mod stopping;
mod support;
mod tampering;
mod tenancy;
mod tokens;
mod waiting;

//! One test binary for everything that needs more than one module.

mod azure_faults;
mod conformance_azurite;
mod conformance_embedded;
mod handler;
mod support;

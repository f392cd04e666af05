//! The integration tests, one binary: it links once.

mod azure_faults;
mod conformance_azurite;
mod conformance_embedded;

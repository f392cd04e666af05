//! The integration tests, one binary: it links once.

mod conformance_embedded;

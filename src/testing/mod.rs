//! Azurite and a proxy that misbehaves, for this crate's own tests and benchmarks.
//!
//! Behind the feature `test-util`; no promise is made to anybody else that it stays as it is.

pub mod azurite;
pub mod issuer;
pub mod proxy;

//! Azurite, a proxy that misbehaves and a secret that must not be found, for this crate's own tests and benchmarks.
//!
//! Behind the feature `test-util`; no promise is made to anybody else that it stays as it is.

pub mod azurite;
pub mod canary;
pub mod issuer;
pub mod proxy;

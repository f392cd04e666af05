//! What drivers of the [`Table`](crate::store::table::Table) port are tested with.
//!
//! Behind the feature `test-util`, for this crate's own tests and benchmarks; no promise is made
//! to anybody else that it stays as it is.

pub mod conformance;
pub mod grudging;
mod layer;

pub use layer::Layer;

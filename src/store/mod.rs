//! The store: per-tenant logs on a table service.

pub mod append;
pub mod digest;
pub mod keys;
pub mod rows;
pub mod table;

//! The store: per-tenant logs on a table service.

pub mod table;

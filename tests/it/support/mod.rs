//! What tests share.

pub mod azurite;

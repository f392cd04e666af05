//! What tests share.

pub(crate) mod azurite;
pub(crate) mod handler;

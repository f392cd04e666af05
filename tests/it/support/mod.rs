//! What tests share.

pub(crate) mod azurite;
pub(crate) mod handler;
pub(crate) mod history;
pub(crate) mod memory;

//! What tests share.

pub(crate) mod azurite;
pub(crate) mod dev;
pub(crate) mod handler;
pub(crate) mod history;
pub(crate) mod memory;
pub(crate) mod raw;

//! What tests share.

pub(crate) mod azurite;
pub(crate) mod dev;
pub(crate) mod handler;
pub(crate) mod raw;

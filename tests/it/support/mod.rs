//! What tests share.

pub(crate) mod dev;
pub(crate) mod foreign;
pub(crate) mod handler;
pub(crate) mod history;
pub(crate) mod load;
pub(crate) mod memory;
pub(crate) mod queues;
pub(crate) mod raw;
pub(crate) mod read;

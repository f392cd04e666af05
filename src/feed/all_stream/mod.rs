//! The all-stream: every event of a tenant, in the order of its partitions, from a cursor on.
//!
//! What MUST hold:
//!
//! - A reader that follows its cursor sees every event once, in partition order, and none is
//!   skipped: a page ends before a commit that does not go on where the last one ended.
//! - What lies before a cursor never changes. A cursor carries the mark of its commit's digest, so a
//!   log that was rewound (a restore, a failover) answers [`ReadFailure::Changed`], not a gap.
//! - Every page ends with a cursor that moves on, also one from which everything was filtered out.
//! - Partitions are merged by recorded time. Reading again gives the same events in each partition;
//!   how partitions interleave is promised only where `until` says where to end.

mod lane;
mod links;
mod place;
mod read;
mod wait;

pub use self::{
    links::{LinkedPage, linked},
    place::{Mark, Place, Places},
    read::{Direction, Filter, Item, Page, Query, ReadFailure, read},
    wait::{Busy, Waiters},
};

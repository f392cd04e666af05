//! Commands: what somebody asked for, and what became of it. A pure state machine over the stream of
//! one command.
//!
//! ```text
//! dispatched ─┬─────────────► succeeded | failed | forbidden
//!             └► in-doubt ───►           (a late outcome is still taken)
//! pending-approval ─► approved ─► claimed ─► succeeded | failed | forbidden
//!        │               ▲  │        │
//!        │               │  │        └ lease ended: approved again
//!        └► denied | expired | withdrawn
//! ```
//!
//! - [`decide`](decide()) is the only judge: from a command and an operation to the facts that come of it, or the
//!   [`Rule`] that forbids it. No clock, no storage: it is told what time it is.
//! - [`Command::evolve`] is total: whatever stands in a stream, folding it never fails.
//! - A [`Fact`] holds what the machine needs and nothing else: people only as keyed hashes, no payload.
//!   So an erasure, which blanks data and actors, leaves every quorum and every claim what it was.

mod decide;
mod fact;
mod rule;
mod state;

pub use self::{
    decide::{Operation, decide},
    fact::{Fact, Ignored, JOURNAL_TYPES, Outcome, Person, Policy, Verdict},
    rule::Rule,
    state::{Claim, Command, Stage},
};

/// Category of the streams of commands.
pub const CATEGORY: &str = "command";
/// The type of the event with which every command begins.
pub const DISPATCHED: &str = "annals.command.dispatched";
/// The extension attribute under which an event of a command keeps its [`Fact`].
pub const FACT_ATTRIBUTE: &str = "journal";

#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod tests;

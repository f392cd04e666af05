//! Verifying a tenant's log: everything recomputed from public reads, nothing believed.
//!
//! Per partition, three passes. The *chain*: commits in order, each digest recomputed, the head equal
//! to the last. The *rows*: every row that the commits imply is there, as they imply it, and no
//! other. *Locating*, only when the rows disagree: which one, and what was expected.
//!
//! The first two need constant memory: the rows that commits imply and the rows that are there
//! are added up, each under a key drawn for this run, and the sums compared. (Streams take some 40
//! bytes each; a run that is continued over HTTP compares their versions alone.) Event rows, with
//! their data, are read only when asked for.
//!
//! What this proves, and what only a checkpoint kept elsewhere can, is said in `docs/INTEGRITY.md`.

mod chain;
mod complete;
mod facts;
mod locate;
mod report;
mod rows;
mod run;
mod state;
mod streams;

pub use self::{
    complete::{Completeness, CompletenessError, Span, Wanted, completeness},
    report::{CheckedPartition, Difference, Report},
    run::{Anchor, Options, Outcome, Progress, verify},
    state::State,
};

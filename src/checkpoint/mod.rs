//! Checkpoints: the end of a partition's log, signed, to be kept where whoever can rewrite the log
//! cannot reach.
//!
//! A checkpoint is a C2SP signed note (`c2sp.org/signed-note`): text, an empty line, signatures. It goes
//! out as an event of the partition that it is about, so the change feed carries it and the table
//! keeps it; and, when one is configured, into a blob container with an immutability policy. The key
//! comes from a setting that refers to a vault. Without it nothing is signed, and a log line says so.

mod container;
mod note;
mod sign;

pub use crate::domain::signing::{BadKey, SigningKey, VerifierKey};

pub use self::{
    container::{Container, ContainerError},
    note::{BadNote, Note},
    sign::{CheckpointError, Checkpoints, newest},
};

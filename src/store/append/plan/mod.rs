//! Planning: from what was asked and what is stored to one batch. Pure; decides everything.
//!
//! The plan rests on a view (head, streams, known identities) that may be out of date. That is
//! safe: the first operation of the batch demands the head's ETag, so a plan on a false view
//! never commits.

mod draft;
mod event;
mod stream_rows;
mod trial;

use std::collections::HashMap;

use self::draft::{Draft, Placement};
use super::{Answer, Append, Refusal, Stored};
use crate::{
    domain::{
        ids::{Identity, StreamName},
        position::PartitionId,
        timestamp::Timestamp,
    },
    store::{
        digest,
        rows::{Head, Stream},
        table::{Batch, BatchError, ETag},
    },
};

/// A stream as it is believed to stand.
#[derive(Debug, Clone, Default)]
pub(super) struct StreamNow {
    pub(super) stream: Stream,
    /// Digest of its row; none where it has no event yet.
    pub(super) digest: Option<String>,
}

impl StreamNow {
    /// That of a partition, as storage shows it.
    pub(super) fn stored(partition: PartitionId, name: &StreamName, stream: Stream) -> Self {
        let digest = (stream.version > 0).then(|| digest::row(partition, &stream.row(name)));
        Self { stream, digest }
    }
}

/// What a plan rests on.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) partition: PartitionId,
    pub(super) head: &'a Head,
    pub(super) head_etag: &'a ETag,
    /// Every stream that the appends touch; version 0 where there is none yet.
    pub(super) streams: &'a HashMap<StreamName, StreamNow>,
    /// Identities among the appends that are stored already.
    pub(super) known: &'a HashMap<Identity, Stored>,
    /// Keys of rows to overwrite or delete that turned out not to exist.
    pub(super) gone: &'a [String],
    pub(super) now: Timestamp,
    pub(super) attempt: &'a str,
}

/// What is to become of one append.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Its events stand in the batch, but for those that were known.
    Placed(Vec<Answer>),
    /// All its events were stored before.
    Known(Vec<Answer>),
    /// It cannot be stored.
    Refused(Refusal),
    /// The answer hangs on an append placed before it: ask again once that is committed.
    Wait,
}

/// The batch, and what is true once it is committed.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) batch: Batch,
    pub(super) head: Head,
    pub(super) streams: Vec<(StreamName, StreamNow)>,
    /// True when the batch holds feed debt.
    pub(super) debt: bool,
}

/// Verdicts on the first appends, in order; those behind did not fit and wait for the next batch.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) verdicts: Vec<Verdict>,
    pub(super) write: Option<Write>,
}

/// Plans as many of `appends` as one batch holds, at least the first.
///
/// # Errors
/// [`BatchError`] when the batch would break the service's limits after all: a mistake in the
/// counting here, which the caller treats as a refusal by the service.
pub(super) fn plan<'a>(
    view: &View<'_>,
    appends: impl IntoIterator<Item = &'a Append>,
) -> Result<Plan, BatchError> {
    let mut draft = Draft::new(view);
    let mut verdicts = Vec::new();
    for append in appends {
        match draft.place(append) {
            Placement::Done(verdict) => verdicts.push(verdict),
            Placement::Full if verdicts.iter().any(|v| matches!(v, Verdict::Placed(_))) => break,
            Placement::Full => verdicts.push(Verdict::Refused(Refusal::BatchTooLarge)),
        }
    }
    Ok(Plan { verdicts, write: draft.finish()? })
}

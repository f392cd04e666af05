//! Planning: from what was asked and what is stored to one batch. Pure; decides everything.
//!
//! The plan rests on a view (head, streams, known identities) that may be out of date. That is
//! safe: the first operation of the batch demands the head's ETag, so a plan on a false view
//! never commits.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{Answer, Append, Candidate, Origin, Refusal, Stored, amend, rule::Rule, ruling};
use crate::{
    domain::{
        essentials::Essentials,
        ids::{Identity, StreamName},
        position::{PartitionId, Position},
        timestamp::Timestamp,
    },
    store::{
        digest, keys,
        rows::{self, Commit, Envelope, Head, IdentityRow, RecordedEvent, Stream, StreamStatus},
        table::{Batch, BatchError, ETag, MAX_BATCH_BYTES, MAX_BATCH_ROWS, Op, Row},
    },
};

/// Rows that every batch has: the head and the commit, and perhaps feed debt.
const FIXED_ROWS: usize = 3;
/// Bytes kept free for those rows, the essentials not counted.
const FIXED_BYTES: usize = 8 * 1024;

/// What a plan rests on.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) partition: PartitionId,
    pub(super) head: &'a Head,
    pub(super) head_etag: &'a ETag,
    /// Every stream that the appends touch; version 0 where there is none yet.
    pub(super) streams: &'a HashMap<StreamName, Stream>,
    /// Identities among the appends that are stored already.
    pub(super) known: &'a HashMap<Identity, Stored>,
    /// Keys of attention rows that turned out not to exist.
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
    pub(super) streams: HashMap<StreamName, Stream>,
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

enum Placement {
    Done(Verdict),
    Full,
}

/// Why an append is not placed.
enum Stop {
    Refused(Refusal),
    Wait,
}

/// Where an identity was met.
#[derive(Clone, Copy)]
enum Whose {
    Storage,
    Batch,
    Own,
}

/// A batch in the making. An append is placed on a `Trial`, which is merged when all of it fits.
struct Draft<'a> {
    view: &'a View<'a>,
    recorded: Timestamp,
    placed: Trial,
}

/// A stream as it will be, and its row.
struct Touched {
    stream: Stream,
    row: Row,
}

/// What has been added so far, by the batch or by one append on trial.
#[derive(Default)]
struct Trial {
    ops: Vec<Op>,
    essentials: Vec<Vec<u8>>,
    streams: HashMap<StreamName, Touched>,
    stored: HashMap<Identity, Stored>,
    stream_rows: usize,
    bytes: usize,
    debt: bool,
}

impl<'a> Draft<'a> {
    fn new(view: &'a View<'a>) -> Self {
        let recorded = view.now.to_micros().max(view.head.recorded);
        Self { view, recorded, placed: Trial::default() }
    }

    /// Places an append whole, or leaves the draft as it was.
    fn place(&mut self, append: &Append) -> Placement {
        let mut trial = Trial::default();
        let mut answers = Vec::with_capacity(append.events.len());
        for (index, candidate) in append.events.iter().enumerate() {
            match self.place_event(&mut trial, append, candidate, index) {
                Ok(answer) => answers.push(answer),
                Err(Stop::Refused(refusal)) => return Placement::Done(Verdict::Refused(refusal)),
                Err(Stop::Wait) => return Placement::Done(Verdict::Wait),
            }
        }
        if trial.ops.is_empty() {
            let placed =
                answers.iter().any(|a| self.placed.stored.contains_key(&a.stored.essentials.identity()));
            return Placement::Done(if placed { Verdict::Placed(answers) } else { Verdict::Known(answers) });
        }
        let amendments = amend::ops(append, self.view.gone);
        trial.bytes += amendments.iter().map(Op::encoded_len).sum::<usize>();
        trial.ops.extend(amendments);
        trial.debt = append.feed && append.origin == Origin::Direct;
        if !self.fits(&trial) {
            return Placement::Full;
        }
        self.merge(trial);
        Placement::Done(Verdict::Placed(answers))
    }

    fn place_event(
        &self,
        trial: &mut Trial,
        append: &Append,
        candidate: &Candidate,
        index: usize,
    ) -> Result<Answer, Stop> {
        let identity = candidate.event.identity();
        let conflict = self.conflict(trial, candidate, index);
        // Identity first: what is stored gets its first answer before any other rule may refuse it.
        if (Rule::IdentityFirst.holds() || conflict.is_none())
            && let Some(answer) = self.earlier(trial, &identity, candidate, index)?
        {
            return Ok(answer);
        }
        if let Some(stop) = conflict {
            return Err(stop);
        }
        let stream = self.stream(trial, &candidate.stream);
        let sequence =
            self.view.head.last + (self.placed.essentials.len() + trial.essentials.len()) as u64 + 1;
        let position = Position { partition: self.view.partition, sequence };
        let stored = self.write_event(trial, append, candidate, position, stream);
        trial.stored.insert(identity, stored.clone());
        Ok(Answer { stored, duplicate: false })
    }

    /// The answer for an identity that is stored, or placed in front.
    fn earlier(
        &self,
        trial: &Trial,
        identity: &Identity,
        candidate: &Candidate,
        index: usize,
    ) -> Result<Option<Answer>, Stop> {
        let views = [
            (self.view.known, Whose::Storage),
            (&self.placed.stored, Whose::Batch),
            (&trial.stored, Whose::Own),
        ];
        let Some((stored, whose)) =
            views.into_iter().find_map(|(known, whose)| Some((known.get(identity)?, whose)))
        else {
            return Ok(None);
        };
        let same = candidate.agrees_with(stored);
        match whose {
            _ if same => Ok(Some(Answer { stored: stored.clone(), duplicate: true })),
            Whose::Storage => {
                Err(Stop::Refused(Refusal::IdentityReused { index, first: Box::new(stored.clone()) }))
            }
            Whose::Batch => Err(Stop::Wait),
            Whose::Own => Err(Stop::Refused(Refusal::IdentityRepeated { index })),
        }
    }

    /// Whether the stream is somewhere else than the sender expects.
    fn conflict(&self, trial: &Trial, candidate: &Candidate, index: usize) -> Option<Stop> {
        let actual = self.stream(trial, &candidate.stream).version;
        if candidate.event.expected.holds(actual) {
            return None;
        }
        if self.placed.streams.contains_key(&candidate.stream) {
            return Some(Stop::Wait);
        }
        Some(Stop::Refused(Refusal::VersionConflict {
            index,
            stream: candidate.stream.clone(),
            expected: candidate.event.expected,
            actual,
        }))
    }

    /// The stream as it will be after what is placed so far.
    fn stream(&self, trial: &Trial, name: &StreamName) -> Stream {
        let placed = [&trial.streams, &self.placed.streams].into_iter().find_map(|streams| streams.get(name));
        let stream = placed.map(|touched| &touched.stream).or_else(|| self.view.streams.get(name));
        stream.cloned().unwrap_or_default()
    }

    fn write_event(
        &self,
        trial: &mut Trial,
        append: &Append,
        candidate: &Candidate,
        position: Position,
        mut stream: Stream,
    ) -> Stored {
        let event = &candidate.event;
        let name = &candidate.stream;
        let before = (stream.version > 0).then(|| digest::row(position.partition, &stream.row(name)));
        advance(&mut stream, candidate, self.recorded);
        let (row, digest) =
            recorded(candidate, position, stream.version, self.recorded).row(&candidate.fingerprint);
        let link = IdentityRow {
            source: event.source.clone(),
            stream: name.clone(),
            version: stream.version,
            sequence: position.sequence,
        };
        let mut ops = vec![Op::Insert(row), Op::Insert(link.row(keys::identity(&event.identity())))];
        let correlated = event.correlation.as_ref().map(|id| keys::correlation(id, position.sequence));
        let about = candidate.subject.as_ref().map(|subject| keys::subject(subject, position.sequence));
        let links = correlated.into_iter().chain(about);
        ops.extend(links.map(|key| Op::Insert(rows::link(key, name, stream.version, position.sequence))));
        let stream_row = stream.row(name);
        let digests = (digest, digest::row(position.partition, &stream_row), before);
        let essentials = essentials(candidate, append.origin, position.sequence, stream.version, digests);
        let json = rows::json(&essentials);
        trial.bytes += ops.iter().map(Op::encoded_len).sum::<usize>() + json.len() * 4 / 3 + 4;
        trial.bytes += stream_cost(name);
        trial.ops.append(&mut ops);
        trial.essentials.push(json);
        trial.streams.insert(name.clone(), Touched { stream, row: stream_row });
        Stored {
            partition: position.partition,
            recorded: self.recorded,
            essentials: Arc::new(essentials),
            fingerprint: Some(candidate.fingerprint),
        }
    }

    /// Whether the batch with this append in it stays within the service's limits.
    fn fits(&self, trial: &Trial) -> bool {
        let ops = self.placed.ops.len() + trial.ops.len();
        FIXED_ROWS + ops + self.stream_rows_with(trial) <= MAX_BATCH_ROWS
            && FIXED_BYTES + self.placed.bytes + trial.bytes <= MAX_BATCH_BYTES
    }

    /// How many rows the touched streams take once `trial` is merged.
    fn stream_rows_with(&self, trial: &Trial) -> usize {
        let rows = |streams: &HashMap<StreamName, Touched>, name: &StreamName| {
            streams.get(name).map_or(0, |touched| self.stream_rows(name, &touched.stream))
        };
        let before: usize = trial.streams.keys().map(|name| rows(&self.placed.streams, name)).sum();
        let after: usize = trial.streams.keys().map(|name| rows(&trial.streams, name)).sum();
        self.placed.stream_rows + after - before
    }

    /// How many operations [`Self::stream_ops`] gives, at most.
    fn stream_rows(&self, name: &StreamName, after: &Stream) -> usize {
        let was = self.view.streams.get(name).and_then(|stream| stream.attention.as_ref());
        let attention = match (was, &after.attention) {
            (was, now) if was == now.as_ref() => 0,
            (was, now) => usize::from(was.is_some()) + usize::from(now.is_some()),
        };
        1 + attention + ruling::due_rows(self.view.streams.get(name), after)
    }

    fn merge(&mut self, trial: Trial) {
        self.placed.stream_rows = self.stream_rows_with(&trial);
        self.placed.ops.extend(trial.ops);
        self.placed.essentials.extend(trial.essentials);
        self.placed.streams.extend(trial.streams);
        self.placed.stored.extend(trial.stored);
        self.placed.bytes += trial.bytes;
        self.placed.debt |= trial.debt;
    }

    /// The operations that bring a stream's own rows to where they will be.
    fn stream_ops(&self, name: &StreamName, after: &Stream, row: Row) -> Vec<Op> {
        let before = self.view.streams.get(name);
        let is_new = before.is_none_or(|stream| stream.version == 0);
        let mut ops = vec![if is_new { Op::Insert(row) } else { Op::Upsert(row) }];
        let was = before.and_then(|stream| stream.attention.as_ref());
        if was != after.attention.as_ref() {
            let old = was.map(|status| keys::attention(name, status.as_str()));
            ops.extend(old.filter(|key| !self.view.gone.contains(key)).map(Op::Delete));
            if let Some(status) = &after.attention {
                let key = keys::attention(name, status.as_str());
                ops.push(Op::Upsert(after.attention_row(key, name)));
            }
        }
        ops.extend(ruling::due_ops(name, before, after, self.view.gone));
        ops
    }

    fn finish(mut self) -> Result<Option<Write>, BatchError> {
        let count = self.placed.essentials.len() as u64;
        if count == 0 {
            return Ok(None);
        }
        let before = self.view.head;
        let commit = self.commit(before.last + 1, before.last + count);
        let head = Head { last: commit.last, digest: commit.digest, recorded: commit.recorded };
        let mut ops = Vec::with_capacity(MAX_BATCH_ROWS);
        ops.push(Op::Replace(head.row(), self.view.head_etag.clone()));
        ops.push(Op::Insert(commit.row()));
        ops.append(&mut self.placed.ops);
        let ordered: BTreeMap<_, _> = std::mem::take(&mut self.placed.streams).into_iter().collect();
        let mut streams = HashMap::with_capacity(ordered.len());
        for (name, Touched { stream, row }) in ordered {
            ops.extend(self.stream_ops(&name, &stream, row));
            streams.insert(name, stream);
        }
        if self.placed.debt {
            ops.push(Op::Insert(rows::debt(commit.last, commit.recorded)));
        }
        let batch = Batch::new(self.view.partition.to_string(), ops)?;
        Ok(Some(Write { batch, head, streams, debt: self.placed.debt }))
    }

    fn commit(&self, first: u64, last: u64) -> Commit {
        let mut essentials = vec![b'['];
        essentials.extend(self.placed.essentials.join(&b','));
        essentials.push(b']');
        let recorded = self.recorded.to_string();
        let digest = digest::commit(digest::CommitFields {
            previous: self.view.head.digest,
            partition: self.view.partition,
            first,
            last,
            recorded: &recorded,
            attempt: self.view.attempt,
            essentials: &essentials,
        });
        Commit {
            first,
            last,
            recorded: self.recorded,
            attempt: self.view.attempt.to_owned(),
            previous: self.view.head.digest,
            digest,
            essentials,
        }
    }
}

/// An upper bound for the rows that a touched stream adds, in bytes.
fn stream_cost(name: &StreamName) -> usize {
    8 * 1024 + 40 * name.id.as_str().len()
}

/// What a stream is after one more event.
fn advance(stream: &mut Stream, candidate: &Candidate, recorded: Timestamp) {
    let event = &candidate.event;
    let happened = event.time.unwrap_or(recorded);
    stream.version += 1;
    stream.times = Some(match stream.times {
        None => (happened, happened),
        Some((first, last)) => (first.min(happened), last.max(happened)),
    });
    if let Some(ruling) = event.ruling {
        stream.due = ruling.due;
    }
    let Some(status) = &event.status else { return };
    // Queues invert: an event that happened before the one which set the status never changes it,
    // unless a state machine has ruled.
    let later = event.ruling.is_some()
        || stream.status.as_ref().is_none_or(|set| (happened, &event.id) > (set.since, &set.event));
    if later {
        stream.status =
            Some(StreamStatus { status: status.clone(), since: happened, event: event.id.clone() });
        stream.attention = candidate.attention.then(|| status.clone());
        if event.state.is_some() {
            stream.state.clone_from(&event.state);
        }
    }
}

fn recorded(candidate: &Candidate, position: Position, version: u64, recorded: Timestamp) -> RecordedEvent {
    let event = &candidate.event;
    RecordedEvent {
        envelope: Envelope {
            id: event.id.clone(),
            source: event.source.clone(),
            event_type: event.event_type.clone(),
            subject: event.subject.clone(),
            time: event.time,
            content_type: event.content_type.clone(),
            data_schema: event.data_schema.clone(),
            correlation: event.correlation.clone(),
            causation: event.causation.clone(),
            traceparent: event.traceparent.clone(),
            recorded_by: event.recorded_by.clone(),
            redacted: event.redacted.clone(),
            extensions: event.extensions.clone(),
        },
        actor: event.actor.clone(),
        data: event.data.clone(),
        stream: candidate.stream.clone(),
        version,
        position,
        recorded,
        fingerprint: Some(candidate.fingerprint),
        erased: None,
    }
}

fn essentials(
    candidate: &Candidate,
    origin: Origin,
    sequence: u64,
    version: u64,
    (digest, stream_row, stream_row_before): (digest::Digest, String, Option<String>),
) -> Essentials {
    let event = &candidate.event;
    Essentials {
        sequence,
        id: event.id.clone(),
        source: event.source.clone(),
        event_type: event.event_type.clone(),
        category: candidate.stream.category.clone(),
        stream: candidate.stream.id.clone(),
        version,
        time: event.time,
        status: event.status.clone(),
        correlation: event.correlation.clone(),
        causation: event.causation.clone(),
        traceparent: event.traceparent.clone(),
        actor: candidate.actor.clone(),
        data: event.essentials.iter().map(|(name, value)| (Cow::Borrowed(*name), value.clone())).collect(),
        ingest: origin == Origin::Ingest,
        digest: hex::encode(digest.0),
        subject: candidate.subject.clone(),
        stream_row,
        stream_row_before,
    }
}

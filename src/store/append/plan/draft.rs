//! A batch in the making.

use std::{collections::HashMap, sync::Arc};

use super::{
    StreamNow, Verdict, View, Write,
    event::{advance, essentials, recorded},
    stream_rows,
    trial::{Touched, Trial, encoded_len},
};
use crate::{
    domain::{
        ids::{Identity, StreamName},
        position::Position,
        timestamp::Timestamp,
    },
    store::{
        append::{Answer, Append, Candidate, Origin, Refusal, Stored, amend, rule::Rule},
        digest, keys,
        rows::{self, Commit, Head, IdentityRow, Stream},
        table::{Batch, BatchError, MAX_BATCH_BYTES, MAX_BATCH_ROWS, Op},
    },
};

/// Rows that every batch has: the head and the commit, and perhaps feed debt.
const FIXED_ROWS: usize = 3;
/// Bytes kept free for those rows, the essentials not counted.
const FIXED_BYTES: usize = 8 * 1024;

pub(super) enum Placement {
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
pub(super) struct Draft<'a> {
    view: &'a View<'a>,
    recorded: Timestamp,
    placed: Trial,
}

impl<'a> Draft<'a> {
    pub(super) fn new(view: &'a View<'a>) -> Self {
        let recorded = view.now.to_micros().max(view.head.recorded);
        let room = MAX_BATCH_ROWS / 3;
        let placed = Trial {
            ops: Vec::with_capacity(MAX_BATCH_ROWS),
            streams: HashMap::with_capacity(room),
            stored: HashMap::with_capacity(room),
            ..Trial::default()
        };
        Self { view, recorded, placed }
    }

    /// Places an append whole, or leaves the draft as it was.
    pub(super) fn place(&mut self, append: &Append) -> Placement {
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
        trial.bytes += encoded_len(&amendments);
        trial.ops.extend(amendments);
        trial.debt = append.feed && append.origin == Origin::Direct;
        trial.streams_cost = self.placed.streams_cost_with(&trial);
        if !self.fits(&trial) {
            return Placement::Full;
        }
        self.placed.merge(trial);
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
        let now = self.stream(trial, &candidate.stream);
        let conflict = self.conflict(now.map_or(0, |now| now.stream.version), candidate, index);
        // Identity first: what is stored gets its first answer before any other rule may refuse it.
        if (Rule::IdentityFirst.holds() || conflict.is_none())
            && let Some(answer) = self.earlier(trial, &identity, candidate, index)?
        {
            return Ok(answer);
        }
        if let Some(stop) = conflict {
            return Err(stop);
        }
        let now = now.cloned().unwrap_or_default();
        let sequence =
            self.view.head.last + (self.placed.essentials.len() + trial.essentials.len()) as u64 + 1;
        let position = Position { partition: self.view.partition, sequence };
        let stored = self.write_event(trial, append, candidate, position, now);
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
    fn conflict(&self, actual: u64, candidate: &Candidate, index: usize) -> Option<Stop> {
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

    /// The stream as it will be after what is placed so far; none where it begins.
    fn stream<'s>(&'s self, trial: &'s Trial, name: &StreamName) -> Option<&'s StreamNow> {
        let placed = [&trial.streams, &self.placed.streams].into_iter().find_map(|streams| streams.get(name));
        placed.map(|touched| &touched.now).or_else(|| self.view.streams.get(name))
    }

    fn write_event(
        &self,
        trial: &mut Trial,
        append: &Append,
        candidate: &Candidate,
        position: Position,
        StreamNow { mut stream, digest: before }: StreamNow,
    ) -> Stored {
        let event = &candidate.event;
        let name = &candidate.stream;
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
        let after = digest::row(position.partition, &stream_row);
        let digests = (digest, after.clone(), before);
        let essentials = essentials(candidate, append.origin, position.sequence, stream.version, digests);
        let json = rows::json(&essentials);
        trial.bytes += encoded_len(&ops) + json.len() * 4 / 3 + 4;
        trial.ops.append(&mut ops);
        trial.essentials.push(json);
        let ops = stream_rows::ops(name, self.before(name), &stream, stream_row, self.view.gone);
        let now = StreamNow { stream, digest: Some(after) };
        trial.streams.insert(name.clone(), Touched { now, bytes: encoded_len(&ops), ops });
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
        let bytes = self.placed.bytes + trial.bytes;
        FIXED_ROWS + ops + trial.streams_cost.ops <= MAX_BATCH_ROWS
            && FIXED_BYTES + bytes + trial.streams_cost.bytes <= MAX_BATCH_BYTES
    }

    /// The stream as it is stored.
    fn before(&self, name: &StreamName) -> Option<&Stream> {
        self.view.streams.get(name).map(|now| &now.stream)
    }

    pub(super) fn finish(mut self) -> Result<Option<Write>, BatchError> {
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
        let mut ordered: Vec<_> = std::mem::take(&mut self.placed.streams).into_iter().collect();
        ordered.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut streams = Vec::with_capacity(ordered.len());
        for (name, touched) in ordered {
            ops.extend(touched.ops);
            streams.push((name, touched.now));
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

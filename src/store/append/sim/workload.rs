//! What clients ask for: a list of jobs drawn from a seed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rand::{Rng, rngs::SmallRng};
use sha2::{Digest as _, Sha256};

use super::{faults::millis, world::epoch};
use crate::{
    domain::{
        event::{Data, Expected, NewEvent, Ruling, Target},
        ids::{Category, CorrelationId, EventId, EventType, Source, Status, StreamId, StreamName},
        timestamp::Timestamp,
    },
    store::{
        append::{Append, Candidate, Origin},
        digest::Salt,
        rows::Fingerprint,
        table::{Batch, Op},
    },
};

/// What storage chokes on, as part of an event's data.
const POISON: &[u8] = b"poison";

/// Whether a batch holds what storage chokes on.
pub(super) fn holds_poison(batch: &Batch) -> bool {
    let poisoned = |data: &[u8]| data.windows(POISON.len()).any(|window| window == POISON);
    batch.ops().iter().any(|op| match op {
        Op::Insert(row) => row.bin("Data0").is_some_and(|data| poisoned(data)),
        _ => false,
    })
}

/// Data that storage chokes on.
pub(super) fn poison() -> String {
    "\"poison\"".to_owned()
}

/// What a client expects of a stream. Relative to what the stream is when the client begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Hope {
    Fixed(Expected),
    /// The version that it has, plus this, less one.
    Now(u64),
}

#[derive(Debug, Clone)]
pub(super) struct Sketch {
    pub(super) id: String,
    pub(super) stream: StreamName,
    pub(super) status: Option<&'static str>,
    /// A state machine's, in some events that set a status.
    pub(super) ruling: Option<Ruling>,
    pub(super) state: Option<String>,
    pub(super) time: Option<Timestamp>,
    pub(super) correlation: Option<String>,
    pub(super) starts_stream: bool,
    pub(super) data: String,
    pub(super) hope: Hope,
}

/// One client with one append, which it sends until it has an answer.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) start: Duration,
    pub(super) events: Vec<Sketch>,
    pub(super) origin: Origin,
    pub(super) feed: bool,
    /// The process it calls first.
    pub(super) process: usize,
    /// Whether it calls any process, or only that one.
    pub(super) roams: bool,
    /// Whether its messages say that they were delivered before.
    pub(super) redelivered: bool,
    /// Calls before it gives up.
    pub(super) patience: usize,
    pub(super) poisonous: bool,
    /// Events of several in one commit or none: true where no other job sends any of them.
    pub(super) atomic: bool,
}

/// Draws the jobs of a world.
pub(super) struct Drawer<'a> {
    pub(super) random: &'a mut SmallRng,
    pub(super) processes: usize,
    pub(super) streams: usize,
    pub(super) span: Duration,
    pub(super) feed: bool,
    pub(super) poison: bool,
    /// How often a stream is expected somewhere.
    pub(super) hopes: f64,
    /// How often a job comes twice.
    pub(super) copies: f64,
}

impl Drawer<'_> {
    pub(super) fn jobs(&mut self, count: usize) -> Vec<Job> {
        let mut jobs: Vec<Job> = Vec::new();
        for number in 0..count {
            let job = self.job(number);
            let copied = self.random.random_bool(self.copies);
            if copied {
                let copies = self.copies_of(&job);
                jobs.extend(copies);
            }
            jobs.push(Job { atomic: !copied, ..job });
            if self.random.random_bool(0.05) {
                let victim = self.random.random_range(0..jobs.len());
                let impostor = self.impostor(&mut jobs, victim, number);
                jobs.push(impostor);
            }
        }
        jobs
    }

    /// A job with one event.
    pub(super) fn single(&mut self, number: usize) -> Job {
        let mut job = self.job(number);
        job.events.truncate(1);
        job
    }

    fn job(&mut self, number: usize) -> Job {
        let count = match self.random.random_range(0..100) {
            0..70 => 1,
            70..99 => self.random.random_range(2..5),
            _ => 40,
        };
        let stream = self.stream();
        let poisonous = self.poison && self.random.random_bool(0.05);
        let mut events: Vec<_> = (0..count).map(|index| self.sketch(number, index, &stream)).collect();
        if poisonous {
            let which = self.random.random_range(0..count);
            events[which].data = poison();
        }
        Job {
            start: millis(self.random, 0..u64::try_from(self.span.as_millis()).unwrap() + 1),
            events,
            origin: if self.random.random() { Origin::Ingest } else { Origin::Direct },
            feed: self.feed,
            process: self.random.random_range(0..self.processes),
            roams: self.random.random(),
            redelivered: self.random.random_bool(0.2),
            patience: if self.random.random_bool(0.1) { 1 } else { usize::MAX },
            poisonous,
            atomic: true,
        }
    }

    fn stream(&mut self) -> StreamName {
        let number = self.random.random_range(0..self.streams);
        StreamName::new(
            Category::parse("workflow-instance").unwrap(),
            StreamId::parse(format!("i/{number}")).unwrap(),
        )
    }

    fn sketch(&mut self, job: usize, index: usize, stream: &StreamName) -> Sketch {
        let same = self.random.random_bool(0.6);
        let stream = if same { stream.clone() } else { self.stream() };
        let statuses = [None, None, Some("waiting"), Some("faulted"), Some("in-doubt"), Some("complete")];
        let status = statuses[self.random.random_range(0..statuses.len())];
        let ruling = (status.is_some() && self.random.random_bool(0.3)).then(|| Ruling {
            due: self.random.random_bool(0.6).then(|| epoch(self.random.random_range(0..9))),
        });
        let hope = if self.random.random_bool(self.hopes) { self.hope() } else { Hope::Fixed(Expected::Any) };
        Sketch {
            id: format!("{job}-{index}"),
            stream,
            status,
            ruling,
            state: self.random.random_bool(0.3).then(|| format!("state-{job}")),
            // Few different times, so that some are the same and the id decides.
            time: self.random.random_bool(0.8).then(|| epoch(self.random.random_range(-20..20))),
            correlation: self.random.random_bool(0.3).then(|| format!("flow/{}", job % 5)),
            starts_stream: self.random.random_bool(0.15),
            data: format!("{{\"n\":{job}}}"),
            hope,
        }
    }

    fn hope(&mut self) -> Hope {
        match self.random.random_range(0..10) {
            0 => Hope::Fixed(Expected::NoStream),
            1 => Hope::Fixed(Expected::StreamExists),
            2 => Hope::Fixed(Expected::Exact(self.random.random_range(0..6))),
            3 => Hope::Now(self.random.random_range(0..3)),
            _ => Hope::Now(1),
        }
    }

    /// The same events once more: at the same time or later, here or elsewhere, whole or in part.
    fn copies_of(&mut self, job: &Job) -> Vec<Job> {
        let count = self.random.random_range(1..4);
        (0..count)
            .map(|_| {
                let mut copy = Job { atomic: false, ..job.clone() };
                let later = if self.random.random() { 0..20 } else { 0..20_000 };
                copy.start += millis(self.random, later);
                if self.random.random() {
                    copy.process = self.random.random_range(0..self.processes);
                }
                if self.random.random_bool(0.2) {
                    copy.events.truncate(self.random.random_range(1..=job.events.len()));
                }
                if self.random.random_bool(0.2) {
                    copy.origin = Origin::Direct;
                }
                copy.redelivered = self.random.random();
                copy
            })
            .collect()
    }

    /// A job that says something else under an identity of another's.
    fn impostor(&mut self, jobs: &mut [Job], victim: usize, number: usize) -> Job {
        jobs[victim].atomic = false;
        let id = jobs[victim].events[0].id.clone();
        jobs.iter_mut()
            .filter(|job| job.events.iter().any(|e| e.id == id))
            .for_each(|job| job.atomic = false);
        let stream = self.stream();
        let mut event = self.sketch(number, 0, &stream);
        event.id.clone_from(&id);
        event.data = format!("{{\"other\":{number}}}");
        let start = jobs[victim].start + millis(self.random, 0..5_000);
        Job { start, events: vec![event], poisonous: false, atomic: false, ..jobs[victim].clone() }
    }
}

impl Job {
    /// The events as the client sends them, now that it knows what to expect of a stream.
    pub(super) fn events(&self, version: impl Fn(&StreamName) -> u64) -> Vec<Arc<NewEvent>> {
        let mut ahead: BTreeMap<StreamName, u64> = BTreeMap::new();
        self.events
            .iter()
            .map(|sketch| {
                let before = ahead.entry(sketch.stream.clone()).or_default();
                let expected = match sketch.hope {
                    Hope::Fixed(expected) => expected,
                    Hope::Now(shift) => {
                        Expected::Exact((version(&sketch.stream) + *before + shift).saturating_sub(1))
                    }
                };
                *before += 1;
                Arc::new(sketch.event(expected))
            })
            .collect()
    }

    /// One delivery of those events.
    pub(super) fn append(
        &self,
        events: &[Arc<NewEvent>],
        redelivered: bool,
        random: &mut SmallRng,
    ) -> Append {
        let candidate = |event: &Arc<NewEvent>| {
            let Target::Stream(stream) = &event.target else { unreachable!("every job names its stream") };
            let fingerprint = Fingerprint::of(Salt(random.random()), &event.content);
            let wants = |status: &Status| crate::domain::ATTENTION.contains(&status.as_str());
            let attention = event.status.as_ref().is_some_and(wants);
            Candidate {
                event: Arc::clone(event),
                stream: stream.clone(),
                fingerprint,
                actor: None,
                attention,
            }
        };
        let events = events.iter().map(candidate).collect();
        Append { events, origin: self.origin, feed: self.feed, redelivered }
    }
}

impl Sketch {
    pub(super) fn content(&self) -> [u8; 32] {
        let Self { hope: _, ref id, ref stream, status, ref state, ref time, ref correlation, .. } = *self;
        let sent = format!("{id}|{stream}|{status:?}|{state:?}|{time:?}|{correlation:?}|{}", self.data);
        Sha256::digest(sent).into()
    }

    fn event(&self, expected: Expected) -> NewEvent {
        NewEvent {
            id: EventId::parse(self.id.as_str()).unwrap(),
            source: Source::parse("/engine").unwrap(),
            event_type: EventType::parse("sim.happened").unwrap(),
            subject: None,
            time: self.time,
            content_type: Some("application/json".to_owned()),
            data_schema: None,
            data: Data::Json(self.data.as_str().into()),
            tenant: None,
            target: Target::Stream(self.stream.clone()),
            correlation: self.correlation.as_deref().map(|id| CorrelationId::parse(id).unwrap()),
            causation: None,
            actor: None,
            recorded_by: None,
            redacted: Vec::new(),
            traceparent: None,
            expected,
            extensions: BTreeMap::new(),
            status: self.status.map(|status| Status::parse(status).unwrap()),
            ruling: self.ruling,
            state: self.state.clone(),
            essentials: BTreeMap::new(),
            starts_stream: self.starts_stream,
            content: self.content(),
        }
    }
}

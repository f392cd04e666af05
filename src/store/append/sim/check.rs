//! What must be true of the rows that a world leaves behind. Written from the promises, not from
//! the planner: every row that should be there is rebuilt from the events alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    storage::Storage,
    workload::{Job, Sketch},
    world::{first_head, partition},
};
use crate::{
    domain::{
        essentials::Essentials,
        event::Data,
        ids::{Identity, StreamName},
        timestamp::Timestamp,
    },
    store::{
        digest, keys,
        rows::{self, Commit, Head, IdentityRow, RecordedEvent, Stream, StreamStatus},
        table::Row,
    },
};

/// A promise that was broken, in words.
pub(super) type Broken = String;

macro_rules! demand {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err(format!($($words)+));
        }
    };
}
pub(super) use demand;

/// An event as it is stored, and the sketch that it was made from.
pub(super) struct Kept<'a> {
    pub(super) essentials: Essentials,
    pub(super) recorded: Timestamp,
    /// Last sequence of its commit.
    pub(super) commit: u64,
    pub(super) sketch: &'a Sketch,
}

/// The log as it was found, by identity.
pub(super) type Log<'a> = BTreeMap<Identity, Kept<'a>>;

/// Reads the whole table and checks it; gives the log back.
pub(super) fn rows<'a>(storage: &Storage, jobs: &'a [Job]) -> Result<Log<'a>, Broken> {
    if let Some(row) = &storage.amiss {
        return Err(format!("{row} was to be overwritten and was not there: ADR 0063"));
    }
    let commits = chain(storage)?;
    let mut expected: BTreeSet<String> = [keys::HEAD.to_owned()].into();
    let mut log = Log::new();
    let sketches = sketches(jobs);
    for commit in &commits {
        expected.insert(keys::commit(commit.last));
        let events = commit.events().map_err(|e| e.to_string())?;
        demand!(!events.is_empty(), "the commit at {} is empty", commit.last);
        let sequences: Vec<u64> = events.iter().map(|e| e.sequence).collect();
        demand!(sequences == (commit.first..=commit.last).collect::<Vec<_>>(), "holes: {sequences:?}");
        let feed = jobs.iter().any(|job| job.feed);
        if feed && events.iter().any(|event| !event.ingest) {
            expected.insert(keys::debt(commit.last));
        }
        for essentials in events {
            let identity = essentials.identity();
            let kept = event(storage, &sketches, commit, essentials, &mut expected)?;
            demand!(log.insert(identity, kept).is_none(), "an identity is stored twice");
        }
    }
    streams(storage, &log, &mut expected)?;
    let found: BTreeSet<String> = storage.rows.keys().cloned().collect();
    demand!(
        found == expected,
        "rows too many {:?}, missing {:?}",
        found.difference(&expected).collect::<Vec<_>>(),
        expected.difference(&found).collect::<Vec<_>>()
    );
    Ok(log)
}

fn read<'a>(storage: &'a Storage, key: &str) -> Result<&'a Row, Broken> {
    storage.rows.get(key).map(|stored| &stored.row).ok_or_else(|| format!("row {key} is missing"))
}

/// The commits, each linked to the one before, and the head equal to the last.
fn chain(storage: &Storage) -> Result<Vec<Commit>, Broken> {
    let range = keys::commits_from(0);
    let mut commits = Vec::new();
    let mut at = first_head();
    for stored in storage.range(&range.from, keys::HEAD) {
        let commit = Commit::read(&stored.row).map_err(|e| e.to_string())?;
        let digest = digest::commit(digest::CommitFields {
            previous: at.digest,
            partition: partition(),
            first: commit.first,
            last: commit.last,
            recorded: stored.row.str("Recorded").unwrap_or_default(),
            attempt: &commit.attempt,
            essentials: &commit.essentials,
        });
        demand!(commit.first == at.last + 1, "a hole before {}", commit.first);
        demand!(
            commit.previous == at.digest && commit.digest == digest,
            "the chain breaks at {}",
            commit.last
        );
        demand!(commit.recorded >= at.recorded, "time goes back at {}", commit.last);
        at = Head { last: commit.last, digest, recorded: commit.recorded };
        commits.push(commit);
    }
    let head = Head::read(read(storage, keys::HEAD)?).map_err(|e| e.to_string())?;
    demand!(head == at, "the head {head:?} is not the last commit {at:?}");
    Ok(commits)
}

/// Every way in which an identity was ever sent.
fn sketches(jobs: &[Job]) -> HashMap<String, Vec<&Sketch>> {
    let mut all: HashMap<String, Vec<&Sketch>> = HashMap::new();
    for sketch in jobs.iter().flat_map(|job| &job.events) {
        all.entry(sketch.id.clone()).or_default().push(sketch);
    }
    all
}

/// Checks one event and everything that points to it.
fn event<'a>(
    storage: &Storage,
    sketches: &HashMap<String, Vec<&'a Sketch>>,
    commit: &Commit,
    essentials: Essentials,
    expected: &mut BTreeSet<String>,
) -> Result<Kept<'a>, Broken> {
    let name = essentials.stream_name();
    let sequence = essentials.sequence;
    let key = keys::event(&name, essentials.version);
    let row = read(storage, &key)?;
    let event = RecordedEvent::read(partition(), row).map_err(|e| e.to_string())?;
    let fingerprint = event.fingerprint.ok_or("a salt is missing")?;
    let sent = sketches.get(essentials.id.as_str()).ok_or("an event that nobody sent")?;
    let sketch = *sent
        .iter()
        .find(|sketch| fingerprint.matches(&sketch.content()))
        .ok_or_else(|| format!("{sequence} holds what nobody sent"))?;
    demand!(event.data == Data::Json(sketch.data.as_str().into()), "{sequence} has other data");
    demand!(event.envelope.id == essentials.id && event.stream == name, "{sequence} is another event");
    demand!(event.stream == sketch.stream && event.envelope.time == sketch.time, "{sequence} was changed");
    demand!(event.recorded == commit.recorded, "{sequence} was recorded at another time");
    let place = (event.version, event.position.sequence);
    demand!(place == (essentials.version, sequence), "{sequence} says that it is at {place:?}");
    let digest = digest::event(partition(), row, &fingerprint.salt);
    let stored = row.bin("Digest").map(|bytes| bytes.to_vec());
    demand!(
        essentials.digest == hex::encode(digest.0) && stored == Some(digest.0.to_vec()),
        "the digest of {sequence} does not verify"
    );
    let identity_key = keys::identity(&essentials.identity());
    let link = IdentityRow::read(read(storage, &identity_key)?).map_err(|e| e.to_string())?;
    demand!(
        (&link.stream, link.version, link.sequence) == (&name, essentials.version, sequence)
            && link.source == essentials.source,
        "{identity_key} leads elsewhere"
    );
    if let Some(correlation) = &event.envelope.correlation {
        let key = keys::correlation(correlation, sequence);
        let link = rows::link(key.clone(), &name, essentials.version, sequence);
        demand!(*read(storage, &key)? == link, "{key} leads elsewhere");
        expected.insert(key);
    }
    demand!(event.envelope.correlation.is_some() == sketch.correlation.is_some(), "a correlation is lost");
    expected.extend([key, identity_key]);
    Ok(Kept { essentials, recorded: commit.recorded, commit: commit.last, sketch })
}

/// Every stream is what its events make of it.
fn streams(storage: &Storage, log: &Log<'_>, expected: &mut BTreeSet<String>) -> Result<(), Broken> {
    let mut histories: BTreeMap<StreamName, Vec<&Kept<'_>>> = BTreeMap::new();
    for kept in log.values() {
        histories.entry(kept.essentials.stream_name()).or_default().push(kept);
    }
    for (name, mut history) in histories {
        history.sort_by_key(|kept| kept.essentials.sequence);
        let versions: Vec<u64> = history.iter().map(|kept| kept.essentials.version).collect();
        let contiguous = versions.iter().copied().eq(1..=versions.len() as u64);
        demand!(contiguous, "{name} has versions {versions:?}");
        let stream = fold(&history);
        let (_, stored) = Stream::read(read(storage, &keys::stream(&name))?).map_err(|e| e.to_string())?;
        demand!(stored == stream, "{name} is {stored:?} and should be {stream:?}");
        expected.insert(keys::stream(&name));
        if let Some(status) = &stream.attention {
            let key = keys::attention(&name, status.as_str());
            let row = read(storage, &key)?;
            demand!(*row == stream.attention_row(key.clone(), &name), "{key} leads elsewhere");
            expected.insert(key);
        }
        if let Some(due) = stream.due {
            let key = keys::due(&name, due);
            let row = read(storage, &key)?;
            demand!(*row == stream.due_row(key.clone(), &name), "{key} leads elsewhere");
            expected.insert(key);
        }
    }
    Ok(())
}

fn fold(history: &[&Kept<'_>]) -> Stream {
    let happened = |kept: &Kept<'_>| kept.sketch.time.unwrap_or(kept.recorded);
    let mut stream = Stream { version: history.len() as u64, ..Stream::default() };
    let first = history.iter().map(|kept| happened(kept)).min();
    let last = history.iter().map(|kept| happened(kept)).max();
    stream.times = first.zip(last);
    let mut newest = None;
    for kept in history {
        if let Some(ruling) = kept.sketch.ruling {
            stream.due = ruling.due;
        }
        let Some(status) = kept.essentials.status.clone() else { continue };
        let stamp = (happened(kept), kept.essentials.id.clone());
        if kept.sketch.ruling.is_none() && newest.as_ref().is_some_and(|newest| *newest >= stamp) {
            continue;
        }
        stream.state = kept.sketch.state.clone().or(stream.state);
        let wanted = ["faulted", "in-doubt", "pending-approval"].contains(&status.as_str());
        stream.attention = wanted.then(|| status.clone());
        stream.status = Some(StreamStatus { status, since: stamp.0, event: stamp.1.clone() });
        newest = Some(stamp);
    }
    stream
}

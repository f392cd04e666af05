//! What must be true of the answers that clients got.

use std::collections::{BTreeMap, HashMap, HashSet};

use tokio::time::Instant;

use super::{
    check::{Broken, Log, demand},
    faults::Poison,
    storage::{Landed, Storage},
    workload::Job,
    world::{Delivery, partition},
};
use crate::{
    domain::ids::{Identity, StreamName},
    store::{
        append::{Answer, AppendError, Refusal, Stored},
        keys,
    },
};

/// Which commit landed when, from the streams' and the identities' side.
struct Times<'a> {
    landed: &'a [Landed],
    stored: HashMap<Identity, Instant>,
    versions: HashMap<StreamName, Vec<(Instant, u64)>>,
}

impl<'a> Times<'a> {
    fn of(landed: &'a [Landed]) -> Self {
        let (mut stored, mut versions) = (HashMap::new(), HashMap::<_, Vec<_>>::new());
        for commit in landed {
            for event in &commit.events {
                stored.insert(event.identity(), commit.at);
                versions.entry(event.stream_name()).or_default().push((commit.at, event.version));
            }
        }
        Self { landed, stored, versions }
    }

    /// Whether there was a moment between two others at which the stream had this version and
    /// the identity was not stored.
    fn once(
        &self,
        stream: &StreamName,
        version: u64,
        identity: &Identity,
        from: Instant,
        to: Instant,
    ) -> bool {
        let to = self.stored.get(identity).map_or(to, |stored| to.min(*stored));
        let changes = self.versions.get(stream).map_or(&[][..], Vec::as_slice);
        let began = if version == 0 {
            Some(from)
        } else {
            changes.iter().find(|(_, v)| *v == version).map(|(at, _)| *at)
        };
        // The first event of a later commit ends it; a version inside a commit was never seen.
        let ended = changes.iter().find(|(_, v)| *v > version).map_or(to, |(at, _)| *at);
        began.is_some_and(|began| began.max(from) <= ended.min(to) && (began < ended || began == to))
    }
}

/// Checks every answer against the log.
pub(super) fn all(
    storage: &Storage,
    log: &Log<'_>,
    jobs: &[Job],
    deliveries: &[Delivery],
) -> Result<(), Broken> {
    let times = Times::of(&storage.landed);
    demand!(times.landed.iter().map(|l| l.events.len()).sum::<usize>() == log.len(), "a commit vanished");
    let mut firsts = HashSet::new();
    for delivery in deliveries {
        let job = &jobs[delivery.job];
        let verdict = match &delivery.outcome {
            Ok(answers) => stored(log, delivery, answers, &mut firsts),
            Err(AppendError::Refused(refusal)) => refused(storage, &times, log, job, delivery, refusal),
            Err(AppendError::Unavailable { .. }) => Ok(()),
        };
        verdict.map_err(|broken| format!("job {}: {broken}", delivery.job))?;
    }
    whole(log, jobs)
}

/// An acknowledged append is stored exactly where the answer says, and says what was sent.
fn stored(
    log: &Log<'_>,
    delivery: &Delivery,
    answers: &[Answer],
    firsts: &mut HashSet<Identity>,
) -> Result<(), Broken> {
    let events = &delivery.append.events;
    demand!(answers.len() == events.len(), "{} answers for {} events", answers.len(), events.len());
    for (candidate, answer) in events.iter().zip(answers) {
        let identity = candidate.event.identity();
        same(log, &identity, &answer.stored)?;
        let kept = &log[&identity];
        demand!(kept.sketch.content() == candidate.event.content, "other content was taken for a duplicate");
        if !answer.duplicate {
            demand!(firsts.insert(identity), "two answers say that they are the first");
            let before = kept.essentials.version - 1;
            demand!(candidate.event.expected.holds(before), "stored against {:?}", candidate.event.expected);
        }
    }
    Ok(())
}

/// What an answer says of a stored event is what the log says.
fn same(log: &Log<'_>, identity: &Identity, stored: &Stored) -> Result<(), Broken> {
    let kept = log.get(identity).ok_or_else(|| format!("{identity:?} was acknowledged and is not stored"))?;
    demand!(stored.position().partition == partition(), "another partition");
    demand!(
        *stored.essentials == kept.essentials && stored.recorded == kept.recorded,
        "answered {:?} and stored {:?}",
        stored.essentials,
        kept.essentials
    );
    let fingerprint = stored.fingerprint.ok_or("an answer without a fingerprint")?;
    demand!(fingerprint.matches(&kept.sketch.content()), "the fingerprint of an answer is another's");
    Ok(())
}

/// A refusal is true.
fn refused(
    storage: &Storage,
    times: &Times<'_>,
    log: &Log<'_>,
    job: &Job,
    delivery: &Delivery,
    refusal: &Refusal,
) -> Result<(), Broken> {
    let event = |index: usize| &delivery.append.events[index];
    match refusal {
        Refusal::VersionConflict { index, stream, expected, actual } => {
            let candidate = event(*index);
            let identity = candidate.event.identity();
            demand!(*stream == candidate.stream && *expected == candidate.event.expected, "another event");
            demand!(!expected.holds(*actual), "refused though {actual} is what it expects");
            // The events in front of it in the append count.
            let before = delivery.append.events[..*index].iter().filter(|c| c.stream == *stream).count();
            let true_once = (0..=before as u64).any(|ahead| {
                actual.checked_sub(ahead).is_some_and(|version| {
                    times.once(stream, version, &identity, delivery.arrived, delivery.answered)
                })
            });
            demand!(true_once, "refused because {stream} is at {actual}, which is not true ({expected:?})");
        }
        Refusal::IdentityReused { index, first } => {
            let candidate = event(*index);
            let identity = candidate.event.identity();
            same(log, &identity, first)?;
            demand!(log[&identity].sketch.content() != candidate.event.content, "a retry taken for reuse");
        }
        Refusal::IdentityRepeated { .. } => return Err("no append holds an identity twice".to_owned()),
        Refusal::BatchTooLarge => {
            nowhere(log, job)?;
            demand!(delivery.append.events.len() > 12, "a small append is called too large");
        }
        Refusal::NotStorable { .. } => {
            nowhere(log, job)?;
            let refuses = storage.weather.poison == Some(Poison::Refused);
            demand!(job.poisonous && refuses, "a good append is called not storable");
        }
    }
    Ok(())
}

/// What is refused for what it is was not stored before, and never will be.
fn nowhere(log: &Log<'_>, job: &Job) -> Result<(), Broken> {
    let stored = |id: &str| log.values().any(|kept| kept.essentials.id.as_str() == id);
    demand!(!job.atomic || !job.events.iter().any(|event| stored(&event.id)), "refused, and stored");
    Ok(())
}

/// An append stands in one commit, or nowhere.
fn whole(log: &Log<'_>, jobs: &[Job]) -> Result<(), Broken> {
    let places: BTreeMap<&str, u64> =
        log.values().map(|kept| (kept.essentials.id.as_str(), kept.commit)).collect();
    for job in jobs.iter().filter(|job| job.atomic) {
        let commits: HashSet<_> = job.events.iter().map(|e| places.get(e.id.as_str())).collect();
        demand!(commits.len() == 1, "an append was torn apart: {commits:?}");
    }
    Ok(())
}

/// Only commits that carry a debt row are said to owe something.
pub(super) fn debts(storage: &Storage, debts: &[u64]) -> Result<(), Broken> {
    for last in debts {
        demand!(storage.rows.contains_key(&keys::debt(*last)), "a debt at {last} that is not owed");
    }
    Ok(())
}

/// In fair weather nobody but the bad is told to come back later.
pub(super) fn fair(jobs: &[Job], deliveries: &[Delivery]) -> Result<(), Broken> {
    for delivery in deliveries.iter().filter(|delivery| !jobs[delivery.job].poisonous) {
        if let Err(AppendError::Unavailable { reason }) = &delivery.outcome {
            return Err(format!("job {} waited in vain beside a bad one ({reason})", delivery.job));
        }
    }
    Ok(())
}

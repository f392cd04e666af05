//! What Annals is compared with: the rows that it wrote, written without it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use annals::store::{
    keys,
    table::{Batch, CommitError, ETag, Op, Row, Table, TableName, Value},
};
use anyhow::{Context, bail};
use rand::Rng;

use crate::drive::IN_FLIGHT;

/// A fresh table whose head is there.
async fn fresh(table: &dyn Table, name: &str, first: &Batch) -> anyhow::Result<(TableName, ETag)> {
    let name = TableName::new(name).context("a table name")?;
    table.create_table(&name).await?;
    let Some(Op::Replace(head, _)) = first.ops().first() else { bail!("a batch begins with the head") };
    let batch = Batch::new(first.partition(), vec![Op::Insert(head.clone())])?;
    let etag = table.commit(&name, &batch).await?.context("the head's version")?;
    Ok((name, etag))
}

/// The same transactions with no logic at all: one after the other, as our committer has one in
/// flight. `warm` of them are not timed.
pub(crate) async fn raw(table: &dyn Table, batches: &[Batch], warm: usize) -> anyhow::Result<Duration> {
    let (before, timed) = batches.split_at(warm);
    let (name, etag) = fresh(table, "raw", batches.first().context("batches")?).await?;
    let etag = replay(table, &name, etag, before).await?;
    let started = Instant::now();
    replay(table, &name, etag, timed).await?;
    Ok(started.elapsed())
}

/// Commits batches one after the other. Gives the head's last version.
async fn replay(
    table: &dyn Table,
    name: &TableName,
    mut etag: ETag,
    batches: &[Batch],
) -> anyhow::Result<ETag> {
    for batch in batches {
        let mut ops = batch.ops().to_vec();
        if let Some(Op::Replace(_, version)) = ops.first_mut() {
            *version = etag.clone();
        }
        let batch = Batch::new(batch.partition(), ops)?;
        etag = sent(table, name, &batch, &etag).await?;
    }
    Ok(etag)
}

/// Commits, and looks after an unknown outcome (a kept connection that the server has just closed)
/// whether the head has moved, which nobody else does. Gives the head's new version.
async fn sent(table: &dyn Table, name: &TableName, batch: &Batch, before: &ETag) -> anyhow::Result<ETag> {
    loop {
        match table.commit(name, batch).await {
            Ok(etag) => return etag.context("the head's version"),
            Err(CommitError::Unknown { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let Ok(Some(head)) = table.get(name, batch.partition(), keys::HEAD).await else { continue };
        if head.etag != *before {
            return Ok(head.etag);
        }
    }
}

/// The rows of one event.
#[derive(Debug, Clone)]
struct Single {
    head: Row,
    commit: Row,
    rows: Vec<Op>,
}

/// Takes batches apart into the rows of each event: its own, its stream's, a commit and the head.
fn singles(batches: &[Batch]) -> Vec<Single> {
    let mut singles = Vec::new();
    for batch in batches {
        let rows: Vec<&Row> = batch.ops().iter().filter_map(Op::row).collect();
        let find = |key: &str| rows.iter().find(|row| row.key == key).copied();
        let Some(head) = find(keys::HEAD) else { continue };
        let of_kind = |kind: &'static str| rows.iter().filter(move |row| row.key.starts_with(kind));
        let commit = of_kind("c|").find(|row| row.key != keys::HEAD).copied();
        for event in of_kind("e|") {
            let same = |row: &&&Row| row.int("Sequence") == event.int("Sequence");
            let own = of_kind("i|").chain(of_kind("x|")).filter(same).map(|row| Op::Insert((*row).clone()));
            let stream = of_kind("s|").find(|row| {
                row.str("Category") == event.str("Category") && row.str("Stream") == event.str("Stream")
            });
            let mut ops = vec![Op::Insert((*event).clone())];
            ops.extend(own);
            // Its stream is there already, so its row is written as we write it.
            ops.extend(stream.map(|row| Op::Overwrite((*row).clone())));
            let share = of_kind("e|").count();
            let commit = commit.map(|row| one_of(row, share)).unwrap_or_else(|| head.clone());
            singles.push(Single { head: head.clone(), commit, rows: ops });
        }
    }
    singles
}

/// A commit row that holds the essentials of one event in place of `share`.
fn one_of(commit: &Row, share: usize) -> Row {
    let mut row = commit.clone();
    for (name, value) in &mut row.properties {
        if let Value::Bin(bytes) = value
            && name.starts_with("Essentials")
        {
            bytes.truncate(bytes.len() / share.max(1));
        }
    }
    row
}

/// The same rows one event at a time, by 32 tasks: read the head, write the event under its
/// version; whoever finds it moved pauses a moment (`polite`) or not, and reads it again. The first
/// `warm` batches are there before it starts, as they were for us. Gives the events and the time they
/// took.
pub(crate) async fn one_at_a_time(
    table: &Arc<dyn Table>,
    batches: &[Batch],
    warm: usize,
    most: usize,
    polite: bool,
) -> anyhow::Result<(usize, Duration)> {
    let first = batches.first().context("batches")?;
    let (before, timed) = batches.split_at(warm);
    let (name, etag) = fresh(table.as_ref(), if polite { "polite" } else { "single" }, first).await?;
    replay(table.as_ref(), &name, etag, before).await?;
    let partition = first.partition().to_owned();
    let mut singles = singles(timed);
    singles.truncate(most);
    let count = singles.len();
    let waiting = Arc::new(Mutex::new(singles.into_iter()));
    let started = Instant::now();
    let workers = (0..IN_FLIGHT).map(|_| {
        let (table, name, waiting) = (Arc::clone(table), name.clone(), Arc::clone(&waiting));
        let partition = partition.clone();
        tokio::spawn(async move {
            let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
            while let Some(single) = next() {
                write(table.as_ref(), &name, &partition, single, polite).await?;
            }
            anyhow::Ok(())
        })
    });
    for worker in futures::future::join_all(workers).await {
        worker??;
    }
    Ok((count, started.elapsed()))
}

/// Pause after the first conflict; it doubles, with jitter.
const PAUSE: Duration = Duration::from_millis(1);

async fn write(
    table: &dyn Table,
    name: &TableName,
    partition: &str,
    single: Single,
    polite: bool,
) -> anyhow::Result<()> {
    let mut conflicts = 0;
    loop {
        // A read that failed is read again; so is the head after an unknown outcome.
        let Ok(head) = table.get(name, partition, keys::HEAD).await else { continue };
        let head = head.context("the head")?;
        let last = head.row.int("Last").context("a number")? + 1;
        let batch = Batch::new(partition, single_ops(&single, last, head.etag))?;
        match table.commit(name, &batch).await {
            Ok(_) => return Ok(()),
            Err(CommitError::Changed { .. }) if polite => {
                let most = PAUSE * (1 << conflicts.min(PAUSES));
                conflicts += 1;
                let pause = most.mul_f64(rand::rng().random::<f64>());
                tokio::time::sleep(pause).await;
            }
            Err(CommitError::Changed { .. } | CommitError::Unknown { .. }) => {}
            // The attempt whose outcome was unknown had landed.
            Err(CommitError::Exists { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// How often the pause doubles.
const PAUSES: u32 = 5;

fn single_ops(single: &Single, last: i64, etag: ETag) -> Vec<Op> {
    let mut head = single.head.clone();
    if let Some((_, value)) = head.properties.iter_mut().find(|(name, _)| name == "Last") {
        *value = Value::Int(last);
    }
    let mut commit = single.commit.clone();
    commit.key = keys::commit(u64::try_from(last).unwrap_or_default());
    let mut ops = vec![Op::Replace(head, etag), Op::Insert(commit)];
    ops.extend(single.rows.iter().cloned());
    ops
}

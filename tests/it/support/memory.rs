//! Tables in memory: quick, counted, at the tamperer's mercy, and faulty when asked to be.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use annals::store::table::{
    Batch, CommitError, ETag, Op, Page, Range, ReadError, Row, StoredRow, Table, TableName,
};
use async_trait::async_trait;
use rand::{Rng, SeedableRng, rngs::SmallRng};

type Key = (String, String, String);

/// What is stored: by table, partition and row key.
#[derive(Debug, Default, Clone)]
pub(crate) struct Rows {
    pub(crate) rows: BTreeMap<Key, (Row, u64)>,
    tables: BTreeSet<String>,
}

/// The tables.
#[derive(Debug)]
pub(crate) struct Memory {
    state: Mutex<Rows>,
    random: Mutex<SmallRng>,
    /// Share of commits whose answer is lost, whatever became of them.
    faults: Mutex<f64>,
    etags: AtomicU64,
    pub(crate) requests: AtomicU64,
}

impl Memory {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            random: Mutex::new(SmallRng::seed_from_u64(seed)),
            faults: Mutex::new(0.0),
            etags: AtomicU64::new(1),
            requests: AtomicU64::new(0),
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, Rows> {
        self.state.lock().unwrap()
    }

    /// From now on the answers of this share of commits are lost.
    pub(crate) fn lose_answers(&self, share: f64) {
        *self.faults.lock().unwrap() = share;
    }

    /// Another storage with the same rows.
    pub(crate) fn copy(&self) -> Arc<Self> {
        let copy = Self::new(0);
        *copy.state() = self.state().clone();
        copy
    }

    fn apply(&self, table: &TableName, batch: &Batch) -> Result<Option<ETag>, CommitError> {
        let mut state = self.state();
        if !state.tables.contains(table.as_str()) {
            return Err(CommitError::NoTable);
        }
        let key = |row: &str| (table.to_string(), batch.partition().to_owned(), row.to_owned());
        for (index, op) in batch.ops().iter().enumerate() {
            let index = Some(index);
            let stored = state.rows.get(&key(op.key()));
            match op {
                Op::Insert(_) if stored.is_some() => return Err(CommitError::Exists { index }),
                Op::Replace(_, etag)
                    if stored.is_none_or(|(_, version)| etag.0.as_ref() != version.to_string()) =>
                {
                    return Err(CommitError::Changed { index });
                }
                Op::Overwrite(_) | Op::Delete(_) if stored.is_none() => {
                    return Err(CommitError::Missing { index });
                }
                _ => {}
            }
        }
        let mut first = None;
        for op in batch.ops() {
            let version = self.etags.fetch_add(1, Ordering::Relaxed);
            match op.row() {
                Some(row) => drop(state.rows.insert(key(&row.key), (row.clone(), version))),
                None => drop(state.rows.remove(&key(op.key()))),
            }
            first.get_or_insert(version);
        }
        Ok(first.map(|version| ETag(version.to_string().into())))
    }
}

fn stored((row, version): &(Row, u64)) -> StoredRow {
    StoredRow { row: row.clone(), etag: ETag(version.to_string().into()) }
}

#[async_trait]
impl Table for Memory {
    async fn create_table(&self, table: &TableName) -> Result<(), ReadError> {
        self.state().tables.insert(table.to_string());
        Ok(())
    }

    async fn delete_table(&self, table: &TableName) -> Result<(), ReadError> {
        self.state().tables.remove(table.as_str());
        Ok(())
    }

    async fn commit(&self, table: &TableName, batch: &Batch) -> Result<Option<ETag>, CommitError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let lost = |reason: &str| CommitError::Unknown { reason: reason.to_owned(), retry_after: None };
        let (fails, before) = {
            let mut random = self.random.lock().unwrap();
            (random.random_bool(*self.faults.lock().unwrap()), random.random_bool(0.5))
        };
        if fails && before {
            return Err(lost("never arrived"));
        }
        let outcome = self.apply(table, batch);
        if fails { Err(lost("the answer was lost")) } else { outcome }
    }

    async fn get(
        &self,
        table: &TableName,
        partition: &str,
        key: &str,
    ) -> Result<Option<StoredRow>, ReadError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let state = self.state();
        if !state.tables.contains(table.as_str()) {
            return Err(ReadError::NoTable);
        }
        Ok(state.rows.get(&(table.to_string(), partition.to_owned(), key.to_owned())).map(stored))
    }

    async fn scan(
        &self,
        table: &TableName,
        partition: &str,
        range: &Range,
        limit: usize,
    ) -> Result<Page, ReadError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let state = self.state();
        if !state.tables.contains(table.as_str()) {
            return Err(ReadError::NoTable);
        }
        let key = |row: &str| (table.to_string(), partition.to_owned(), row.to_owned());
        let mut rows = state.rows.range(key(&range.from)..key(&range.to));
        let page = rows.by_ref().take(limit).map(|(_, row)| stored(row)).collect();
        Ok(Page { rows: page, next: rows.next().map(|((_, _, row), _)| row.clone()) })
    }
}

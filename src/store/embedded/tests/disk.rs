//! A disk in memory that can lose power, fail, and count.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use redb::{Database, StorageBackend};

use super::super::{Embedded, open};

/// What a disk writes whole, whatever happens.
const SECTOR: usize = 512;

/// A disk; clones are the same one.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What the process sees.
    seen: Vec<u8>,
    /// What a loss of power leaves in any case.
    kept: Vec<u8>,
    /// Written since the last sync: a loss of power leaves any part of it, in any order.
    unsynced: Vec<Change>,
    syncs: usize,
    full: bool,
}

#[derive(Debug)]
enum Change {
    Length(u64),
    Bytes(u64, Vec<u8>),
}

impl Disk {
    pub(in super::super) fn database(&self) -> Database {
        let database = open::builder().create_with_backend(self.clone()).unwrap();
        open::prepare(&database).unwrap();
        database
    }

    pub(super) fn open(&self) -> Embedded {
        Embedded::over(self.database()).unwrap()
    }

    pub(in super::super) fn syncs(&self) -> usize {
        self.state().syncs
    }

    /// From now on every write fails, or none does any more.
    pub(in super::super) fn fill(&self, full: bool) {
        self.state().full = full;
    }

    /// The disk as it may come back if power were lost now.
    pub(super) fn after_power_loss(&self, seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let state = self.state();
        let mut image = state.kept.clone();
        for change in &state.unsynced {
            match change {
                Change::Length(length) if random.random() => set_len(&mut image, *length),
                Change::Length(_) => {}
                Change::Bytes(offset, bytes) => {
                    for (at, sector) in (*offset..).step_by(SECTOR).zip(bytes.chunks(SECTOR)) {
                        if random.random_bool(0.7) {
                            write(&mut image, at, sector);
                        }
                    }
                }
            }
        }
        let kept = image.clone();
        Self(Arc::new(Mutex::new(State { seen: image, kept, ..State::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writable(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(state) }
    }
}

fn set_len(image: &mut Vec<u8>, length: u64) {
    image.resize(usize::try_from(length).unwrap(), 0);
}

fn write(image: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let from = usize::try_from(offset).unwrap();
    let to = from + bytes.len();
    if image.len() < to {
        image.resize(to, 0);
    }
    image[from..to].copy_from_slice(bytes);
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap();
        let state = self.state();
        let bytes = state.seen.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.writable()?;
        set_len(&mut state.seen, len);
        state.unsynced.push(Change::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.writable()?;
        state.syncs += 1;
        state.unsynced.clear();
        state.kept = state.seen.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.writable()?;
        write(&mut state.seen, offset, data);
        state.unsynced.push(Change::Bytes(offset, data.to_vec()));
        Ok(())
    }
}

//! Opening the data file: its folder, its rights, its lock, its tables.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use redb::{Builder, Database, DatabaseError};

use super::{ROWS, TABLES};

/// The data file in its folder.
const FILE: &str = "annals.redb";
/// Memory for cached pages of the file. The operating system caches it too: this saves calls, not
/// disk reads, and a handler is small.
const CACHE: usize = 16 * 1024 * 1024;

/// Why the data folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it, or another driver in this one.
    #[error("the data folder {0} is in use by another process")]
    InUse(PathBuf),
    /// It cannot be made or reached.
    #[error("the data folder {0} cannot be opened")]
    Folder(PathBuf, #[source] io::Error),
    /// The file in it cannot be used.
    #[error("the data file in {0} cannot be opened")]
    File(PathBuf, #[source] Box<redb::Error>),
}

/// Opens the file in `folder`; makes both when they are missing, for their owner alone.
pub(super) fn open(folder: &Path) -> Result<Database, OpenError> {
    let path = make(folder).map_err(|error| OpenError::Folder(folder.to_owned(), error))?;
    let in_file = |error: redb::Error| OpenError::File(folder.to_owned(), Box::new(error));
    let database = match builder().create(path) {
        Ok(database) => database,
        Err(DatabaseError::DatabaseAlreadyOpen) => return Err(OpenError::InUse(folder.to_owned())),
        Err(error) => return Err(in_file(error.into())),
    };
    prepare(&database).map_err(in_file)?;
    Ok(database)
}

/// How every file of this driver is opened.
pub(super) fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    builder
}

/// Makes the tables of the file, so that a reader always finds them.
pub(super) fn prepare(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(ROWS)?;
    transaction.open_table(TABLES)?;
    Ok(transaction.commit()?)
}

/// The data file of a folder.
pub(super) fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

fn make(folder: &Path) -> io::Result<PathBuf> {
    let path = file(folder);
    if path.exists() {
        return Ok(path);
    }
    let mut directory = DirBuilder::new();
    let mut file = OpenOptions::new();
    directory.recursive(true);
    file.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        directory.mode(0o700);
        file.mode(0o600);
    }
    directory.create(folder)?;
    file.open(&path)?;
    // The file's own fsync keeps what is in it; that there is such a file, its folders keep.
    #[cfg(unix)]
    for folder in fs::canonicalize(folder)?.ancestors().take(2) {
        File::open(folder)?.sync_all()?;
    }
    Ok(path)
}

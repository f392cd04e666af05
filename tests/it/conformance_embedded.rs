//! The embedded driver keeps the promises of the port.

use std::ops::Deref;

use annals::store::embedded::Embedded;
use tempfile::TempDir;

/// A driver and the folder that it works in, which goes when the test is over.
struct InFolder {
    driver: Embedded,
    _folder: TempDir,
}

impl Deref for InFolder {
    type Target = Embedded;

    fn deref(&self) -> &Embedded {
        &self.driver
    }
}

async fn open() -> InFolder {
    let folder = tempfile::tempdir().expect("a folder");
    InFolder { driver: Embedded::open(folder.path()).expect("the driver opens"), _folder: folder }
}

annals::table_conformance! { open }

//! The driver over storage accounts keeps the promises of the port, on Azurite.

use std::sync::Arc;

use annals::store::azure::AzureTables;

use crate::support::azurite::Azurite;

async fn open() -> Arc<AzureTables> {
    Arc::new(Azurite::shared().account().tables())
}

annals::table_conformance! { open }

//! The driver over storage accounts keeps the promises of the port, on Azurite.

use std::{ops::Deref, sync::Arc};

use annals::{
    store::azure::{Account, AzureTables},
    testing::azurite::Azurite,
};

/// A driver and the service that it talks to, which ends with its last user.
struct OnAzurite {
    driver: AzureTables,
    _azurite: Arc<Azurite>,
}

impl Deref for OnAzurite {
    type Target = AzureTables;

    fn deref(&self) -> &AzureTables {
        &self.driver
    }
}

async fn open() -> OnAzurite {
    let azurite = Azurite::shared().expect("Azurite starts");
    let account = Account::open(&azurite.storage()).expect("the account opens");
    OnAzurite { driver: account.tables(), _azurite: azurite }
}

annals::table_conformance! { open }

//! The Azure driver keeps the promises of the port, on Azurite.

use std::{ops::Deref, sync::Arc};

use annals::{
    store::azure::{Account, AzureTables},
    testing::azurite::Azurite,
};

/// A driver, and the Azurite that must outlive it.
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
    let driver = Account::open(&azurite.storage()).expect("the account opens").tables();
    OnAzurite { driver, _azurite: azurite }
}

annals::table_conformance! { open }

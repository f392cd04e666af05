//! Serving: from settings to a listening handler. The port first, storage after.

use std::{
    future::IntoFuture,
    io::Read,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpListener, sync::oneshot, time::timeout};

use super::{App, router, turns::Turns};
use crate::{
    checkpoint::{Checkpoints, Container},
    config::{CheckpointSettings, Settings, SiloRules, Storage, silo},
    domain::timestamp::SystemClock,
    feed::{all_stream::Waiters, handover::Handover},
    http::Gatekeeper,
    journal::Journal,
    queue::{
        Queues, Tokens,
        dev::{DevQueues, NoQueues},
    },
    store::{
        Store,
        embedded::{Embedded, LazyEmbedded, OpenError},
        registry::{Place, Silos},
        table::Table,
    },
};

/// How often what was turned away is looked through.
const LEDGER: Duration = Duration::from_secs(5);
/// How long requests may go on once the process is asked to stop, and how long what is not audited yet
/// may take to be written then. Together less than the ten seconds after which most would kill it.
const GRACE: Duration = Duration::from_secs(3);
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Why the handler does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port cannot be listened on.
    #[error("127.0.0.1:{0} cannot be listened on")]
    Port(u16, #[source] std::io::Error),
    /// Serving ended.
    #[error("serving ended")]
    Ended(#[source] std::io::Error),
    /// Somebody asked it to stop, and it did so in order.
    #[error("asked to stop")]
    Stopped,
    /// The data folder cannot be used.
    #[error("the data folder cannot be used")]
    Folder(#[from] OpenError),
    /// No HTTP client could be made.
    #[error("no HTTP client can be made")]
    Client(#[from] reqwest::Error),
    /// This build has no driver for storage accounts.
    #[error("this build serves the embedded store alone: it was made without the feature `azure`")]
    NoAzure,
    /// The driver could not be made.
    #[cfg(feature = "azure")]
    #[error("the storage account cannot be used")]
    Azure(#[from] crate::store::azure::AzureError),
}

type Drivers = (Arc<dyn Table>, Arc<dyn Queues>);

/// The drivers that settings ask for.
fn drivers(settings: &Settings) -> Result<Drivers, ServeError> {
    let dev = settings
        .dev_queues
        .as_ref()
        .map(DevQueues::new)
        .transpose()?
        .map(|dev| Arc::new(dev) as Arc<dyn Queues>);
    match &settings.storage {
        Storage::Embedded(folder) => {
            let queues = dev.unwrap_or_else(|| {
                tracing::warn!("no queue service is configured: feed debt of direct appends waits");
                Arc::new(NoQueues)
            });
            Ok((Arc::new(LazyEmbedded::new(folder.clone())), queues))
        }
        #[cfg(feature = "azure")]
        Storage::Azure(account) => {
            let azure = crate::store::azure::Account::open(account)?;
            let queues = dev.unwrap_or_else(|| Arc::new(azure.queues()));
            Ok((Arc::new(azure.tables()), queues))
        }
        #[cfg(not(feature = "azure"))]
        Storage::Azure(_) => Err(ServeError::NoAzure),
    }
}

/// Opens the accounts that tenants have of their own. Only an operator names one, and it is held to
/// the rules again whenever it is opened: settings may have become stricter.
#[derive(Debug)]
struct Accounts {
    rules: SiloRules,
}

impl Silos for Accounts {
    fn open(&self, place: &Place) -> Result<Arc<dyn Table>, String> {
        let account = silo(&|name| std::env::var(name).ok(), &self.rules, place)?;
        #[cfg(feature = "azure")]
        {
            let account = crate::store::azure::Account::open(&account).map_err(|error| error.to_string())?;
            Ok(Arc::new(account.tables()))
        }
        #[cfg(not(feature = "azure"))]
        {
            let _ = account;
            Err(ServeError::NoAzure.to_string())
        }
    }
}

/// Everything that a request may need, on the storage that the settings name.
///
/// # Errors
/// [`ServeError`] when a driver cannot be made. Storage itself is not touched.
pub fn app(settings: &Settings) -> Result<App, ServeError> {
    over(drivers(settings)?, settings)
}

/// As [`app`], for a command that works on storage itself: it opens a data folder at once, and says
/// at once when another process holds it.
///
/// # Errors
/// [`ServeError`].
pub fn tool(settings: &Settings) -> Result<App, ServeError> {
    let (table, queues) = drivers(settings)?;
    match &settings.storage {
        Storage::Embedded(folder) => over((Arc::new(Embedded::open(folder)?), queues), settings),
        Storage::Azure(_) => over((table, queues), settings),
    }
}

fn checkpoints(settings: &Settings) -> Result<Checkpoints, ServeError> {
    let CheckpointSettings { key, container } = settings.checkpoint.clone();
    let container = match container {
        None => None,
        // Its address carries a signature.
        Some(url) if url.query().is_some() => Some(Container::new(url, None)?),
        Some(url) => Some(Container::new(url, storage_tokens(&settings.storage)?)?),
    };
    Ok(Checkpoints::new(key, container))
}

/// The app's own identity, where it has one.
fn storage_tokens(storage: &Storage) -> Result<Option<Arc<dyn Tokens>>, ServeError> {
    match storage {
        #[cfg(feature = "azure")]
        Storage::Azure(account) => Ok(crate::store::azure::storage_tokens(&account.credential)?),
        _ => Ok(None),
    }
}

pub(super) fn over((table, queues): Drivers, settings: &Settings) -> Result<App, ServeError> {
    let handover = Handover::new(Arc::clone(&queues), settings.publish_queue.clone());
    let store = Arc::new_cyclic(|store| {
        let (handover, store) = (handover.clone(), std::sync::Weak::clone(store));
        let debtors = Box::new(move |tenant: &_| handover.debtor(std::sync::Weak::clone(&store), tenant));
        Store::new(
            table,
            Box::new(Accounts { rules: settings.silos.clone() }),
            Arc::new(SystemClock),
            debtors,
        )
    });
    Ok(App {
        journal: Journal::new(Arc::clone(&store)),
        store,
        handover,
        queues,
        ingest_queue: settings.ingest_queue.clone(),
        publish_queue: settings.publish_queue.clone(),
        public_url: settings.public_url.clone(),
        checkpoints: checkpoints(settings)?,
        waiters: Waiters::default(),
        queue_tenants: settings.queue_tenants.clone(),
        turns: Turns::default(),
        gatekeeper: Gatekeeper::new(settings)?,
        silos: settings.silos.clone(),
    })
}

/// Serves as a custom handler until the host kills the process, or somebody asks it to stop.
///
/// # Errors
/// [`ServeError`]; never ends well: the host does not restart a handler that exits with 0.
pub async fn serve(settings: &Settings) -> Result<(), ServeError> {
    let port = settings.port;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = TcpListener::bind(address).await.map_err(|error| ServeError::Port(port, error))?;
    let app = Arc::new(app(settings)?);
    keep_ledger(&app);
    let (stop, stopping) = oneshot::channel::<()>();
    let asked = async { drop(stopping.await) };
    let server = axum::serve(listener, router(Arc::clone(&app), port)).with_graceful_shutdown(asked);
    let mut server = tokio::spawn(server.into_future());
    tracing::info!(evt = "handler.started", port, version = env!("CARGO_PKG_VERSION"));
    tokio::select! {
        ended = &mut server => {
            let error = ended.map_err(std::io::Error::other).and_then(|served| served).err();
            Err(ServeError::Ended(error.unwrap_or_else(|| std::io::ErrorKind::Interrupted.into())))
        }
        () = asked_to_stop() => {
            let _ = stop.send(());
            // Whatever takes longer is cut off, as if the process had been killed.
            let _ = timeout(GRACE, server).await;
            let ledger = &app.gatekeeper.ledger;
            let waiting = ledger.waiting();
            let flush = ledger.flush(&app.store, app.store.clock().now(), LAST_WORDS);
            // Cut off in the middle, it has written what it has written.
            let _ = timeout(LAST_WORDS, flush).await;
            let written = waiting.saturating_sub(ledger.waiting());
            tracing::info!(evt = "handler.stopped", waiting, written, "asked to stop");
            Err(ServeError::Stopped)
        }
    }
}

/// SIGTERM: how services and containers are stopped. The Functions host never sends it: it kills.
async fn asked_to_stop() {
    #[cfg(unix)]
    if let Ok(mut signal) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        signal.recv().await;
        return;
    }
    std::future::pending().await
}

/// Writes down who was turned away and who read, from time to time.
fn keep_ledger(app: &Arc<App>) {
    let app = Arc::downgrade(app);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LEDGER).await;
            let Some(app) = app.upgrade() else { return };
            app.gatekeeper.ledger.write(&app.store, app.store.clock().now()).await;
        }
    });
}

/// Ends the process when its stdin does: `annals dev` holds the other end, so that a handler never
/// outlives it, however it ends.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        let mut stdin = std::io::stdin().lock();
        let mut nothing = [0; 64];
        while stdin.read(&mut nothing).is_ok_and(|count| count > 0) {}
        std::process::exit(1);
    });
}

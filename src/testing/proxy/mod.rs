//! A proxy in front of a storage account that can be slow, lose things and answer for the service.
//!
//! Requests and replies pass byte for byte (path, headers, body), so signatures stay valid: Shared
//! Key covers the path and some headers, never the address that was dialled.

mod wire;

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use self::wire::{Connection, Reply, Request};
use super::azurite::{self, Azurite};
use crate::config::AzureStorage;

/// What kind of request it is, by its method and path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One row.
    Get,
    /// A range of rows.
    Query,
    /// A transaction.
    Batch,
    /// A table is made or removed.
    Table,
    /// Anything on the queue endpoint.
    Queue,
}

/// What may happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends before the request reaches the service.
    LoseRequest,
    /// The service does its work, and the connection ends instead of the reply.
    LoseReply,
    /// The service never hears of it, and neither does the caller.
    Hang,
    /// The service does its work, and the caller hears nothing.
    HangAfter,
    /// This status, and the service never hears of it. To a transaction 409 and 412 are given as
    /// the service gives them: inside a 202.
    Answer(u16),
    /// The service does its work, and the caller is given this status.
    AnswerAfter(u16),
}

/// How the proxy misbehaves.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Added to every exchange.
    pub latency: Duration,
    /// Added on top: up to this, at random.
    pub jitter: Duration,
    /// How probable each fault is, out of 1; they are tried in order, and the first wins.
    pub faults: Vec<(Fault, f64)>,
    /// Which requests the faults are for; all, when empty.
    pub only: Vec<Kind>,
    /// `Retry-After` of a 429, 500 or 503.
    pub retry_after: Option<u64>,
}

#[derive(Debug)]
struct State {
    plan: Mutex<(Plan, SmallRng)>,
    counts: Mutex<HashMap<Kind, u64>>,
    faults: AtomicU64,
}

/// A running proxy. It ends when this value is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    state: Arc<State>,
    storage: String,
    listeners: [JoinHandle<()>; 2],
}

impl FaultProxy {
    /// Starts a well-behaved proxy in front of `azurite`. Runs on the current runtime.
    ///
    /// # Errors
    /// When no port can be listened on.
    pub async fn start(azurite: &Azurite) -> io::Result<Self> {
        let state = Arc::new(State {
            plan: Mutex::new((Plan::default(), SmallRng::seed_from_u64(0))),
            counts: Mutex::default(),
            faults: AtomicU64::new(0),
        });
        let (tables, table_listener) = listen(azurite.tables(), false, &state).await?;
        let (queues, queue_listener) = listen(azurite.queues(), true, &state).await?;
        let storage = azurite::connection_string(&tables, &queues);
        Ok(Self { state, storage, listeners: [table_listener, queue_listener] })
    }

    /// Misbehaves from now on as planned. The same seed and the same order of requests give the same
    /// faults.
    pub fn set(&self, seed: u64, plan: Plan) {
        *self.state.plan() = (plan, SmallRng::seed_from_u64(seed));
    }

    /// Behaves well from now on.
    pub fn heal(&self) {
        self.set(0, Plan::default());
    }

    /// Requests of one kind that have come in.
    pub fn count(&self, kind: Kind) -> u64 {
        self.state.counts().get(&kind).copied().unwrap_or(0)
    }

    /// All requests that have come in.
    pub fn total(&self) -> u64 {
        self.state.counts().values().sum()
    }

    /// Faults that have been played.
    pub fn faults(&self) -> u64 {
        self.state.faults.load(Ordering::Relaxed)
    }

    /// For `AnnalsStorage`.
    pub fn connection_string(&self) -> String {
        self.storage.clone()
    }

    /// The account behind the proxy as settings.
    pub fn storage(&self) -> AzureStorage {
        azurite::storage(&self.storage)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.listeners.iter().for_each(JoinHandle::abort);
    }
}

/// Listens in front of `endpoint` and gives the endpoint to use in its place.
async fn listen(endpoint: &str, queue: bool, state: &Arc<State>) -> io::Result<(String, JoinHandle<()>)> {
    let rest = endpoint.strip_prefix("http://").ok_or(io::ErrorKind::InvalidInput)?;
    let (upstream, path) = rest.split_once('/').ok_or(io::ErrorKind::InvalidInput)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}/{path}", listener.local_addr()?);
    let (state, upstream) = (Arc::clone(state), upstream.to_owned());
    let task = tokio::spawn(async move {
        // Connections end with the listener.
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            while connections.try_join_next().is_some() {}
            let (state, upstream) = (Arc::clone(&state), upstream.clone());
            connections.spawn(async move {
                // A connection that ends is what a client sees, not an error of ours.
                let _ = serve(stream, &upstream, queue, &state).await;
            });
        }
    });
    Ok((address, task))
}

async fn serve(client: TcpStream, upstream: &str, queue: bool, state: &State) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut client = Connection::new(client);
    let mut service: Option<Connection> = None;
    while let Some(request) = client.request().await? {
        let kind = kind(&request, queue);
        let (wait, fault) = state.meet(kind);
        tokio::time::sleep(wait).await;
        let reached = !matches!(fault, Some(Fault::LoseRequest | Fault::Hang | Fault::Answer(_)));
        let reply = if reached { Some(forward(&mut service, upstream, &request).await?) } else { None };
        match (fault, reply) {
            (Some(Fault::LoseRequest | Fault::LoseReply), _) => return Ok(()),
            (Some(Fault::Hang | Fault::HangAfter), _) => std::future::pending().await,
            (Some(Fault::Answer(status) | Fault::AnswerAfter(status)), _) => {
                let retry_after = state.plan().0.retry_after;
                client.send(&Reply::made_up(status, kind, retry_after).0).await?;
            }
            (None, Some(reply)) => client.send(&reply.0).await?,
            (None, None) => return Ok(()),
        }
    }
    Ok(())
}

/// One exchange with the service, on a connection that is kept; a fresh one where it was closed.
async fn forward(service: &mut Option<Connection>, upstream: &str, request: &Request) -> io::Result<Reply> {
    // Never sent twice: an exchange that fails on a kept connection may have been carried out.
    if let Some(kept) = service.as_mut().filter(|kept| kept.is_open()) {
        return kept.exchange(request).await;
    }
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let fresh = service.insert(Connection::new(stream));
    fresh.exchange(request).await
}

fn kind(request: &Request, queue: bool) -> Kind {
    match () {
        () if queue => Kind::Queue,
        () if request.path().ends_with("/$batch") => Kind::Batch,
        () if request.path().contains("/Tables") => Kind::Table,
        () if request.path().contains("RowKey=") => Kind::Get,
        () => Kind::Query,
    }
}

impl State {
    fn plan(&self) -> std::sync::MutexGuard<'_, (Plan, SmallRng)> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, HashMap<Kind, u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request and draws its fate.
    fn meet(&self, kind: Kind) -> (Duration, Option<Fault>) {
        *self.counts().entry(kind).or_default() += 1;
        let (plan, dice) = &mut *self.plan();
        let wait = plan.latency + plan.jitter.mul_f64(dice.random::<f64>());
        if !plan.only.is_empty() && !plan.only.contains(&kind) {
            return (wait, None);
        }
        let fault = plan.faults.iter().find(|(_, probability)| dice.random::<f64>() < *probability);
        if fault.is_some() {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        (wait, fault.map(|(fault, _)| *fault))
    }
}

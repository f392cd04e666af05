//! `annals dev`: the Functions host on one machine, for development. Production is the real host.
//!
//! It reads `host.json` and `function-definitions/`, starts the handler as a child, speaks the wire
//! contract to it, tries failed messages again, moves poison messages, checks and shows what
//! Event Grid would have received. Queues and the published feed live in memory and end with the
//! process; stored events live in the data folder.

mod change_feed;
mod definitions;
mod demo;
mod gateway;
mod handler;
mod invoke;
mod log;
mod mangle;
mod output;
mod queues;

use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use clap::Args;
use tokio::net::TcpListener;

use self::{
    change_feed::ChangeFeed,
    definitions::Definitions,
    gateway::Gateway,
    handler::Handler,
    invoke::{Invoker, work_queue, work_timer},
    queues::QueueService,
};
use crate::telemetry;

/// Set for the handler: its stdin is held open by `annals dev`, and it ends with it.
pub const PARENT: &str = "ANNALS_DEV_PARENT";

/// What the shell may hold for another program, and would lead to an account that others use: here
/// nobody is asked who they are, and the change feed ends with the process. Empty counts as not set.
const NOT_OURS: [&str; 4] = [
    "AnnalsStorage",
    "AnnalsStorage__tableServiceUri",
    "AnnalsStorage__queueServiceUri",
    "ANNALS_CHECKPOINT_CONTAINER",
];

/// Options of `annals dev`.
#[derive(Debug, Args)]
pub struct Options {
    /// Port to listen on, on this machine alone.
    #[arg(long, default_value_t = 7071)]
    port: u16,
    /// Folder of the embedded store.
    #[arg(long, default_value = ".annals/dev")]
    data: PathBuf,
    /// Folder that holds host.json and function-definitions.
    #[arg(long, default_value = ".")]
    app: PathBuf,
    /// Send every published event to this URL too, as a subscription would.
    #[arg(long)]
    forward: Option<String>,
    /// Play realistic traffic, and show what to look at.
    #[arg(long)]
    demo: bool,
}

/// Runs until Ctrl-C.
///
/// # Errors
/// When the port is taken, the application cannot be read, or the handler does not start.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let filter = std::env::var("ANNALS_LOG").ok();
    telemetry::start(filter.as_deref().or(options.demo.then_some("warn,annals=warn")), false);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!(
            "port {} cannot be listened on: is another `annals dev` running? --port chooses another",
            options.port
        )
    })?;
    let port = listener.local_addr()?.port();
    let settings = app_settings(&options, port)?;
    let _folder = claim(&options.data)?;
    let root = options
        .app
        .canonicalize()
        .with_context(|| format!("there is no folder {}", options.app.display()))?;
    let definitions = Definitions::read(&root, &settings)?;
    let feed = match options.forward {
        Some(url) => ChangeFeed::forwarding(url),
        None => Arc::default(),
    };
    let program = program(&root, &definitions.program)?;
    let handler = Handler::new(program, definitions.arguments.clone(), root, free_port()?, settings);
    let handler = Arc::new(handler);
    let invoker = Arc::new(Invoker::new(Arc::clone(&handler), feed, definitions.timeout)?);
    let queues: Arc<QueueService> = Arc::default();
    // The doors first: the handler may put messages as soon as it runs.
    let gateway = Arc::new(Gateway {
        invoker: Arc::clone(&invoker),
        queues: Arc::clone(&queues),
        functions: definitions.functions.clone(),
        port,
    });
    let router = gateway::router(gateway, &definitions.route_prefix);
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    handler.start().await?;
    for function in &definitions.functions {
        work_queue(&invoker, &queues, &definitions.queues, function);
        work_timer(&invoker, function);
    }
    tracing::info!("annals dev listens on http://localhost:{port}; Ctrl-C ends it");
    if options.demo {
        demo::play(port, &invoker.feed).await?;
    }
    tokio::select! {
        served = serving => served?.context("serving ended"),
        _ = tokio::signal::ctrl_c() => {
            match queues.left() {
                0 => tracing::info!("ended"),
                left => tracing::warn!("ended; {left} messages were still on the queues and are gone"),
            }
            Ok(())
        }
    }
}

/// Takes the data folder for this process; the lock ends with it, however it ends.
fn claim(folder: &Path) -> anyhow::Result<File> {
    let name = folder.display();
    let mut builder = std::fs::DirBuilder::new();
    // For its owner alone, as the store itself makes it.
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let made = builder.recursive(true).create(folder);
    made.with_context(|| format!("the folder {name} cannot be made"))?;
    let lock = File::create(folder.join("dev.lock"));
    let lock = lock.with_context(|| format!("the folder {name} cannot be written to"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            bail!("the folder {name} is in use by another `annals dev`: --data chooses another")
        }
        Err(TryLockError::Error(error)) => Err(error).context(format!("the folder {name} cannot be locked")),
    }
}

/// The handler: what host.json names, where that file exists (as the host decides), else ourselves.
fn program(root: &Path, named: &Path) -> anyhow::Result<PathBuf> {
    let named = root.join(named);
    if named.is_file() {
        return Ok(named);
    }
    std::env::current_exe().context("this program does not know where it is")
}

/// The app settings of the handler: what Bicep sets in production.
fn app_settings(options: &Options, port: u16) -> anyhow::Result<BTreeMap<String, String>> {
    let data = std::path::absolute(&options.data).context("the data folder has no name")?;
    let key = checkpoint_key(&data)?;
    let pairs = [
        ("ANNALS_CHECKPOINT_KEY", setting("ANNALS_CHECKPOINT_KEY", &key)),
        ("ANNALS_DATA_DIR", data.display().to_string()),
        ("ANNALS_PUBLIC_URL", format!("http://localhost:{port}")),
        ("ANNALS_INGEST_QUEUE", setting("ANNALS_INGEST_QUEUE", "annals-ingest")),
        ("ANNALS_PUBLISH_QUEUE", setting("ANNALS_PUBLISH_QUEUE", "annals-publish")),
        ("ANNALS_DEV_QUEUES", format!("http://127.0.0.1:{port}/dev/queues")),
        (PARENT, "1".to_owned()),
        (crate::config::DEV, "1".to_owned()),
        ("ANNALS_AUTH", "off".to_owned()),
    ];
    let pairs = pairs.into_iter().map(|(name, value)| (name.to_owned(), value));
    Ok(pairs.chain(NOT_OURS.map(|name| (name.to_owned(), String::new()))).collect())
}

/// The key that signs checkpoints here. Only `annals dev` makes its own: in production, whoever can
/// rewrite history must not hold it.
fn checkpoint_key(data: &std::path::Path) -> anyhow::Result<String> {
    let file = data.join("checkpoint.key");
    if let Ok(text) = std::fs::read_to_string(&file) {
        return Ok(text.trim().to_owned());
    }
    let key = crate::domain::signing::SigningKey::generate("annals-dev")?;
    std::fs::create_dir_all(data).with_context(|| format!("{} cannot be made", data.display()))?;
    std::fs::write(&file, key.secret()).with_context(|| format!("{} cannot be written", file.display()))?;
    std::fs::write(data.join("checkpoint.pub"), key.verifier().to_string())?;
    Ok(key.secret())
}

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())
}

/// A loopback port that is free now; the host takes the same small risk that it is not later.
fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    Ok(listener.local_addr()?.port())
}

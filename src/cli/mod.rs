//! The command line.

mod send;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{config::Settings, dev, host, telemetry};

/// A per-tenant audit log, event history and change feed. Without a command it serves as an
/// Azure Functions custom handler.
#[derive(Debug, Parser)]
#[command(name = "annals", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole system on this machine: the Functions host, the handler, an embedded store.
    Dev(dev::Options),
    /// Put messages on a queue of `annals dev`.
    Send(SendArgs),
}

#[derive(Debug, Args)]
struct SendArgs {
    /// Where `annals dev` listens.
    #[arg(long, default_value = "http://localhost:7071")]
    url: String,
    /// The queue.
    #[arg(long, default_value = "annals-ingest")]
    queue: String,
    /// Files, each one message; `-` or none for stdin.
    files: Vec<PathBuf>,
}

impl Cli {
    /// Does what was asked. Never exits with 0 unless it was done: the Functions host does not
    /// restart a handler that exits with 0.
    pub async fn run(self) -> ExitCode {
        let outcome = match self.command {
            None => serve().await,
            Some(Command::Dev(options)) => dev::run(options).await,
            Some(Command::Send(args)) => send::send(&args.url, &args.queue, &args.files).await,
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(&format!("annals: {}", telemetry::chain(error.as_ref())));
                ExitCode::FAILURE
            }
        }
    }
}

async fn serve() -> anyhow::Result<()> {
    let lookup = |name: &str| std::env::var(name).ok();
    telemetry::serve(lookup("ANNALS_LOG").as_deref(), lookup("ANNALS_OTLP_ENDPOINT").as_deref());
    if lookup(dev::PARENT).is_some() {
        host::end_with_parent();
    }
    let settings = Settings::read(&lookup)?;
    Ok(host::serve(&settings).await?)
}

/// The one line that says why nothing was done.
#[expect(clippy::print_stderr, reason = "the last word of a command belongs on stderr")]
fn say(line: &str) {
    eprintln!("{line}");
}

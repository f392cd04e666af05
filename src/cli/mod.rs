//! The command line.

mod send;
mod store;

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
    /// Add, show, change and close tenants, on storage itself.
    Tenant {
        #[command(flatten)]
        place: store::Where,
        #[command(subcommand)]
        command: store::TenantCommand,
    },
    /// Make, list, disable and rotate the API keys of a tenant, on storage itself.
    Key {
        #[command(flatten)]
        place: store::Where,
        #[command(subcommand)]
        command: store::KeyCommand,
    },
    /// Say what principals of the identity provider may do in a tenant, on storage itself.
    Role {
        #[command(flatten)]
        place: store::Where,
        #[command(subcommand)]
        command: store::RoleCommand,
    },
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
            Some(Command::Tenant { place, command }) => {
                quiet();
                store::tenant(&place, command).await
            }
            Some(Command::Key { place, command }) => {
                quiet();
                store::key(&place, command).await
            }
            Some(Command::Role { place, command }) => {
                quiet();
                store::role(&place, command).await
            }
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
    let on_platform = std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("WEBSITE_"));
    if settings.auth.off && on_platform {
        anyhow::bail!("ANNALS_AUTH must not be `off` where any WEBSITE_ setting is: this is not development");
    }
    Ok(host::serve(&settings).await?)
}

/// Logs of a command that answers on its own: only what went wrong.
fn quiet() {
    telemetry::start(std::env::var("ANNALS_LOG").ok().as_deref().or(Some("error")), false);
}

#[expect(clippy::print_stdout, reason = "the answer of a command belongs on stdout")]
fn show(line: &str) {
    println!("{line}");
}

/// The one line that says why nothing was done.
#[expect(clippy::print_stderr, reason = "the last word of a command belongs on stderr")]
fn say(line: &str) {
    eprintln!("{line}");
}

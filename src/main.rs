//! The `annals` binary: an Azure Functions custom handler, and the tools around it.

use std::process::ExitCode;

use annals::cli::Cli;
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(cli.run()),
        Err(_) => ExitCode::FAILURE,
    }
}

//! The `annals` binary: an Azure Functions custom handler, and the tools around it.

use std::process::ExitCode;

use annals::cli::Cli;
use clap::Parser;

/// Threads for reads of a data file and for names of hosts. The allocator keeps memory for each of
/// them, and a handler is small; more would not read faster on its one or two cores.
const BLOCKING_THREADS: usize = 4;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.max_blocking_threads(BLOCKING_THREADS).enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(cli.run()),
        Err(_) => ExitCode::FAILURE,
    }
}

//! The `annals` binary: an Azure Functions custom handler, and the tools around it.

use std::process::ExitCode;

use annals::cli::Cli;
use clap::Parser;

/// Threads for everything else. A handler waits far more than it computes, and two threads spend a sixth
/// of their time on waking each other (ADR 0062).
const WORKER_THREADS: usize = 1;
/// Threads for reads of a data file and for names of hosts. The allocator keeps memory for each of
/// them, and a handler is small; more would not read faster on its one or two cores.
const BLOCKING_THREADS: usize = 4;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(cli.run()),
        Err(_) => ExitCode::FAILURE,
    }
}

//! A small synchronous service of the old kind (API keys: create, enable, disable, delete) that has put
//! a command journal around code it did not rewrite.
//!
//! `ANNALS_URL=http://localhost:7071/api ANNALS_TENANT=acme [ANNALS_KEY=…] cargo run --example legacy-api`
//! beside `cargo run -- dev`; `tests/it/legacy_api.rs` runs it end to end.

mod api;
mod journal;

use std::sync::Arc;

use anyhow::Context;
use api::Service;
use journal::Journal;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("ANNALS_URL").context("ANNALS_URL is not set")?;
    let tenant = std::env::var("ANNALS_TENANT").context("ANNALS_TENANT is not set")?;
    let journal = Journal::new(&url, &tenant, std::env::var("ANNALS_KEY").ok())?;
    let service = Arc::new(Service::new(Some(journal)));
    // Whatever was approved and not run, because a process ended in between, is found here.
    let worker = Arc::clone(&service);
    tokio::spawn(async move {
        loop {
            worker.run_approved().await;
            tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8088").await?;
    axum::serve(listener, api::router(service)).await?;
    Ok(())
}

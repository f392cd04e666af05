//! The whole system where the way to storage misbehaves: seeded, end to end.

#![allow(clippy::print_stdout, reason = "figures, for whoever runs it with --nocapture")]

use std::{sync::Arc, time::Instant};

use annals::testing::{
    azurite::Azurite,
    proxy::{Fault, FaultProxy, Kind, Plan},
};

use crate::support::{handler::Handler, load::Load};

/// Everything that a way to storage, or storage, can do to a request.
fn faults() -> Plan {
    Plan {
        faults: vec![
            (Fault::LoseRequest, 0.01),
            (Fault::LoseReply, 0.03),
            (Fault::Answer(500), 0.003),
            (Fault::AnswerAfter(500), 0.005),
            (Fault::Answer(503), 0.003),
            (Fault::AnswerAfter(503), 0.003),
            (Fault::Answer(429), 0.002),
            (Fault::Answer(409), 0.01),
            (Fault::AnswerAfter(409), 0.01),
            (Fault::Answer(412), 0.01),
            (Fault::AnswerAfter(412), 0.01),
            (Fault::HangAfter, 0.001),
        ],
        latency: std::time::Duration::from_millis(2),
        jitter: std::time::Duration::from_millis(10),
        only: vec![Kind::Batch, Kind::Get, Kind::Query],
        retry_after: Some(1),
    }
}

async fn keeps_every_promise(seed: u64) {
    let azurite = Azurite::start().unwrap();
    let proxy = FaultProxy::start(&azurite).await.unwrap();
    let mut handlers = Vec::new();
    for _ in 0..2 {
        handlers.push(Arc::new(Handler::start(&[("AnnalsStorage", &proxy.connection_string())]).await));
    }
    handlers[0].register("acme").await;
    proxy.set(seed, faults());
    let load = Load { messages: 100, streams: 20, seed, patience: 50 };
    let began = Instant::now();
    let delivered = load.deliver(&handlers).await;
    println!(
        "seed {seed}: {} faults in {} requests, {} failed deliveries, {:.1?}",
        proxy.faults(),
        proxy.total(),
        delivered.failures,
        began.elapsed()
    );
    assert!(proxy.faults() > 20, "the way to storage misbehaved");
    proxy.heal();
    load.check(&handlers[0], &delivered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misbehaving_transport_breaks_no_promise_seed_1() {
    keeps_every_promise(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misbehaving_transport_breaks_no_promise_seed_2() {
    keeps_every_promise(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misbehaving_transport_breaks_no_promise_seed_3() {
    keeps_every_promise(3).await;
}

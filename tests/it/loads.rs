//! Loads with repeats: stored once, contiguous, published, whoever is killed and however many
//! there are.

#![allow(clippy::print_stdout, reason = "figures, for whoever runs it with --nocapture")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use annals::testing::azurite::Azurite;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::support::{
    handler::{Handler, embedded},
    load::{Delivered, Load},
};

/// SIGKILLs during the large load.
const KILLS: u32 = 24;
/// Longest that a delivery may wait while others are served. Far above what is seen on a machine that
/// does nothing else (2 s); one that starves waits for its deadline of 20 s, fails, and waits again.
const STARVED: Duration = Duration::from_secs(15);

/// Messages of the large load: all of them where `ANNALS_LOAD=full` says so, as CI does.
fn large() -> usize {
    if std::env::var("ANNALS_LOAD").is_ok_and(|size| size == "full") { 100_000 } else { 20_000 }
}

fn tell(what: &str, delivered: &Delivered, took: Duration) {
    let Delivered { deliveries, failures, longest, places } = delivered;
    println!(
        "{what}: {} events, {deliveries} deliveries, {failures} failures, {took:.1?}, longest wait {longest:.2?}",
        places.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mixed_load_with_repeats_and_sigkills_is_stored_once_and_published() {
    let (_folder, handler) = embedded().await;
    let handler = Arc::new(handler);
    let load = Load { messages: large(), streams: 2_000, seed: 1, patience: 1_000 };
    let began = Instant::now();
    // Short enough for the last to come before the load is over.
    let longest_life = (large() as u64 / 40).min(1_000);
    let killer = {
        let handler = Arc::clone(&handler);
        tokio::spawn(async move {
            let mut random = SmallRng::seed_from_u64(2);
            for kill in 1.. {
                // At any moment of its life: while it starts, and when it has been busy for long.
                let longest = if kill % 3 == 0 { 20 } else { longest_life };
                tokio::time::sleep(Duration::from_millis(random.random_range(1..longest))).await;
                handler.kill_and_restart().await;
                if kill == KILLS {
                    return;
                }
            }
        })
    };
    let delivered = load.deliver(&[Arc::clone(&handler)]).await;
    tell("one handler, killed", &delivered, began.elapsed());
    assert!(killer.is_finished(), "the load was over before the last SIGKILL");
    load.check(&handler, &delivered).await;
}

/// So many handlers on one tenant and one Azurite.
async fn side_by_side(processes: usize) {
    let azurite = Azurite::start().unwrap();
    let mut handlers = Vec::new();
    for _ in 0..processes {
        handlers.push(Arc::new(Handler::start(&[("AnnalsStorage", &azurite.connection_string())]).await));
    }
    handlers[0].register("acme").await;
    let load = Load { messages: 3_000, streams: 100, seed: processes as u64, patience: 5 };
    let began = Instant::now();
    let delivered = load.deliver(&handlers).await;
    tell(&format!("{processes} handlers"), &delivered, began.elapsed());
    load.check(&handlers[processes - 1], &delivered).await;
    assert!(
        delivered.longest < STARVED,
        "a delivery waited {:?} while others were served",
        delivered.longest
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_handlers_share_a_tenant_and_neither_starves() {
    side_by_side(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_handlers_share_a_tenant_and_none_starves() {
    side_by_side(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_handlers_share_a_tenant_and_none_starves() {
    side_by_side(8).await;
}

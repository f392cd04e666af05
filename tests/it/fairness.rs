//! A quiet tenant beside a noisy one: what it waits, on both stores. ADR 0050 says why there is no more
//! to the scheduler than a line for each partition of each tenant.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use annals::testing::{
    azurite::Azurite,
    proxy::{Fault, FaultProxy, Plan},
};
use reqwest::StatusCode;
use serde_json::json;
use tokio::{sync::Semaphore, task::JoinHandle};

use crate::support::handler::Handler;

/// Appends one event, and says how long that took.
async fn append(handler: &Handler, tenant: &str, id: &str) -> Duration {
    let event = json!({
        "specversion": "1.0", "id": id, "source": "/s", "type": "t", "subject": id, "data": "y".repeat(500),
    });
    let headers = [("content-type", "application/cloudevents+json")];
    let path = format!("/api/tenants/{tenant}/events");
    let started = Instant::now();
    let status = handler.send("POST", &path, &headers, Some(event.to_string().into_bytes())).await.status();
    assert_eq!(status, StatusCode::CREATED, "{tenant} {id}");
    started.elapsed()
}

/// Many senders of one tenant, each with its next event as soon as it has an answer. The streams are all
/// new, so that few events fit into one commit, and there is always a backlog.
struct Flood {
    stop: Arc<AtomicBool>,
    senders: Vec<JoinHandle<Vec<Duration>>>,
}

impl Flood {
    fn start(handler: &Arc<Handler>, senders: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let send = |sender| {
            let (handler, stop) = (Arc::clone(handler), Arc::clone(&stop));
            async move {
                let mut waits = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    waits.push(append(&handler, "noisy", &format!("{sender}-{}", waits.len())).await);
                }
                waits
            }
        };
        let senders = (0..senders).map(|sender| tokio::spawn(send(sender))).collect();
        Self { stop, senders }
    }

    /// Ends it; gives how long each of its appends waited.
    async fn stop(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        let mut waits = Vec::new();
        for sender in self.senders {
            waits.extend(sender.await.unwrap());
        }
        waits
    }
}

fn median(mut waits: Vec<Duration>) -> Duration {
    waits.sort_unstable();
    waits[waits.len() / 2]
}

/// How long a quiet tenant waits alone, how long beside a flood, and how long the flood itself.
async fn waits(settings: &[(&str, &str)], senders: usize) -> [Duration; 3] {
    let settings = [settings, &[("ANNALS_WRITES_PER_SECOND", "1000000")]].concat();
    let handler = Arc::new(Handler::start(&settings).await);
    for tenant in ["noisy", "quiet"] {
        handler.register(tenant).await;
    }
    let quiet = async |name: &str| {
        let mut waits = Vec::new();
        for n in 0..15 {
            waits.push(append(&handler, "quiet", &format!("{name}-{n}")).await);
        }
        median(waits)
    };
    let alone = quiet("alone").await;
    let flood = Flood::start(&handler, senders);
    // Until the backlog stands.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let beside = quiet("beside").await;
    let noise = flood.stop().await;
    assert!(noise.len() > senders, "there was no flood: {}", noise.len());
    let noisy = median(noise);
    [alone, beside, noisy]
}

/// Storage is what is waited for here: 100 ms an exchange. If both tenants stood in one line, the quiet
/// one would wait for the backlog of the other as that does itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_tenant_does_not_wait_for_the_backlog_of_a_noisy_one_in_an_account() {
    let azurite = Azurite::start().unwrap();
    let proxy = FaultProxy::start(&azurite).await.unwrap();
    let connection = proxy.connection_string();
    proxy.set(0, Plan { latency: Duration::from_millis(100), ..Plan::default() });
    let [alone, beside, noisy] = waits(&[("AnnalsStorage", &connection)], 300).await;
    println!("account: quiet alone {alone:?}, beside the flood {beside:?}; the flood itself {noisy:?}");
    assert!(beside * 2 < noisy, "the quiet tenant waits {beside:?}, the noisy one {noisy:?}");
}

/// One writer's thread serves all tenants of a data folder, and takes everybody's next commit in one go.
/// The processor is what is short here, on a machine that may be shared: only starvation would show.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_tenant_is_served_beside_a_noisy_one_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let [alone, beside, noisy] = waits(&[("ANNALS_DATA_DIR", folder.path().to_str().unwrap())], 48).await;
    println!("folder: quiet alone {alone:?}, beside the flood {beside:?}; the flood itself {noisy:?}");
    assert!(beside < Duration::from_secs(3), "the quiet tenant waits {beside:?}");
}

/// The queue is one line for all tenants, and the host starts 32 invocations at a time. Those of a tenant
/// whose own account has fallen silent give up after 20 seconds each; a hundred of them, one after the
/// other, would keep everybody else's messages waiting for more than a minute.
#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_tenant_whose_account_is_silent_do_not_keep_others_waiting() {
    let azurite = Azurite::start().unwrap();
    let proxy = FaultProxy::start(&azurite).await.unwrap();
    let (shared, own) = (azurite.second_connection_string(), proxy.connection_string());
    let settings = [("AnnalsStorage", shared.as_str()), ("AnnalsSilos__vault", own.as_str())];
    let handler = Arc::new(Handler::start(&settings).await);
    for (tenant, storage) in [("silent", json!({ "connection": "vault" })), ("quiet", json!("shared"))] {
        let put = json!({ "storage": storage });
        let (status, told) = handler.api("PUT", &format!("/api/tenants/{tenant}"), Some(&put)).await;
        assert_eq!(status, StatusCode::CREATED, "{told}");
    }
    proxy.set(0, Plan { faults: vec![(Fault::Hang, 1.0)], ..Plan::default() });
    let slots = Arc::new(Semaphore::new(32));
    let send = |tenant: &'static str, n: usize| {
        let (handler, slots) = (Arc::clone(&handler), Arc::clone(&slots));
        async move {
            let _slot = slots.acquire().await.unwrap();
            let event = json!({ "specversion": "1.0", "id": n.to_string(), "source": "/s", "type": "t", "tenantid": tenant });
            handler.invoke("ingest", &event.to_string(), 1).await
        }
    };
    let started = Instant::now();
    let backlog = futures::future::join_all((0..160).map(|n| send("silent", n)));
    let quiet = async {
        tokio::task::yield_now().await;
        (send("quiet", 0).await, started.elapsed())
    };
    let (failed, (stored, waited)) = tokio::join!(backlog, quiet);
    println!("the quiet tenant's message waited {waited:?}");
    assert!(failed.iter().all(Result::is_err), "they come again");
    assert!(stored.is_ok(), "{stored:?}");
    assert!(waited < Duration::from_secs(60), "one round of patience, not five: {waited:?}");
    proxy.heal();
    let again = futures::future::join_all((0..40).map(|n| send("silent", n))).await;
    assert!(again.iter().filter(|one| one.is_ok()).count() >= 4, "it is noticed at once that it is back");
    let again = futures::future::join_all((0..40).map(|n| send("silent", n))).await;
    assert!(again.iter().all(Result::is_ok), "{again:?}");
}

//! Everything stored is published, whatever crashes or is down meanwhile, and nothing else is.
//! The test plays the queue service and the Functions host.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use annals::testing::azurite::Azurite;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    handler::{Handler, instance_event},
    queues::Queues,
    read::{assert_contiguous, everything, sent, sequences},
};

const APPEND: &str = "/api/tenants/acme/events";
/// The sweep leaves younger debt to whoever wrote it.
const GRACE: Duration = Duration::from_secs(61);
/// SIGKILLs during the appends.
const KILLS: usize = 20;
/// Clients that append, each one event after the other.
const CLIENTS: usize = 12;

struct World {
    _folder: TempDir,
    handler: Arc<Handler>,
    queues: Queues,
    /// Ids of the feed events that Event Grid took.
    published: BTreeSet<String>,
}

impl World {
    async fn new() -> Self {
        let (folder, queues) = (tempfile::tempdir().unwrap(), Queues::start().await);
        let settings =
            [("ANNALS_DATA_DIR", folder.path().to_str().unwrap()), ("ANNALS_DEV_QUEUES", queues.url())];
        let handler = Arc::new(Handler::start(&settings).await);
        handler.register("acme").await;
        Self { _folder: folder, handler, queues, published: BTreeSet::new() }
    }

    fn took(&mut self, events: &[Value]) {
        self.published.extend(events.iter().map(|event| event["id"].as_str().unwrap().to_owned()));
    }

    /// Delivers everything on the publish queue, with Event Grid up. Gives the number of messages.
    async fn publish(&mut self) -> usize {
        let messages = self.queues.take("annals-publish");
        for message in &messages {
            let events = self.handler.invoke("publish", message, 1).await.unwrap();
            self.took(&events);
        }
        messages.len()
    }

    /// Sweeps, as the timer does every so often, until there is nothing left to hand over.
    async fn sweep(&mut self) -> usize {
        let mut swept = 0;
        loop {
            self.handler.invoke("sweep", "", 1).await.unwrap();
            match self.publish().await {
                0 => return swept,
                commits => swept += commits,
            }
        }
    }

    fn assert_published(&self, events: &[Value]) {
        let stored: BTreeSet<_> =
            sequences(events).iter().map(|sequence| format!("p00-{sequence}")).collect();
        let (lost, made_up): (Vec<_>, Vec<_>) =
            (stored.difference(&self.published).collect(), self.published.difference(&stored).collect());
        assert!(lost.is_empty() && made_up.is_empty(), "not published {lost:?}, not stored {made_up:?}");
    }
}

fn event(id: &str) -> Value {
    json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "t", "subject": id.split('-').next() })
}

/// Appends one event after the other and never a second time; gives the ids of those that were
/// acknowledged.
async fn append_once(handler: Arc<Handler>, client: usize, stop: Arc<AtomicBool>) -> Vec<String> {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(40)).no_proxy().build().unwrap();
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let id = format!("{client}-{number}");
        let request = http.post(handler.url(APPEND)).header("content-type", "application/cloudevents+json");
        match request.body(event(&id).to_string()).send().await {
            Ok(answer) if answer.status() == StatusCode::CREATED => acknowledged.push(id),
            // Refused, and so neither stored nor published: the tenant has asked too often.
            Ok(answer) if answer.status() == StatusCode::TOO_MANY_REQUESTS => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(answer) => panic!("{} {:?}", answer.status(), answer.text().await),
            // Nobody listens, or it was killed in the middle of it.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_commit_handover_and_answer_everything_stored_is_published() {
    let mut world = World::new().await;
    world.queues.set_delay(Duration::from_millis(30));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| tokio::spawn(append_once(Arc::clone(&world.handler), client, Arc::clone(&stop))))
        .collect();
    let mut random = SmallRng::seed_from_u64(1);
    for kill in 0..KILLS {
        // For a while the queue service is down as well.
        world.queues.set_down((5..8).contains(&kill));
        tokio::time::sleep(Duration::from_millis(random.random_range(30..400))).await;
        world.handler.kill_and_restart().await;
    }
    stop.store(true, Ordering::SeqCst);
    let acknowledged: BTreeSet<_> =
        futures::future::join_all(clients).await.into_iter().flat_map(Result::unwrap).collect();
    world.queues.set_delay(Duration::ZERO);

    let events = everything(&world.handler, "acme").await;
    let stored: BTreeSet<_> = sent(&events).map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    assert_contiguous(&events, stored.len());
    assert!(acknowledged.is_subset(&stored), "acknowledged and lost");
    let unanswered = stored.len() - acknowledged.len();
    tokio::time::sleep(GRACE).await;
    let (by_queue, swept) = (world.publish().await, world.sweep().await);
    println!(
        "{} stored, {unanswered} of them unanswered; {by_queue} commits by queue, {swept} swept",
        stored.len()
    );
    assert!(by_queue > 0 && swept > 0 && unanswered > 0, "each way was gone");
    world.assert_published(&events);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_grid_outage_fails_no_append_and_loses_no_feed_event() {
    let mut world = World::new().await;
    let appended = AtomicUsize::new(0);
    let append = async |handler: &Handler| {
        let id = format!("x-{}", appended.fetch_add(1, Ordering::SeqCst));
        assert_eq!(handler.api("POST", APPEND, Some(&event(&id))).await.0, StatusCode::CREATED);
    };
    let queued = |number: usize| {
        instance_event("acme", &format!("q-{number}"), "i-1", "transition-completed", json!({})).to_string()
    };
    // A round of an outage is as long as all tries of a message on a queue.
    let mut ingest: Vec<String> = (0..5).map(queued).collect();
    for _ in 0..3 {
        for _ in 0..10 {
            append(&world.handler).await;
        }
        for message in &ingest {
            for count in 1..=3 {
                world.handler.invoke("ingest", message, count).await.unwrap();
            }
            // The host has moved it to the poison queue, where its tries are numbered too.
            for count in 1..=3 {
                let events = world.handler.invoke("ingest-poison", message, count).await.unwrap();
                if events.is_empty() {
                    // Nothing to publish, so nothing failed: the message is completed.
                    break;
                }
                assert!(
                    count < 3,
                    "the poison queue would drop the message, and its event was never published"
                );
            }
        }
        let put_back = world.queues.take("annals-ingest");
        assert_eq!(put_back.len(), ingest.len(), "what could not be published has a fresh life");
        ingest = put_back;
        // Waits for the hand-over, which is in the background.
        tokio::time::sleep(Duration::from_millis(500)).await;
        for message in world.queues.take("annals-publish") {
            for count in 1..=3 {
                world.handler.invoke("publish", &message, count).await.unwrap();
            }
            assert_eq!(world.handler.invoke("publish-poison", &message, 1).await, Ok(Vec::new()));
        }
    }
    let events = everything(&world.handler, "acme").await;
    assert_contiguous(&events, 35);
    assert!(world.published.is_empty());
    // Event Grid is back.
    for message in &ingest {
        let events = world.handler.invoke("ingest", message, 1).await.unwrap();
        world.took(&events);
    }
    tokio::time::sleep(GRACE).await;
    assert!(world.sweep().await > 0);
    world.assert_published(&events);
}

#[tokio::test]
async fn what_http_stored_is_published_through_the_queue_on_azurite() {
    let azurite = Azurite::shared().unwrap();
    let handler = Handler::start(&[("AnnalsStorage", &azurite.connection_string())]).await;
    let settings = json!({ "changeFeed": { "enabled": true } });
    let tenant = format!("t{}", rand::random::<u64>());
    assert_eq!(
        handler.api("PUT", &format!("/api/tenants/{tenant}"), Some(&settings)).await.0,
        StatusCode::CREATED
    );
    let event = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "t", "subject": "x", "data": "canary" });
    let path = format!("/api/tenants/{tenant}/events");
    let (status, answer) = handler.api("POST", &path, Some(&event)).await;
    assert_eq!(status, StatusCode::CREATED);
    // Whatever the queue did with it: this is the message that is owed.
    let last = &answer[0]["position"]["sequence"];
    let message = json!({ "tenant": tenant, "partition": "p00", "last": last }).to_string();
    let events = handler.invoke("publish", &message, 1).await.unwrap();
    assert_eq!((events.len(), &events[0]["id"]), (1, &json!(format!("p00-{last}"))));
    assert!(!events[0].to_string().contains("canary"));
    let href = events[0]["data"]["href"]
        .as_str()
        .unwrap()
        .strip_prefix("https://annals.example")
        .unwrap()
        .to_owned();
    assert_eq!(handler.api("GET", &href, None).await.1["data"], json!("canary"));
    assert_eq!(handler.invoke("publish-poison", &message, 1).await, Ok(Vec::new()));
}

//! Past essentials go out on the change feed again: the same events under the same ids, in batches that
//! Event Grid takes, whatever crashes meanwhile. The test plays the queue service and the host.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    proof::{get, post},
    support::{handler::Handler, queues::Queues},
};

/// Most bytes of one batch: Event Grid takes 1 MB.
const BATCH: usize = 900_000;

struct World {
    _folder: TempDir,
    handler: Arc<Handler>,
    queues: Queues,
    /// What the feed said first, by id.
    first: BTreeMap<String, Value>,
}

impl World {
    /// A tenant whose log holds `count` events of two types, all published once.
    async fn with(count: usize) -> Self {
        let (folder, queues) = (tempfile::tempdir().unwrap(), Queues::start().await);
        let settings =
            [("ANNALS_DATA_DIR", folder.path().to_str().unwrap()), ("ANNALS_DEV_QUEUES", queues.url())];
        let handler = Arc::new(Handler::start(&settings).await);
        handler.register("acme").await;
        let mut world = Self { _folder: folder, handler, queues, first: BTreeMap::new() };
        for from in (0..count).step_by(20) {
            let batch: Vec<_> = (from..(from + 20).min(count)).map(event).collect();
            world.took(&world.handler.invoke("ingest", &json!(batch).to_string(), 1).await.unwrap());
        }
        // The tenant's own first events, which did not come through ingest.
        for message in world.queues.take("annals-publish") {
            world.took(&world.handler.invoke("publish", &message, 1).await.unwrap());
        }
        let told = json!(world.first.keys().filter(|id| id.starts_with("p00-")).count());
        assert_eq!(get(&world.handler, "completeness").await["events"], told, "all is published");
        world
    }

    fn took(&mut self, events: &[Value]) {
        for event in events {
            self.first.insert(event["id"].as_str().unwrap().to_owned(), event.clone());
        }
    }

    async fn start(&self, body: Value) -> String {
        let replay = post(&self.handler, "change-feed/replay", body).await;
        assert_eq!(replay["state"], json!("running"), "{replay}");
        replay["id"].as_str().unwrap().to_owned()
    }

    async fn state(&self, id: &str) -> Value {
        get(&self.handler, &format!("change-feed/replay/{id}")).await
    }

    /// Delivers a message; what it publishes must be what was published first.
    async fn deliver(&self, message: &str, count: u32) -> Result<Vec<String>, String> {
        let events = self.handler.invoke("publish", message, count).await?;
        let bytes: usize = events.iter().map(|event| event.to_string().len() + 1).sum();
        assert!(bytes < BATCH, "a batch of {bytes} bytes");
        for event in &events {
            assert_eq!(Some(event), self.first.get(event["id"].as_str().unwrap()), "the same event again");
        }
        Ok(events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect())
    }

    /// Delivers all messages, until there are none; the ids of the events, batch by batch.
    async fn run(&self) -> Vec<Vec<String>> {
        let mut batches = Vec::new();
        loop {
            let messages = self.queues.take("annals-publish");
            if messages.is_empty() {
                return batches;
            }
            assert!(batches.len() < 100, "it does not end");
            for message in messages {
                batches.push(self.deliver(&message, 1).await.unwrap());
            }
        }
    }
}

/// Some 4 KB on the feed, for the long identity.
fn event(n: usize) -> Value {
    json!({
        "specversion": "1.0", "id": format!("e-{n}-{}", "i".repeat(900)), "source": format!("/{}", "s".repeat(900)),
        "type": if n.is_multiple_of(3) { "t.third" } else { "t.other" }, "subject": format!("x-{}", n % 9),
        "tenantid": "acme", "correlationid": format!("c-{}", n % 4), "data": { "n": n },
    })
}

fn distinct(batches: &[Vec<String>]) -> Vec<String> {
    let mut ids: Vec<_> = batches.concat();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_sends_the_same_events_again_in_batches_that_event_grid_takes() {
    let world = World::with(700).await;
    let id = world.start(json!({})).await;
    let begun = world.state(&id).await;
    assert_eq!((&begun["published"], &begun["remaining"]), (&json!(0), &json!(world.first.len())));
    let batches = world.run().await;
    assert!(batches.len() >= 3, "{} batches", batches.len());
    let sent = batches.concat();
    assert_eq!(sent.len(), world.first.len(), "each once");
    assert_eq!(distinct(&batches), world.first.keys().cloned().collect::<Vec<_>>());
    let done = world.state(&id).await;
    assert_eq!(
        (&done["state"], &done["published"], &done["remaining"]),
        (&json!("done"), &json!(sent.len()), &json!(0))
    );
    // A part, of one type.
    let after = get(&world.handler, "events?limit=100").await["cursor"].clone();
    let until = get(&world.handler, "events?limit=400").await["cursor"].clone();
    let id = world.start(json!({ "after": after, "until": until, "types": ["t.third"] })).await;
    let part = world.run().await.concat();
    let wanted: Vec<_> = get(&world.handler, "events?limit=300&type=t.*").await["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["type"] == json!("t.third"))
        .map(|event| event["position"]["sequence"].as_u64().unwrap())
        .filter(|sequence| (101..=400).contains(sequence))
        .map(|sequence| format!("p00-{sequence}"))
        .collect();
    assert!(part.len() >= 60 && wanted.iter().all(|id| part.contains(id)), "{part:?}");
    assert!(part.iter().all(|id| world.first[id]["type"] == json!("t.third")));
    assert_eq!(world.state(&id).await["state"], json!("done"));
    // A cursor of nobody, and a replay that there is not.
    let (status, _) = world
        .handler
        .api("POST", "/api/tenants/acme/change-feed/replay", Some(&json!({ "after": "AAAA" })))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, _) =
        world.handler.api("POST", "/api/tenants/acme/change-feed/replay/none/stop", Some(&json!({}))).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_goes_on_after_a_kill_and_ends_once() {
    let world = World::with(700).await;
    let id = world.start(json!({})).await;
    let mut batches = Vec::new();
    // The answer of the first batch is lost: the host delivers its message again.
    let message = world.queues.take("annals-publish").pop().unwrap();
    let lost = world.deliver(&message, 1).await.unwrap();
    assert!(!lost.is_empty());
    let again = world.deliver(&message, 2).await.unwrap();
    assert_eq!(again, lost, "published again");
    batches.push(again);
    assert_eq!(world.state(&id).await["published"], json!(lost.len()), "counted once");
    // Killed before and after the next message is on the queue.
    for pause in [60, 300] {
        let mut messages = world.queues.take("annals-publish");
        let message = messages.pop().unwrap();
        for same in messages {
            // The twin that the redelivery put: it moves nothing on.
            batches.push(world.deliver(&same, 1).await.unwrap());
        }
        world.queues.set_delay(Duration::from_millis(400));
        let invoked = async { world.handler.invoke("publish", &message, 1).await };
        let killed = async {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            world.handler.kill_and_restart().await;
        };
        let (answer, ()) = tokio::join!(invoked, killed);
        world.queues.set_delay(Duration::ZERO);
        if answer.is_err() {
            batches.push(world.deliver(&message, 2).await.unwrap());
        }
    }
    batches.extend(world.run().await);
    let done = world.state(&id).await;
    assert_eq!((&done["state"], &done["remaining"]), (&json!("done"), &json!(0)), "{done}");
    assert_eq!(distinct(&batches), world.first.keys().cloned().collect::<Vec<_>>(), "none is left out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_stopped_stalls_and_goes_on() {
    let world = World::with(700).await;
    let id = world.start(json!({})).await;
    let set = async |what: &str| {
        post(&world.handler, &format!("change-feed/replay/{id}/{what}"), json!({})).await["state"].clone()
    };
    let message = world.queues.take("annals-publish").pop().unwrap();
    let mut batches = vec![world.deliver(&message, 1).await.unwrap()];
    assert_eq!(set("stop").await, json!("stopped"));
    assert_eq!(world.run().await.concat(), Vec::<String>::new(), "nothing goes out any more");
    assert_eq!(world.state(&id).await["published"], json!(batches[0].len()));
    assert_eq!(set("resume").await, json!("running"));
    // Event Grid does not take it, as often as the host tries.
    let message = world.queues.take("annals-publish").pop().unwrap();
    world.handler.invoke("publish-poison", &message, 1).await.unwrap();
    assert_eq!(world.state(&id).await["state"], json!("stalled"));
    assert!(world.queues.take("annals-publish").is_empty());
    assert_eq!(set("resume").await, json!("running"));
    batches.extend(world.run().await);
    assert_eq!(batches.concat().len(), world.first.len(), "each once");
    assert_eq!(distinct(&batches), world.first.keys().cloned().collect::<Vec<_>>());
    assert_eq!(world.state(&id).await["state"], json!("done"));
    // What is done stays done.
    assert_eq!(set("stop").await, json!("done"));
    assert_eq!(set("resume").await, json!("done"));
}

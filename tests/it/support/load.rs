//! A mixed load on the queue, as a queue delivers: 32 at a time, each message one to three times,
//! in any order, to any handler, again after a failure.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::SliceRandom};
use serde_json::json;

use super::{
    handler::{Handler, instance_event},
    read::{assert_contiguous, everything},
};

/// Deliveries in flight.
const IN_FLIGHT: usize = 32;
/// What must never leave: it stands wherever senders put what is nobody's business.
const CANARY: &str = "canary-4711";

/// How much to deliver.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) messages: usize,
    pub(crate) streams: usize,
    pub(crate) seed: u64,
    /// How often one delivery may fail before the test does.
    pub(crate) patience: u32,
}

/// What became of a load.
#[derive(Debug)]
pub(crate) struct Delivered {
    /// The feed event's id of each message.
    pub(crate) places: BTreeMap<usize, String>,
    /// Longest wait of a delivery for its answer, its retries included.
    pub(crate) longest: Duration,
    pub(crate) deliveries: usize,
    pub(crate) failures: u32,
}

impl Load {
    /// The message with this number: instances that come to life, go on, fault, and are seen by
    /// triggers; the tenant's own record; things that Annals knows nothing about.
    pub(crate) fn message(&self, number: usize) -> String {
        let (id, instance) = (format!("e-{number}"), format!("i-{}", number % self.streams));
        let data = json!({
            "newStatus": "waiting", "workflowId": "expenses",
            "context": { "secret": CANARY }, "trigger": { "parameters": { "secret": CANARY } },
        });
        let kind = match number % 16 {
            0 => "creation-requested",
            1 | 2 => "created",
            3 => "faulted",
            4 => "creation-failed",
            _ => "transition-completed",
        };
        let mut event = instance_event("acme", &id, &instance, kind, data);
        match number % 16 {
            5 => event["type"] = "io.marain.workflow.trigger.received".into(),
            6 => event["type"] = "io.marain.workflow.trigger.ignored".into(),
            7 => {
                event["type"] = "com.example.something".into();
                event["subject"] = format!("thing/{}", number % 50).into();
            }
            _ => {}
        }
        if number.is_multiple_of(3) {
            event["correlationid"] = format!("flow/{}", number / 3 % 500).into();
        }
        event.to_string()
    }

    /// Delivers everything. Each delivery publishes its one event, at its one place, and nothing
    /// that should stay at home.
    pub(crate) async fn deliver(self, handlers: &[Arc<Handler>]) -> Delivered {
        let mut random = SmallRng::seed_from_u64(self.seed);
        let mut deliveries: Vec<usize> =
            (0..self.messages).flat_map(|number| vec![number; random.random_range(1..=3)]).collect();
        deliveries.shuffle(&mut random);
        let count = deliveries.len();
        let waiting = Arc::new(Mutex::new(deliveries));
        let workers = (0..IN_FLIGHT).map(|worker| {
            let (waiting, handlers) = (Arc::clone(&waiting), handlers.to_vec());
            let random = SmallRng::seed_from_u64(self.seed ^ (worker as u64 + 1));
            tokio::spawn(self.worker(waiting, handlers, random))
        });
        let mut delivered =
            Delivered { places: BTreeMap::new(), longest: Duration::ZERO, deliveries: count, failures: 0 };
        for worker in futures::future::join_all(workers).await {
            let (places, longest, failures) = worker.unwrap();
            delivered.longest = delivered.longest.max(longest);
            delivered.failures += failures;
            for (number, place) in places {
                let first = delivered.places.entry(number).or_insert_with(|| place.clone());
                assert_eq!(*first, place, "one event, one place");
            }
        }
        delivered
    }

    async fn worker(
        self,
        waiting: Arc<Mutex<Vec<usize>>>,
        handlers: Vec<Arc<Handler>>,
        mut random: SmallRng,
    ) -> (HashMap<usize, String>, Duration, u32) {
        let (mut places, mut longest, mut failures) = (HashMap::new(), Duration::ZERO, 0);
        loop {
            let next = waiting.lock().unwrap().pop();
            let Some(number) = next else { return (places, longest, failures) };
            let (message, began) = (self.message(number), Instant::now());
            let mut count = 1;
            let events = loop {
                let handler = &handlers[random.random_range(0..handlers.len())];
                match handler.invoke("ingest", &message, count).await {
                    Ok(events) => break events,
                    Err(error) => assert!(count < self.patience, "delivery {count} of {number}: {error}"),
                }
                (count, failures) = (count + 1, failures + 1);
                tokio::time::sleep(Duration::from_millis(random.random_range(10..50))).await;
            };
            longest = longest.max(began.elapsed());
            assert_eq!(events.len(), 1, "every delivery publishes its event");
            assert!(!events[0].to_string().contains(CANARY), "{}", events[0]);
            let place = events[0]["id"].as_str().unwrap().to_owned();
            let first = places.entry(number).or_insert_with(|| place.clone());
            assert_eq!(*first, place, "one event, one place");
        }
    }

    /// What must be true when all is delivered: stored once, contiguous, and published where it is.
    pub(crate) async fn check(&self, handler: &Handler, delivered: &Delivered) {
        let events = everything(handler, "acme").await;
        assert_contiguous(&events, self.messages);
        assert_eq!(delivered.places.len(), self.messages, "everything is published");
        let stored: BTreeMap<&str, String> = events
            .iter()
            .map(|event| {
                let sequence = &event["position"]["sequence"];
                (event["id"].as_str().unwrap(), format!("p00-{sequence}"))
            })
            .collect();
        for (number, place) in &delivered.places {
            assert_eq!(stored.get(format!("e-{number}").as_str()), Some(place), "where it is published");
        }
        let (_, dead) = handler.api("GET", "/api/tenants/acme/dead-letters", None).await;
        assert_eq!(dead["deadLetters"], json!([]));
    }
}

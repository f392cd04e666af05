//! What Event Grid would have received, kept to be looked at, and sent on to one subscriber.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Events kept.
const KEPT: usize = 20_000;
/// Tries for one delivery to the subscriber.
const TRIES: u32 = 8;

/// The events that were published.
#[derive(Debug, Default)]
pub(super) struct ChangeFeed {
    kept: Mutex<Kept>,
    subscriber: Option<mpsc::UnboundedSender<Value>>,
}

#[derive(Debug, Default)]
struct Kept {
    published: u64,
    events: VecDeque<Value>,
}

impl ChangeFeed {
    /// A feed that also sends every event to `url`, as a subscription would.
    pub(super) fn forwarding(url: String) -> Arc<Self> {
        let (subscriber, events) = mpsc::unbounded_channel();
        tokio::spawn(deliver(url, events));
        Arc::new(Self { subscriber: Some(subscriber), ..Self::default() })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes events.
    pub(super) fn publish(&self, events: Vec<Value>) {
        let mut kept = self.kept();
        for event in events {
            if let Some(subscriber) = &self.subscriber {
                // The delivery task lives as long as the process.
                let _ = subscriber.send(event.clone());
            }
            kept.published += 1;
            kept.events.push_back(event);
            if kept.events.len() > KEPT {
                kept.events.pop_front();
            }
        }
    }

    /// How many events were published.
    pub(super) fn published(&self) -> u64 {
        self.kept().published
    }

    /// The events behind the first `after`, at most `limit`; older ones may be gone.
    pub(super) fn page(&self, after: u64, limit: usize) -> Value {
        let kept = self.kept();
        let gone = kept.published - kept.events.len() as u64;
        let skip = usize::try_from(after.saturating_sub(gone)).unwrap_or(usize::MAX);
        let events: Vec<_> = kept.events.iter().skip(skip).take(limit).cloned().collect();
        let next = (gone + skip as u64 + events.len() as u64).min(kept.published);
        json!({ "published": kept.published, "dropped": gone, "next": next, "events": events })
    }
}

/// Delivers one event after the other, as a webhook subscription does.
async fn deliver(url: String, mut events: mpsc::UnboundedReceiver<Value>) {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap_or_default();
    while let Some(event) = events.recv().await {
        let body = event.to_string();
        for attempt in 1..=TRIES {
            let request =
                client.post(&url).header("content-type", "application/cloudevents+json; charset=utf-8");
            match request.body(body.clone()).send().await {
                Ok(answer) if answer.status().is_success() => break,
                _ if attempt == TRIES => {
                    tracing::warn!(id = %event["id"], "the subscriber did not take an event")
                }
                _ => tokio::time::sleep(Duration::from_millis(250 << attempt)).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_and_say_what_is_gone() {
        let feed = ChangeFeed::default();
        feed.publish((0..KEPT as u64 + 5).map(Value::from).collect());
        let page = feed.page(0, 2);
        assert_eq!(
            (&page["dropped"], &page["next"], &page["events"]),
            (&json!(5), &json!(7), &json!([5, 6]))
        );
        let last = feed.page(KEPT as u64 + 4, 10);
        assert_eq!(last["events"], json!([KEPT as u64 + 4]));
        assert_eq!(feed.page(KEPT as u64 + 5, 10)["events"], json!([]));
    }
}

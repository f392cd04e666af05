//! Storage queues in memory, worked as the host works them: invisible while in flight, visible
//! again after a failure, and moved to `{queue}-poison` when they failed too often.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::{sync::Notify, time::Instant};

use crate::domain::timestamp::{Clock, SystemClock, Timestamp};

/// Most bytes of a message.
pub(super) const MAX_MESSAGE: usize = 64 * 1024;

/// A message on a queue.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) body: Vec<u8>,
    pub(super) inserted: Timestamp,
    pub(super) dequeue_count: u32,
    visible: Instant,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Message>,
    in_flight: usize,
    exhausted: Vec<Message>,
}

/// What becomes of a message whose invocation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is delivered again after a while.
    Again,
    /// It failed too often and is on the poison queue now.
    Poison,
    /// It failed too often on a poison queue, which has none of its own: it stays there, but is
    /// delivered no more.
    Exhausted,
}

/// How full a queue is.
#[derive(Debug, Default, Serialize, PartialEq, Eq)]
pub(super) struct Depth {
    pub(super) visible: usize,
    pub(super) invisible: usize,
    /// Messages of a poison queue that are delivered no more.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) exhausted: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// All queues.
#[derive(Debug, Default)]
pub(super) struct QueueService {
    queues: Mutex<BTreeMap<String, Queue>>,
    changed: Notify,
}

impl QueueService {
    fn queues(&self) -> MutexGuard<'_, BTreeMap<String, Queue>> {
        // Never held across an await; a panic leaves nothing half-done in it.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that a queue shows up, also while it is empty.
    pub(super) fn declare(&self, name: &str) {
        self.queues().entry(name.to_owned()).or_default();
    }

    /// Puts a message; gives its id.
    pub(super) fn put(&self, name: &str, body: Vec<u8>) -> String {
        let id = uuid::Uuid::new_v4().to_string();
        let message = Message {
            id: id.clone(),
            body,
            inserted: SystemClock.now(),
            dequeue_count: 0,
            visible: Instant::now(),
        };
        self.queues().entry(name.to_owned()).or_default().waiting.push_back(message);
        self.changed.notify_waiters();
        id
    }

    /// Takes the next visible message, and waits for one.
    pub(super) async fn take(&self, name: &str) -> Message {
        loop {
            let changed = self.changed.notified();
            let next = {
                let mut queues = self.queues();
                let queue = queues.entry(name.to_owned()).or_default();
                let now = Instant::now();
                match queue.waiting.iter().position(|message| message.visible <= now) {
                    Some(place) => {
                        let taken = queue.waiting.remove(place);
                        queue.in_flight += usize::from(taken.is_some());
                        Ok(taken)
                    }
                    None => Err(queue.waiting.iter().map(|message| message.visible).min()),
                }
            };
            match next {
                Ok(Some(mut message)) => {
                    message.dequeue_count += 1;
                    return message;
                }
                Ok(None) => {}
                Err(None) => changed.await,
                Err(Some(visible)) => {
                    let _ = tokio::time::timeout_at(visible, changed).await;
                }
            }
        }
    }

    /// The message was worked.
    pub(super) fn complete(&self, name: &str) {
        self.landed(name);
    }

    /// The message was not worked.
    pub(super) fn fail(
        &self,
        name: &str,
        mut message: Message,
        max_dequeue_count: u32,
        after: Duration,
    ) -> Fate {
        self.landed(name);
        let exhausted = message.dequeue_count >= max_dequeue_count;
        if exhausted && !name.ends_with("-poison") {
            self.put(&format!("{name}-poison"), message.body);
            return Fate::Poison;
        }
        let mut queues = self.queues();
        let queue = queues.entry(name.to_owned()).or_default();
        if exhausted {
            queue.exhausted.push(message);
            return Fate::Exhausted;
        }
        message.visible = Instant::now() + after;
        queue.waiting.push_back(message);
        drop(queues);
        self.changed.notify_waiters();
        Fate::Again
    }

    /// How many messages there are, on all queues.
    pub(super) fn left(&self) -> usize {
        self.queues().values().map(|queue| queue.waiting.len() + queue.in_flight).sum()
    }

    fn landed(&self, name: &str) {
        if let Some(queue) = self.queues().get_mut(name) {
            queue.in_flight = queue.in_flight.saturating_sub(1);
        }
    }

    /// How full each queue is.
    pub(super) fn depths(&self) -> BTreeMap<String, Depth> {
        let now = Instant::now();
        let depth = |queue: &Queue| {
            let visible = queue.waiting.iter().filter(|message| message.visible <= now).count();
            let invisible = queue.waiting.len() - visible + queue.in_flight;
            Depth { visible, invisible, exhausted: queue.exhausted.len() }
        };
        self.queues().iter().map(|(name, queue)| (name.clone(), depth(queue))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_failed_message_comes_back_after_the_visibility_time_out_with_its_count() {
        let service = QueueService::default();
        service.put("in", b"x".to_vec());
        let message = service.take("in").await;
        assert_eq!(service.depths()["in"], Depth { visible: 0, invisible: 1, exhausted: 0 });
        assert_eq!(service.fail("in", message, 5, AFTER), Fate::Again);
        let started = Instant::now();
        let again = service.take("in").await;
        assert_eq!((again.dequeue_count, started.elapsed().as_secs()), (2, 30));
        service.complete("in");
        assert_eq!(service.depths()["in"], Depth::default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_failed_too_often_moves_to_the_poison_queue_with_a_fresh_count() {
        let service = QueueService::default();
        service.put("in", b"x".to_vec());
        for attempt in 1..=3 {
            let message = service.take("in").await;
            let fate = if attempt == 3 { Fate::Poison } else { Fate::Again };
            assert_eq!(service.fail("in", message, 3, AFTER), fate);
        }
        let poison = service.take("in-poison").await;
        assert_eq!((poison.dequeue_count, poison.body.as_slice()), (1, &b"x"[..]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_poison_queue_keeps_what_fails_too_often_and_delivers_it_no_more() {
        let service = QueueService::default();
        service.put("in-poison", b"x".to_vec());
        for fate in [Fate::Again, Fate::Exhausted] {
            let message = service.take("in-poison").await;
            assert_eq!(service.fail("in-poison", message, 2, AFTER), fate);
        }
        assert_eq!(service.depths()["in-poison"], Depth { visible: 0, invisible: 0, exhausted: 1 });
        let again = tokio::time::timeout(AFTER * 100, service.take("in-poison")).await;
        assert!(again.is_err(), "it was delivered again");
    }
}

//! What fits into a page.

use std::collections::VecDeque;

use super::Order;
use crate::{domain::event::Data, store::rows::RecordedEvent};

/// Bytes of data after which a page ends, whatever its limit: the Functions host buffers answers
/// whole, beside us, on a small instance.
pub const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Events on their way into a page, oldest in front.
#[derive(Default)]
pub(super) struct Held {
    pub(super) events: VecDeque<RecordedEvent>,
    pub(super) bytes: usize,
}

impl Held {
    /// Takes one more. Newest first, the oldest of those before it go that no page has room for behind the
    /// newer ones: [`cut`] would take them out in the end, when a thousand large ones lie in memory.
    pub(super) fn push(&mut self, event: RecordedEvent, order: Order) {
        self.bytes += weight(&event);
        self.events.push_back(event);
        while order == Order::Desc && self.bytes > PAGE_BYTES && self.events.len() > 1 {
            self.bytes -= self.events.pop_front().as_ref().map_or(0, weight);
        }
    }
}

/// What an event takes in a page.
fn weight(event: &RecordedEvent) -> usize {
    match &event.data {
        Data::Binary(data) => data.len() * 4 / 3,
        data => data.as_bytes().len(),
    }
}

/// Ends a page before it holds more than [`PAGE_BYTES`] of data; keeps at least one event.
pub(super) fn cut(events: &mut Vec<RecordedEvent>) -> bool {
    let mut bytes = 0;
    let fitting = events
        .iter()
        .take_while(|event| {
            bytes += weight(event);
            bytes <= PAGE_BYTES
        })
        .count();
    let keep = fitting.max(1).min(events.len());
    let cut = keep < events.len();
    events.truncate(keep);
    cut
}

#[cfg(test)]
mod tests;

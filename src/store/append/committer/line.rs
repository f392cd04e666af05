//! The line: who is served next, and who is kept apart.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::{GROUP, Pending};

/// What to do with the appends of a round that have no answer yet.
pub(super) enum Next {
    /// Try them again, together.
    Again(Vec<Pending>),
    /// One of them may be what storage chokes on: try each half alone.
    Split(Vec<Pending>),
    /// Storage chokes on the first even when it is alone: it stands aside until then, and the
    /// others go on.
    Aside(Instant, Pending, Vec<Pending>),
}

/// Where the group of a round came from.
#[derive(Default, PartialEq, Eq)]
enum Source {
    #[default]
    Queue,
    /// A group kept apart, with others behind it.
    Apart,
    Aside,
}

#[derive(Default)]
pub(super) struct Line {
    /// Appends that wait, oldest first.
    queue: VecDeque<Pending>,
    /// Groups kept apart while a bad append is looked for, the next one last.
    apart: Vec<Vec<Pending>>,
    /// Appends that failed alone, each with its next turn. Each is tried alone, by turns with
    /// everybody else: if storage is down they are as good as the others, and if they are bad they
    /// hold nobody up.
    aside: Vec<(Instant, Pending)>,
    /// Whose turn this is.
    turn: Source,
    /// Appends so far.
    tickets: u64,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.apart.is_empty() && self.aside.is_empty()
    }

    /// How many wait for the next group, while nobody is kept apart.
    pub(super) fn waiting(&self) -> usize {
        if self.apart.is_empty() { self.queue.len() } else { 0 }
    }

    /// Whether it is somebody's turn now.
    pub(super) fn is_ready(&self) -> bool {
        let aside = || self.next_turn().is_some_and(|turn| turn <= Instant::now());
        !self.queue.is_empty() || !self.apart.is_empty() || aside()
    }

    /// The next turn of those who stand aside.
    pub(super) fn next_turn(&self) -> Option<Instant> {
        self.aside.iter().map(|(turn, _)| *turn).min()
    }

    /// The last ticket that was given: everybody who has arrived has this one or an earlier.
    pub(super) fn last_ticket(&self) -> u64 {
        self.tickets
    }

    pub(super) fn join(&mut self, mut pending: Pending) {
        self.tickets += 1;
        pending.ticket = self.tickets;
        self.queue.push_back(pending);
    }

    /// Those whose turn it is.
    pub(super) fn next(&mut self) -> Vec<Pending> {
        if let Some(group) = self.apart.pop() {
            self.turn = if self.apart.is_empty() { Source::Queue } else { Source::Apart };
            return group;
        }
        let now = Instant::now();
        if (self.turn != Source::Aside || self.queue.is_empty())
            && let Some(first) = self.aside.iter().position(|(turn, _)| *turn <= now)
        {
            self.turn = Source::Aside;
            return vec![self.aside.remove(first).1];
        }
        self.turn = Source::Queue;
        self.queue.drain(..self.queue.len().min(GROUP)).collect()
    }

    /// Takes back those of a round that have no answer yet.
    pub(super) fn back(&mut self, next: Next) {
        match next {
            Next::Again(group) if group.is_empty() => {}
            Next::Again(group) => match self.turn {
                Source::Apart => self.apart.push(group),
                Source::Aside => {
                    self.aside.extend(group.into_iter().map(|pending| (Instant::now(), pending)));
                }
                Source::Queue => group.into_iter().rev().for_each(|pending| self.queue.push_front(pending)),
            },
            Next::Split(mut group) => {
                let second = group.split_off(group.len() / 2);
                self.apart.push(second);
                self.apart.push(group);
            }
            Next::Aside(until, pending, rest) => {
                self.aside.push((until, pending));
                rest.into_iter().rev().for_each(|pending| self.queue.push_front(pending));
            }
        }
    }
}

//! What waits for one client: bounded, so that a client who does not read costs nobody anything.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::event::Event;

/// The messages that wait for one client.
#[derive(Debug)]
pub struct Inbox {
    waiting: Mutex<Waiting>,
    bell: Notify,
    cut: CancellationToken,
    count_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// The number of the last event put in: a client in two rooms of one event gets it once.
    last: u64,
}

impl Inbox {
    /// An empty one.
    pub fn new(count_max: usize, bytes_max: usize) -> Self {
        Self { waiting: Mutex::default(), bell: Notify::new(), cut: CancellationToken::new(), count_max, bytes_max }
    }

    /// Puts an event in. Past the bound everything is thrown away and the client is cut off.
    pub fn put(&self, event: &Arc<Event>, number: u64) {
        if self.cut.is_cancelled() {
            return;
        }
        let mut waiting = self.waiting();
        if waiting.last == number {
            return;
        }
        waiting.last = number;
        waiting.bytes += event.text.len();
        if waiting.events.len() >= self.count_max || waiting.bytes > self.bytes_max {
            *waiting = Waiting::default();
            drop(waiting);
            self.cut.cancel();
            return;
        }
        waiting.events.push_back(Arc::clone(event));
        let first = waiting.events.len() == 1;
        drop(waiting);
        if first {
            self.bell.notify_one();
        }
    }

    /// Takes up to `max` events, oldest first.
    pub fn take(&self, max: usize) -> Vec<Arc<Event>> {
        let mut waiting = self.waiting();
        let count = waiting.events.len().min(max);
        let taken: Vec<_> = waiting.events.drain(..count).collect();
        waiting.bytes = waiting.bytes.saturating_sub(taken.iter().map(|event| event.text.len()).sum());
        let more = !waiting.events.is_empty();
        drop(waiting);
        if more {
            self.bell.notify_one();
        }
        taken
    }

    /// Waits until something may be there.
    pub async fn filled(&self) {
        self.bell.notified().await;
    }

    /// Cancelled when the client fell too far behind.
    pub fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A panic elsewhere leaves a queue that is still whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proto::v1;

    use super::*;

    fn event() -> Arc<Event> {
        Arc::new(Event::change(v1::Change::default(), 1, None).unwrap())
    }

    #[test]
    fn an_event_that_comes_by_two_rooms_is_kept_once() {
        let inbox = Inbox::new(10, 10_000);
        for number in [1, 1, 2, 2, 3] {
            inbox.put(&event(), number);
        }
        assert_eq!(inbox.take(2).len(), 2);
        assert_eq!(inbox.take(10).len(), 1);
    }

    #[test]
    fn too_many_or_too_large_cuts_the_client_off_and_frees_the_memory() {
        let few = Inbox::new(2, 1_000_000);
        let small = Inbox::new(1_000, 3 * event().text.len());
        for number in 1..=5 {
            few.put(&event(), number);
            small.put(&event(), number);
        }
        assert!(few.cut().is_cancelled() && small.cut().is_cancelled());
        assert!(few.take(10).is_empty() && small.take(10).is_empty());
    }

    #[test]
    fn what_was_read_makes_room() {
        let inbox = Inbox::new(2, 3 * event().text.len());
        for number in 1..=100 {
            inbox.put(&event(), number);
            assert_eq!(inbox.take(5).len(), 1);
        }
        assert!(!inbox.cut().is_cancelled());
    }
}

//! A count that others wait on. Like a watched value of tokio's, but those who wait are woken in the order in which they began
//! to: a simulation replays it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// Counts. When it is dropped there will be no more.
#[derive(Debug, Default)]
pub struct Counter(Arc<Shared>);

/// Waits for the count to change. A clone has seen as much.
#[derive(Debug, Clone)]
pub struct Count {
    shared: Arc<Shared>,
    seen: u64,
}

/// Nobody counts any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody counts any more")]
pub struct Closed;

#[derive(Debug, Default)]
struct Shared {
    count: AtomicU64,
    closed: AtomicBool,
    news: Notify,
}

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.0.count.fetch_add(1, Ordering::AcqRel);
        self.0.news.notify_waiters();
    }

    /// The count for somebody who has seen all of it.
    pub fn watch(&self) -> Count {
        let seen = self.0.count.load(Ordering::Acquire);
        Count { shared: Arc::clone(&self.0), seen }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.news.notify_waiters();
    }
}

impl Count {
    /// Waits until the count is another than when it was last looked at. Dropping the wait loses nothing.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        loop {
            // It hears of whatever happens from here on, and only then looks.
            let shared = Arc::clone(&self.shared);
            let news = shared.news.notified();
            if self.look() {
                return Ok(());
            }
            if self.shared.closed.load(Ordering::Acquire) {
                return Err(Closed);
            }
            news.await;
        }
    }

    /// Takes note of the count; whether it is another than when it was last looked at.
    pub fn look(&mut self) -> bool {
        let count = self.shared.count.load(Ordering::Acquire);
        std::mem::replace(&mut self.seen, count) != count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_seen_once_by_each_whenever_they_look() {
        let counter = Counter::default();
        let mut early = counter.watch();
        counter.add();
        let mut late = counter.watch();
        assert_eq!(early.changed().await, Ok(()));
        assert!(!early.look() && !late.look());
        let waits = tokio::spawn(async move { late.changed().await });
        tokio::task::yield_now().await;
        counter.add();
        assert_eq!(waits.await.unwrap(), Ok(()));
        drop(counter);
        assert_eq!(early.changed().await, Ok(()), "what was counted before the end is seen");
        assert_eq!(early.changed().await, Err(Closed));
    }
}

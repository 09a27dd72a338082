//! Keeps the publications of one item in the order of its versions.
//!
//! Partitions commit side by side, and each publishes after its commit. Two that share an item could publish its newer
//! version first; so an item that one committed and has not published yet holds up the next commit of another that touches
//! it. One partition publishes its batches in the order of their commits, and need not wait for itself.
//!
//! Other processes are not waited for: each version is marked with the life of the process that made it, and a life ends when
//! something that it committed, or may have, was not published. Of an item whose version another life made, whoever comes next
//! asks the bus what was told.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use model::ItemId;
use tokio::sync::Notify;

/// The items between commit and publication.
#[derive(Debug, Clone)]
pub(crate) struct InFlight(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    instance: String,
    lives: AtomicU64,
    items: Mutex<HashMap<ItemId, Holder>>,
    freed: Notify,
}

/// Which partition holds an item, for how many of its batches.
#[derive(Debug)]
struct Holder {
    partition: u32,
    batches: u32,
}

/// Items held until this is dropped. If that is before they were published, the process begins another life.
#[derive(Debug)]
pub(crate) struct Held {
    shared: Arc<Shared>,
    items: Vec<ItemId>,
    published: bool,
}

impl InFlight {
    /// Nothing yet, of the process of this name.
    pub(crate) fn new(instance: &str) -> Self {
        let (instance, lives) = (instance.to_owned(), AtomicU64::default());
        Self(Arc::new(Shared { instance, lives, items: Mutex::default(), freed: Notify::new() }))
    }

    /// The name of this life of the process: all that was committed under it is published, or will be in its order.
    pub(crate) fn life(&self) -> String {
        format!("{}.{}", self.0.instance, self.0.lives.load(Ordering::SeqCst))
    }

    /// Waits until no other partition has one of these items in flight, then takes them all at once.
    pub(crate) async fn hold(&self, partition: u32, items: Vec<ItemId>) -> Held {
        loop {
            let freed = self.0.freed.notified();
            tokio::pin!(freed);
            // Registered before looking: a release in between is not missed.
            freed.as_mut().enable();
            {
                let mut held = self.0.items.lock().unwrap_or_else(PoisonError::into_inner);
                let is_ours = |item| held.get(item).is_none_or(|holder: &Holder| holder.partition == partition);
                if items.iter().all(is_ours) {
                    for item in &items {
                        held.entry(*item).or_insert(Holder { partition, batches: 0 }).batches += 1;
                    }
                    return Held { shared: self.0.clone(), items, published: false };
                }
            }
            freed.await;
        }
    }
}

impl Held {
    /// What was committed is published.
    pub(crate) fn published(mut self) {
        self.published = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.published && !self.items.is_empty() {
            // Before anybody who waits for these items goes on.
            self.shared.lives.fetch_add(1, Ordering::SeqCst);
        }
        let mut held = self.shared.items.lock().unwrap_or_else(PoisonError::into_inner);
        for item in &self.items {
            if let Entry::Occupied(mut entry) = held.entry(*item) {
                entry.get_mut().batches -= 1;
                if entry.get().batches == 0 {
                    entry.remove();
                }
            }
        }
        drop(held);
        self.shared.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn item(number: u128) -> ItemId {
        ItemId(uuid::Uuid::from_u128(number))
    }

    #[tokio::test]
    async fn an_item_in_flight_holds_up_only_other_partitions_that_share_it() {
        let in_flight = InFlight::new("one");
        let first = in_flight.hold(0, vec![item(1), item(2)]).await;
        let again = in_flight.hold(0, vec![item(2)]).now_or_never().expect("one partition waits for itself");
        let mut second = Box::pin(in_flight.hold(1, vec![item(2), item(3)]));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(in_flight.hold(1, vec![item(4)]).now_or_never().is_some());
        drop(first);
        assert!(second.as_mut().now_or_never().is_none(), "a later batch of the first still holds it");
        drop(again);
        second.await;
    }

    #[tokio::test]
    async fn a_life_ends_with_what_was_held_and_not_published() {
        let in_flight = InFlight::new("one");
        assert_eq!(in_flight.life(), "one.0");
        in_flight.hold(0, vec![item(1)]).await.published();
        drop(in_flight.hold(0, vec![]).await);
        assert_eq!(in_flight.life(), "one.0");
        let held = in_flight.hold(0, vec![item(1)]).await;
        let mut waiting = Box::pin(in_flight.hold(1, vec![item(1)]));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(held);
        waiting.await.published();
        assert_eq!(in_flight.life(), "one.1");
    }
}

//! Keeps the publications of one item in the order of its versions.
//!
//! Partitions commit side by side, and each publishes after its commit. Two that share an item could publish its newer
//! version first; so an item that was committed and is not published yet holds up the next commit that touches it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use model::ItemId;
use tokio::sync::Notify;

/// The items between commit and publication.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    items: Mutex<HashSet<ItemId>>,
    freed: Notify,
}

/// Items held until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    shared: Arc<Shared>,
    items: Vec<ItemId>,
}

impl InFlight {
    /// Waits until none of these items is in flight, then takes them all at once.
    pub(crate) async fn hold(&self, items: Vec<ItemId>) -> Held {
        loop {
            let freed = self.0.freed.notified();
            tokio::pin!(freed);
            // Registered before looking: a release in between is not missed.
            freed.as_mut().enable();
            {
                let mut held = self.0.items.lock().unwrap_or_else(PoisonError::into_inner);
                if items.iter().all(|item| !held.contains(item)) {
                    held.extend(&items);
                    return Held { shared: self.0.clone(), items };
                }
            }
            freed.await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.shared.items.lock().unwrap_or_else(PoisonError::into_inner);
        for item in &self.items {
            held.remove(item);
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
    async fn an_item_in_flight_holds_up_only_those_that_share_it() {
        let in_flight = InFlight::default();
        let first = in_flight.hold(vec![item(1), item(2)]).await;
        let mut second = Box::pin(in_flight.hold(vec![item(2), item(3)]));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(in_flight.hold(vec![item(4)]).now_or_never().is_some());
        drop(first);
        second.await;
    }
}

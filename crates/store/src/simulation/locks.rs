//! Locks that a transaction holds until it ends, and the ring of waiting ones that the server breaks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{ItemId, RecordRef};
use tokio::sync::Notify;

use crate::refused::refused;

/// What can be locked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lock {
    Item(ItemId),
    /// A bucket of identifiers.
    Keys(u16),
    /// A record that is being inserted.
    Record(RecordRef),
}

#[derive(Debug, Default)]
pub(super) struct Locks {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    newest: u64,
    owners: BTreeMap<Lock, u64>,
    waiting: BTreeMap<u64, Lock>,
}

/// After so long the server looks whether those that wait for each other form a ring.
const DEADLOCK: Duration = Duration::from_secs(1);

impl Locks {
    /// A new transaction's number.
    pub(super) fn begin(&self) -> u64 {
        let mut state = self.state();
        state.newest += 1;
        state.newest
    }

    /// Waits until the transaction holds the lock.
    pub(super) async fn take(&self, transaction: u64, lock: Lock) -> sqlx::Result<()> {
        loop {
            let freed = self.freed.notified();
            {
                let mut state = self.state();
                match state.owners.get(&lock) {
                    Some(owner) if *owner != transaction => drop(state.waiting.insert(transaction, lock.clone())),
                    _ => {
                        state.waiting.remove(&transaction);
                        state.owners.insert(lock, transaction);
                        return Ok(());
                    }
                }
            }
            if tokio::time::timeout(DEADLOCK, freed).await.is_err() && self.state().is_ring(transaction) {
                self.state().waiting.remove(&transaction);
                return Err(refused("40P01", "deadlock detected"));
            }
        }
    }

    /// The transaction is over.
    pub(super) fn end(&self, transaction: u64) {
        let mut state = self.state();
        state.owners.retain(|_, owner| *owner != transaction);
        state.waiting.remove(&transaction);
        drop(state);
        self.freed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_ring(&self, transaction: u64) -> bool {
        let (mut at, mut seen) = (transaction, BTreeSet::new());
        while let Some(owner) = self.waiting.get(&at).and_then(|lock| self.owners.get(lock)) {
            if *owner == transaction {
                return true;
            }
            if !seen.insert(*owner) {
                return false;
            }
            at = *owner;
        }
        false
    }
}

//! Which messages came out at the end, and when.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::watch;

/// What was seen, by the stream sequence of the message that caused it. A clone is the same list.
#[derive(Clone)]
pub struct Seen(Arc<Shared>);

struct Shared {
    list: Mutex<Vec<(u64, Instant)>>,
    total: watch::Sender<usize>,
}

/// Longer than this nothing may stand still.
const PATIENCE: Duration = Duration::from_secs(30);

impl Seen {
    /// Nothing yet.
    pub fn new() -> Self {
        Self(Arc::new(Shared { list: Mutex::default(), total: watch::Sender::new(0) }))
    }

    /// Notes messages that were seen just now.
    pub fn note(&self, causes: &[u64]) {
        let now = Instant::now();
        let mut list = self.0.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.extend(causes.iter().map(|cause| (*cause, now)));
        drop(list);
        self.0.total.send_modify(|total| *total += causes.len());
    }

    /// How many were seen in all.
    pub fn total(&self) -> usize {
        *self.0.total.borrow()
    }

    /// Waits until so many were seen in all.
    pub async fn wait(&self, total: usize) -> Result<()> {
        let mut watched = self.0.total.subscribe();
        loop {
            let now = *watched.borrow_and_update();
            if now >= total {
                return Ok(());
            }
            let changed = tokio::time::timeout(PATIENCE, watched.changed()).await;
            changed.with_context(|| format!("{now} of {total} events were seen, and then none for {PATIENCE:?}"))??;
        }
    }

    /// Takes what was noted since the last time.
    pub fn take(&self) -> Vec<(u64, Instant)> {
        std::mem::take(&mut *self.0.list.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

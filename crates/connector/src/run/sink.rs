//! Where a connector puts what it sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bus::{Bus, Outgoing};
use bytes::Bytes;
use model::{Lane, Native, Observation, RecordRef};
use proto::v1::AgentState;

use crate::Failure;

/// Publishes observations. What it answers `Ok` to is stored by JetStream.
#[derive(Clone)]
pub struct Sink {
    bus: Bus,
    lane: Lane,
    /// The bus did not take something since this was asked last.
    failed: Arc<AtomicBool>,
}

impl Sink {
    pub(crate) fn new(bus: Bus, lane: Lane) -> Self {
        Self { bus, lane, failed: Arc::default() }
    }

    /// Whether the bus did not take something since this was asked last.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.swap(false, Ordering::Relaxed)
    }

    /// Publishes one observation, and waits until it is stored.
    pub async fn observe(&self, observation: Observation) -> Result<(), Failure> {
        self.observe_all(vec![observation]).await
    }

    /// Publishes observations, many under way at once, and waits until all of them are stored. One that must go out again may come
    /// behind its successors: those of one record MUST have positions, or be published one after another.
    pub async fn observe_all(&self, observations: Vec<Observation>) -> Result<(), Failure> {
        let messages = observations.iter().map(|seen| Outgoing::observation(self.lane, seen)).collect();
        match self.bus.publish_all(messages).await {
            Ok(_) => Ok(()),
            Err(error) => {
                self.failed.store(true, Ordering::Relaxed);
                Err(Failure::unavailable(format!("the bus did not store an observation: {error}")))
            }
        }
    }

    /// Notes who watches `system` now. `another` is called before, where somebody else did last, or nobody knows who: what was known of the
    /// system before may not be true any more. For connectors that watch alone.
    pub async fn is_watched_by(
        &self,
        system: &str,
        watcher: &str,
        another: impl Fn() + Send + Sync,
    ) -> Result<(), Failure> {
        let change = |known: Option<Bytes>| {
            let is_new = known.is_none_or(|known| known != watcher.as_bytes());
            if is_new {
                another();
            }
            Ok(is_new.then(|| watcher.to_owned().into()))
        };
        let noted = self.bus.amend_cursor(&format!("watch/{system}"), change).await;
        noted.map_err(|error| Failure::unavailable(format!("the bus does not note who watches {system}: {error:#}")))
    }

    /// Tells whoever watches of an agent's state, as telemetry: it is lost where the bus does not take it, and nothing else is.
    pub async fn tell_state(&self, id: String, state: &AgentState) {
        let told = Outgoing::live("agent_state", &state.agent, id, proto::encode(state));
        if let Err(error) = self.bus.publish(told).await {
            tracing::debug!(agent = state.agent, %error, "nobody is told of an agent's state");
        }
    }
}

/// The id of an observation: the same for the same thing seen, whichever way it was seen.
///
/// `point` is the record's position; where the system has none, whatever number tells one showing of `native` from the next,
/// such as the time of the edit.
pub fn observation_id(record: &RecordRef, native: &Native, point: u64) -> String {
    format!("{record}@{point}={native}")
}

//! Publishes telemetry in batches, in the background: whoever has something to tell never waits for the network.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{Backoff, Client, Error, Telemetry};

/// How many messages may wait; what comes beyond is lost, and counted.
const WAITING: usize = 1_024;
/// How long the first message of a batch waits for others.
const TOGETHER: Duration = Duration::from_millis(100);
/// How many messages go in one call.
const BATCH: usize = 500;
/// How often a call is repeated that did not succeed for a passing reason.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(200), max: Duration::from_secs(5), attempts: Some(4) };

/// A bounded queue to `POST /v1/telemetry`. A clone is the same queue; when the last is dropped, what waits is still sent.
#[derive(Debug, Clone)]
pub struct Publisher {
    queue: mpsc::Sender<Queued>,
    counts: Arc<Counts>,
}

#[derive(Debug)]
enum Queued {
    Message(Box<Telemetry>),
    Flush(oneshot::Sender<()>),
}

#[derive(Debug, Default)]
struct Counts {
    published: AtomicU64,
    lost: AtomicU64,
}

impl Publisher {
    /// Starts the task that publishes; needs a Tokio runtime.
    pub(crate) fn new(client: Client) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        let counts = Arc::new(Counts::default());
        tokio::spawn(run(client, waiting, Arc::clone(&counts)));
        Self { queue, counts }
    }

    /// Puts a message in the queue; false when that is full and the message is lost.
    pub fn publish(&self, message: impl Into<Telemetry>) -> bool {
        let queued = self.queue.try_send(Queued::Message(Box::new(message.into()))).is_ok();
        if !queued {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
        queued
    }

    /// Waits until all that was put in before is published or lost.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.queue.send(Queued::Flush(done)).await.is_ok() {
            // A task that was stopped with its runtime has nothing left to send.
            let _ = flushed.await;
        }
    }

    /// How many messages were stored.
    pub fn published(&self) -> u64 {
        self.counts.published.load(Ordering::Relaxed)
    }

    /// How many were lost: the queue was full, or Lockstep refused them or stayed away.
    pub fn lost(&self) -> u64 {
        self.counts.lost.load(Ordering::Relaxed)
    }
}

async fn run(client: Client, mut waiting: mpsc::Receiver<Queued>, counts: Arc<Counts>) {
    while let Some(first) = waiting.recv().await {
        let (messages, flushed) = together(first, &mut waiting).await;
        publish(&client, &messages, &counts).await;
        if let Some(flushed) = flushed {
            // Who stopped waiting does not need it.
            let _ = flushed.send(());
        }
    }
}

/// Sends a batch. One that is refused is sent in halves, so that a wrong message does not cost those beside it.
async fn publish(client: &Client, messages: &[Telemetry], counts: &Counts) {
    let mut parts = vec![messages];
    while let Some(part) = parts.pop().filter(|part| !part.is_empty()) {
        match send(client, part).await {
            Ok(()) => {
                counts.published.fetch_add(part.len() as u64, Ordering::Relaxed);
            }
            Err(Error::Refused { status: 400 | 413 | 422, .. }) if part.len() > 1 => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
            Err(error) => {
                tracing::warn!(%error, count = part.len(), "telemetry was lost");
                counts.lost.fetch_add(part.len() as u64, Ordering::Relaxed);
            }
        }
    }
}

/// A batch: what comes within a moment, until it is full or somebody waits for it.
async fn together(
    first: Queued,
    waiting: &mut mpsc::Receiver<Queued>,
) -> (Vec<Telemetry>, Option<oneshot::Sender<()>>) {
    let until = Instant::now() + TOGETHER;
    let (mut messages, mut next) = (Vec::new(), Some(first));
    while let Some(queued) = next {
        match queued {
            Queued::Message(message) => messages.push(*message),
            Queued::Flush(done) => return (messages, Some(done)),
        }
        if messages.len() == BATCH {
            break;
        }
        next = timeout_at(until, waiting.recv()).await.unwrap_or_default();
    }
    (messages, None)
}

async fn send(client: &Client, messages: &[Telemetry]) -> Result<(), Error> {
    let (key, mut attempt) = (format!("{:032x}", rand::random::<u128>()), 0);
    loop {
        let error = match client.publish_once(messages, &key).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        attempt += 1;
        match BACKOFF.wait(attempt, rand::random()) {
            Some(wait) if error.is_passing() => sleep(wait).await,
            _ => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;

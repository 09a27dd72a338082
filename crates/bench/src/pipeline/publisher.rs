//! Publishes with JetStream's acknowledgements awaited in a window, in order: the same for what is measured and its baseline.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use async_nats::HeaderMap;
use async_nats::jetstream::{self, context::PublishAckFuture, message::PublishMessage};
use bus::Outgoing;
use tokio::sync::mpsc;

/// How many messages wait for their acknowledgement at once.
const WINDOW: usize = 1_024;

/// A connection of its own, as a source of observations has.
pub struct Publisher {
    context: jetstream::Context,
}

impl Publisher {
    /// Connects.
    pub async fn connect(url: &str) -> Result<Self> {
        let client = async_nats::connect(url).await.with_context(|| format!("NATS at {url}"))?;
        let context = jetstream::ContextBuilder::new().max_ack_inflight(2 * WINDOW).build(client);
        Ok(Self { context })
    }

    /// Removes streams.
    pub async fn remove(&self, streams: impl Iterator<Item = &'static str>) -> Result<()> {
        for name in streams {
            self.context.delete_stream(name).await.with_context(|| format!("the stream {name} cannot be removed"))?;
        }
        Ok(())
    }

    /// Publishes all, as fast as the window allows, or each when it is due. The sequence of each.
    pub async fn publish(&self, messages: Vec<Outgoing>, due: impl Fn(usize) -> Option<Instant>) -> Result<Vec<u64>> {
        let (waiting, mut acknowledged) = mpsc::channel::<PublishAckFuture>(WINDOW);
        let count = messages.len();
        let acknowledging = tokio::spawn(async move {
            let mut sequences = Vec::with_capacity(count);
            while let Some(acknowledgement) = acknowledged.recv().await {
                sequences.push(acknowledgement.await.context("a message was not acknowledged")?.sequence);
            }
            anyhow::Ok(sequences)
        });
        for (number, message) in messages.into_iter().enumerate() {
            if let Some(due) = due(number)
                && due > Instant::now()
            {
                tokio::time::sleep_until(due.into()).await;
            }
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", message.id);
            let publish = PublishMessage::build().payload(message.payload).headers(headers);
            let acknowledgement = self.context.send_publish(message.subject, publish).await?;
            // It ends early only with an error, which is told below.
            if waiting.send(acknowledgement).await.is_err() {
                break;
            }
        }
        drop(waiting);
        tokio::time::timeout(Duration::from_secs(30), acknowledging).await.context("acknowledgements are missing")??
    }
}

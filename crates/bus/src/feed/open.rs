//! Opens a consumer's messages, and tries until it works.

use std::time::Duration;

use async_nats::jetstream::consumer::pull;

use crate::{Bus, Stream};

/// How many messages wait in this process, at most one and a half times this.
const PREFETCH: usize = 1_000;
/// Of messages that are shared out fewer: each must be handled within its time.
const PREFETCH_SHARED: usize = 100;
/// How long one request for messages stands.
const EXPIRES: Duration = Duration::from_secs(30);
/// A server that is silent for twice this has forgotten the consumer.
const HEARTBEAT: Duration = Duration::from_secs(3);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Why a feed could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// Somebody opened it after us.
    #[error("another reader took {0} over")]
    TakenOver(String),
    /// Worth trying again.
    #[error("the feed cannot be opened: {0}")]
    Unavailable(String),
}

impl OpenError {
    pub(super) fn unavailable(error: impl std::fmt::Display) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// The messages of a consumer, which is made if it is missing and brought up to date if it differs.
pub(super) async fn pull_stream(bus: &Bus, stream: Stream, config: pull::Config) -> Result<pull::Stream, OpenError> {
    let batch = if config.ack_policy == async_nats::jetstream::consumer::AckPolicy::Explicit {
        PREFETCH_SHARED
    } else {
        PREFETCH
    };
    let made = bus.jetstream.create_consumer_on_stream(config, stream.name()).await;
    let consumer = made.map_err(OpenError::unavailable)?;
    messages(&consumer, batch).await
}

pub(super) async fn messages(
    consumer: &async_nats::jetstream::consumer::Consumer<pull::Config>,
    batch: usize,
) -> Result<pull::Stream, OpenError> {
    let stream = consumer.stream().max_messages_per_batch(batch).expires(EXPIRES).heartbeat(HEARTBEAT).messages();
    stream.await.map_err(OpenError::unavailable)
}

/// Opens until it works, or somebody else has taken over.
pub(super) async fn patiently<T, F, Fut>(mut open: F) -> Result<T, OpenError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, OpenError>>,
{
    let mut pause = Duration::from_millis(20);
    loop {
        match open().await {
            Err(OpenError::Unavailable(why)) => tracing::debug!(why, "a feed cannot be opened yet"),
            done => return done,
        }
        tokio::time::sleep(pause + pause.mul_f64(runtime::jitter() / 2.0)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

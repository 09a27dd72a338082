//! Opens a consumer's messages, and tries until it works.

use std::time::Duration;

use async_nats::jetstream::consumer::pull;

use crate::server::Messages;
use crate::{Bus, Stream};

/// How many messages wait in this process, at most one and a half times this.
const PREFETCH: usize = 1_000;
/// Of messages that are shared out fewer: each must be handled within its time.
const PREFETCH_SHARED: usize = 100;
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Why a feed could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// Somebody opened it after us.
    #[error("another reader took {0} over")]
    TakenOver(String),
    /// What it had read up to is not there any more.
    #[error("the stream of {0} was made anew")]
    MadeAnew(String),
    /// Worth trying again.
    #[error("the feed cannot be opened: {0}")]
    Unavailable(String),
}

/// The messages of a consumer, which is made if it is missing and brought up to date if it differs.
pub(super) async fn pull_stream(bus: &Bus, stream: Stream, config: pull::Config) -> Result<Messages, OpenError> {
    let batch = if config.ack_policy == async_nats::jetstream::consumer::AckPolicy::Explicit {
        PREFETCH_SHARED
    } else {
        PREFETCH
    };
    bus.server.open(stream, config, batch).await.map_err(OpenError::Unavailable)
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

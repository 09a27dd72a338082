//! Consumers: made, listed, deleted and read.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::{HeaderMap, Subject, jetstream};
use bytes::Bytes;
use futures_util::{Stream as _, TryStreamExt};

use super::Server;
use crate::Stream;

/// How long one request for messages stands.
const EXPIRES: Duration = Duration::from_secs(30);
/// A server that is silent for twice this has forgotten the consumer.
const HEARTBEAT: Duration = Duration::from_secs(3);

/// A consumer that is there.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) name: String,
    /// All up to this stream sequence are acknowledged.
    pub(crate) floor: u64,
}

/// A message as it was delivered.
pub(crate) struct Delivered {
    pub(crate) subject: String,
    /// Where to acknowledge it.
    pub(crate) reply: Subject,
    pub(crate) payload: Bytes,
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) stream_sequence: u64,
    pub(crate) consumer_sequence: u64,
    /// How often it was delivered, this time included.
    pub(crate) times: i64,
    pub(crate) published_at_ms: i64,
}

/// A consumer's messages.
pub(crate) enum Messages {
    Nats(Box<pull::Stream>),
    #[cfg(feature = "simulation")]
    Simulated(crate::simulation::Messages),
}

impl Messages {
    /// An error means that the messages must be opened again.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Delivered, String>>> {
        match self {
            Self::Nats(stream) => loop {
                match std::task::ready!(Pin::new(&mut **stream).poll_next(cx)) {
                    // A message that is not JetStream's own is nobody's: the inbox is ours alone.
                    Some(Ok(message)) => {
                        if let Some(message) = delivered(message) {
                            return Poll::Ready(Some(Ok(message)));
                        }
                    }
                    Some(Err(error)) => return Poll::Ready(Some(Err(error.to_string()))),
                    None => return Poll::Ready(None),
                }
            },
            #[cfg(feature = "simulation")]
            Self::Simulated(messages) => messages.poll_next(cx),
        }
    }
}

fn delivered(message: jetstream::Message) -> Option<Delivered> {
    let (stream_sequence, consumer_sequence, delivered, published) = {
        let info = message.info().ok()?;
        (info.stream_sequence, info.consumer_sequence, info.delivered, info.published)
    };
    let async_nats::Message { subject, reply, payload, headers, .. } = message.message;
    Some(Delivered {
        subject: subject.to_string(),
        reply: reply?,
        payload,
        headers,
        stream_sequence,
        consumer_sequence,
        times: delivered,
        published_at_ms: i64::try_from(published.unix_timestamp_nanos() / 1_000_000).unwrap_or(0),
    })
}

impl Server {
    /// Makes the consumer if it is missing, brings it up to date if it differs, and opens its messages, of which at most one
    /// and a half times `prefetch` wait in this process.
    pub(crate) async fn open(&self, stream: Stream, config: pull::Config, prefetch: usize) -> Result<Messages, String> {
        match self {
            Self::Nats(nats) => {
                let made = nats.jetstream.create_consumer_on_stream(config, stream.name()).await;
                messages(made.map_err(|error| error.to_string())?, prefetch).await
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(connection) => {
                connection.open(stream.name(), config, false, prefetch).await.map(Messages::Simulated)
            }
        }
    }

    /// The same, but another consumer of that name is an error.
    pub(crate) async fn open_new(
        &self,
        stream: Stream,
        config: pull::Config,
        prefetch: usize,
    ) -> Result<Messages, String> {
        match self {
            Self::Nats(nats) => {
                let handle = nats.jetstream.get_stream_no_info(stream.name()).await;
                let handle = handle.map_err(|error| error.to_string())?;
                let made = handle.create_consumer_strict(config).await;
                messages(made.map_err(|error| error.to_string())?, prefetch).await
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(connection) => {
                connection.open(stream.name(), config, true, prefetch).await.map(Messages::Simulated)
            }
        }
    }

    pub(crate) async fn consumers(&self, stream: Stream) -> Result<Vec<Known>, String> {
        match self {
            Self::Nats(nats) => {
                let handle = nats.jetstream.get_stream_no_info(stream.name()).await;
                let handle = handle.map_err(|error| error.to_string())?;
                let known =
                    handle.consumers().map_ok(|info| Known { name: info.name, floor: info.ack_floor.stream_sequence });
                known.try_collect().await.map_err(|error| error.to_string())
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(connection) => {
                let known = connection.consumers(stream.name()).await?;
                Ok(known.into_iter().map(|(name, floor)| Known { name, floor }).collect())
            }
        }
    }

    pub(crate) async fn delete_consumer(&self, stream: Stream, name: &str) -> Result<(), String> {
        match self {
            Self::Nats(nats) => {
                let handle = nats.jetstream.get_stream_no_info(stream.name()).await;
                let handle = handle.map_err(|error| error.to_string())?;
                handle.delete_consumer(name).await.map(drop).map_err(|error| error.to_string())
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(connection) => connection.delete_consumer(stream.name(), name).await,
        }
    }
}

async fn messages(consumer: jetstream::consumer::Consumer<pull::Config>, prefetch: usize) -> Result<Messages, String> {
    let stream = consumer.stream().max_messages_per_batch(prefetch).expires(EXPIRES).heartbeat(HEARTBEAT).messages();
    stream.await.map(|stream| Messages::Nats(Box::new(stream))).map_err(|error| error.to_string())
}

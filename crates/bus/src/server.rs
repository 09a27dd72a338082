//! JetStream as the bus asks for it: NATS itself, or with the feature `simulation` one in memory. All above is the same code.

mod consumers;
mod keys;

use std::sync::Arc;

use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::kv;
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{DirectGetError, DirectGetErrorKind};
use async_nats::{HeaderMap, Subject, jetstream};
use bytes::Bytes;
use tokio::sync::OnceCell;

#[cfg(feature = "simulation")]
use crate::simulation::{Answer, Connection};
use crate::{Received, Stream};

pub(crate) use consumers::{Delivered, Messages};
pub(crate) use keys::Keys;

/// The connection, for what is sent without an answer: acknowledgements of what was read, and announcements.
#[derive(Debug, Clone)]
pub(crate) enum Client {
    Nats(async_nats::Client),
    #[cfg(feature = "simulation")]
    Simulated(Connection),
}

impl Client {
    /// The most bytes that the server takes as one message.
    pub(crate) fn payload_max(&self) -> usize {
        match self {
            Self::Nats(client) => client.server_info().max_payload,
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => 1024 * 1024,
        }
    }

    pub(crate) async fn publish(&self, subject: Subject, payload: Bytes) -> anyhow::Result<()> {
        match self {
            Self::Nats(client) => Ok(client.publish(subject, payload).await?),
            #[cfg(feature = "simulation")]
            Self::Simulated(connection) => {
                connection.send(subject, payload);
                Ok(())
            }
        }
    }
}

/// JetStream's API.
#[derive(Clone)]
pub(crate) enum Server {
    Nats(Box<Nats>),
    #[cfg(feature = "simulation")]
    Simulated(Connection),
}

/// NATS as we speak to it.
#[derive(Clone)]
pub(crate) struct Nats {
    /// For requests to JetStream's API.
    pub(crate) jetstream: jetstream::Context,
    /// For publishing, with a timeout for each attempt.
    pub(crate) publisher: jetstream::Context,
    /// The bucket of tickets, once it was asked for: each client may bring one, and a bucket costs a request to look up.
    pub(crate) tickets: Arc<OnceCell<kv::Store>>,
}

/// Why a message is not stored, as far as is known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it is too large")]
    TooLarge,
    /// Another message came first on its subject.
    #[error("another message came first")]
    Overtaken,
    #[error("{0}")]
    Unavailable(String),
}

/// The answer to a publication that is under way.
pub(crate) enum Acknowledgement {
    Nats(PublishAckFuture),
    #[cfg(feature = "simulation")]
    Simulated(Answer<u64>),
}

impl Acknowledgement {
    /// The sequence under which it was stored.
    pub(crate) async fn stored(self) -> Result<u64, Refusal> {
        match self {
            Self::Nats(answer) => answer.await.map(|stored| stored.sequence).map_err(refusal),
            #[cfg(feature = "simulation")]
            Self::Simulated(answer) => answer.of_server().await.map_err(Refusal::Unavailable),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` hands over")]
fn refusal(error: PublishError) -> Refusal {
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => Refusal::TooLarge,
        PublishErrorKind::WrongLastSequence => Refusal::Overtaken,
        _ => Refusal::Unavailable(error.to_string()),
    }
}

/// What a stream says of itself.
pub(crate) struct About {
    /// Which life of it this is.
    pub(crate) epoch: String,
    /// When that began, in milliseconds since 1970.
    pub(crate) created_ms: i64,
    pub(crate) messages: u64,
    /// The sequence of its first message, and when that was stored, in milliseconds since 1970.
    pub(crate) first: u64,
    pub(crate) first_at_ms: i64,
    pub(crate) last: u64,
}

/// A message that was asked for by itself, if it is there.
pub(crate) fn found(answer: Result<StreamMessage, DirectGetError>) -> anyhow::Result<Option<Received>> {
    match answer {
        Ok(one) => {
            let at_ms = milliseconds(one.time.unix_timestamp_nanos());
            Ok(Some(Received::looked_at(one.subject.to_string(), one.payload, one.headers, one.sequence, at_ms)))
        }
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Milliseconds of so many nanoseconds.
fn milliseconds(nanoseconds: i128) -> i64 {
    i64::try_from(nanoseconds / 1_000_000).unwrap_or(0)
}

impl Server {
    /// NATS, for what a simulation has no need of: monitoring, and looking at single messages.
    #[cfg_attr(not(feature = "simulation"), expect(clippy::unnecessary_wraps, reason = "a simulation has none"))]
    pub(crate) fn nats(&self) -> anyhow::Result<&jetstream::Context> {
        match self {
            Self::Nats(nats) => Ok(&nats.jetstream),
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => Err(anyhow::anyhow!("a simulated bus does not answer this")),
        }
    }

    /// Sends a message; whether it is stored, its acknowledgement tells.
    pub(crate) async fn send_publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Acknowledgement, Refusal> {
        match self {
            Self::Nats(nats) => {
                let message = PublishMessage::build().payload(payload).headers(headers);
                let sent = nats.publisher.send_publish(subject, message).await;
                sent.map(Acknowledgement::Nats).map_err(refusal)
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(connection) => {
                Ok(Acknowledgement::Simulated(connection.publish(subject, headers, payload)))
            }
        }
    }

    pub(crate) async fn about(&self, stream: Stream) -> anyhow::Result<About> {
        match self {
            Self::Nats(nats) => {
                let info = nats.jetstream.get_stream_no_info(stream.name()).await?.get_info().await?;
                let epoch = info.created.unix_timestamp_nanos().to_string();
                let state = info.state;
                Ok(About {
                    epoch,
                    created_ms: milliseconds(info.created.unix_timestamp_nanos()),
                    messages: state.messages,
                    first: state.first_sequence,
                    first_at_ms: milliseconds(state.first_timestamp.unix_timestamp_nanos()),
                    last: state.last_sequence,
                })
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(connection) => connection.about(stream.name()).await.map_err(anyhow::Error::msg),
        }
    }

    /// Into how many partitions the streams are divided, where that is known.
    pub(crate) async fn partitions(&self) -> anyhow::Result<Option<u32>> {
        match self {
            Self::Nats(nats) => {
                let stream = nats.jetstream.get_stream(Stream::Observations.name()).await?;
                Ok(crate::streams::partitions(&stream.cached_info().config))
            }
            // Nobody divides it anew.
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => Ok(None),
        }
    }

    /// The first message on a subject from this sequence on; the subject may have wildcards.
    pub(crate) async fn next(&self, stream: Stream, subject: &str, from: u64) -> anyhow::Result<Option<Received>> {
        match self {
            Self::Nats(nats) => {
                let handle = nats.jetstream.get_stream_no_info(stream.name()).await?;
                found(handle.direct_get_next_for_subject(subject, Some(from)).await)
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(connection) => {
                let next = connection.next(stream.name(), subject, from).await.map_err(anyhow::Error::msg)?;
                Ok(next.map(crate::simulation::Stored::looked_at))
            }
        }
    }

    /// The last message on a subject, which may have wildcards.
    pub(crate) async fn last(&self, stream: Stream, subject: &str) -> anyhow::Result<Option<Received>> {
        match self {
            Self::Nats(nats) => {
                let handle = nats.jetstream.get_stream_no_info(stream.name()).await?;
                found(handle.direct_get_last_for_subject(subject).await)
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(connection) => {
                let last = connection.last(stream.name(), subject).await.map_err(anyhow::Error::msg)?;
                Ok(last.map(crate::simulation::Stored::looked_at))
            }
        }
    }
}

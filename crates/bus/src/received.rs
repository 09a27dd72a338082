//! A message as it is read, and its acknowledgement.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use model::{Lane, RecordRef};
use proto::v1;
use tracing::Span;

use crate::feed::Held;
use crate::server::Client;
use crate::{headers, topology};

/// A message that was read. Until it is acknowledged it is somebody's duty.
#[derive(Debug, Clone)]
pub struct Received {
    /// The subject it is stored under.
    pub subject: String,
    /// Its bytes.
    pub payload: Bytes,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// How often it was delivered, this time included.
    pub delivered: u64,
    /// When the bus stored it, in milliseconds since 1970.
    pub published_at_ms: i64,
    /// The lane it came by; `Normal` where the stream has none.
    pub lane: Lane,
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) duty: Duty,
}

/// How a message is acknowledged.
#[derive(Debug, Clone)]
pub(crate) enum Duty {
    /// Not at all.
    None,
    /// By itself.
    Alone { client: Client, reply: Subject },
    /// Together with all before it, once those are acknowledged too.
    InOrder { client: Client, held: Arc<Held> },
}

impl Received {
    /// A message of a stream that is only looked at; `None` when it is not JetStream's. Nothing to acknowledge.
    pub(crate) fn seen(message: async_nats::jetstream::Message) -> Option<Self> {
        let (sequence, delivered, published) = {
            let info = message.info().ok()?;
            (info.stream_sequence, info.delivered, info.published)
        };
        let async_nats::Message { subject, payload, headers, .. } = message.message;
        let subject = subject.to_string();
        Some(Self {
            lane: crate::lag::lane_of(&subject),
            subject,
            payload,
            sequence,
            delivered: u64::try_from(delivered).unwrap_or(1),
            published_at_ms: i64::try_from(published.unix_timestamp_nanos() / 1_000_000).unwrap_or(0),
            headers,
            duty: Duty::None,
        })
    }

    /// A stored message that is only looked at. Nothing to acknowledge.
    pub(crate) fn looked_at(subject: String, payload: Bytes, headers: HeaderMap, sequence: u64, at_ms: i64) -> Self {
        Self {
            lane: crate::lag::lane_of(&subject),
            subject,
            payload,
            sequence,
            delivered: 0,
            published_at_ms: at_ms,
            headers: Some(headers),
            duty: Duty::None,
        }
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.as_ref()?.get(name).map(async_nats::HeaderValue::as_str)
    }

    /// All headers, by their names as they were sent.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.headers.iter().flat_map(HeaderMap::iter);
        pairs.filter_map(|(name, values)| Some((name.as_ref(), values.first()?.as_str())))
    }

    /// The lane that its publisher put it in, where its subject has none: see [`Outgoing::in_lane`](crate::Outgoing::in_lane).
    pub fn urgency(&self) -> Lane {
        self.header(headers::LANE).and_then(Lane::named).unwrap_or(self.lane)
    }

    /// The id under which it was published; for one that was replayed, the id that it had for the first time.
    pub fn id(&self) -> &str {
        self.header(headers::ORIGINAL_ID).or_else(|| self.header(headers::ID)).unwrap_or_default()
    }

    /// When the bus stored it for the first time, in milliseconds since 1970: other than `published_at_ms` only for a message
    /// that was replayed.
    pub fn first_at_ms(&self) -> i64 {
        let first = self.replayed(headers::FIRST_AT).and_then(|at| i64::try_from(at).ok());
        first.map_or(self.published_at_ms, |first| first.min(self.published_at_ms))
    }

    /// Its sequence when it came for the first time, where it was replayed since.
    pub fn first_sequence(&self) -> Option<u64> {
        self.replayed(headers::ORIGINAL_SEQUENCE).filter(|first| *first < self.sequence)
    }

    /// How often it was tried before it was replayed.
    pub fn earlier_attempts(&self) -> u64 {
        self.replayed(headers::ATTEMPTS).unwrap_or(0)
    }

    /// Whether it is for this service: most messages are for whoever reads them.
    pub fn is_for(&self, service: &str) -> bool {
        self.header(headers::ONLY_FOR).is_none_or(|only| only == service)
    }

    /// A number that only a message has that was replayed.
    fn replayed(&self, name: &str) -> Option<u64> {
        self.header(headers::REPLAY_OF)?;
        self.header(name)?.parse().ok()
    }

    /// The record that an observation, a delivery or a command is about.
    pub fn record(&self) -> Option<RecordRef> {
        if let Some(record) = topology::record_of(&self.subject) {
            return Some(record);
        }
        let named = match self.subject.split('.').nth(1)? {
            "observe" => self.decode::<v1::Observation>().ok().map(|seen| seen.record),
            "delivery" => self.decode::<v1::Delivery>().ok().map(|told| told.record),
            _ => None,
        };
        let spelled = || {
            let message: serde_json::Value = serde_json::from_slice(&self.payload).ok()?;
            Some(message.get("record")?.as_str()?.to_owned())
        };
        named.or_else(spelled)?.parse().ok()
    }

    /// What it says, in the form that its content type names.
    pub fn decode<M: prost::Message + Default + serde::de::DeserializeOwned>(&self) -> Result<M, proto::DecodeError> {
        proto::decode(self.content_type(), &self.payload)
    }

    /// The subject on which it was published; where its record is not known, the one that it is stored under.
    pub(crate) fn published_on(&self) -> String {
        let record = self.record();
        record.map_or_else(|| self.subject.clone(), |record| topology::published(&self.subject, Some(&record)))
    }

    /// The content type, for [`proto::decode`].
    pub fn content_type(&self) -> Option<&str> {
        self.header(headers::CONTENT_TYPE)
    }

    /// Makes `span` a child of the span in which the message was published.
    pub fn continue_trace(&self, span: &Span) {
        runtime::telemetry::extract(&|name| self.header(name).map(str::to_owned), span);
    }

    /// Says that the message is done with. An acknowledgement that is lost brings the message again.
    ///
    /// In an ordered feed (observations) it takes effect when all messages before it in its lane are acknowledged too.
    pub async fn ack(&self) -> anyhow::Result<()> {
        match &self.duty {
            Duty::None => Ok(()),
            Duty::Alone { client, reply } => send(client, reply.clone(), AckKind::Ack).await,
            Duty::InOrder { client, held } => match held.done(self.sequence, self.published_at_ms) {
                Some(reply) => send(client, reply, AckKind::Ack).await,
                None => Ok(()),
            },
        }
    }

    /// Says that the message is still being worked on. Needed at least every 5 s where messages are shared out; an ordered
    /// feed does not ask for it.
    pub async fn ack_progress(&self) -> anyhow::Result<()> {
        match &self.duty {
            Duty::Alone { client, reply } => send(client, reply.clone(), AckKind::Progress).await,
            Duty::None | Duty::InOrder { .. } => Ok(()),
        }
    }

    /// Gives the message back, to come again after `delay`. Breaks the order of what is in flight. In an ordered feed it does
    /// nothing: there a message is tried again in place, or [`Feed::rewind`](crate::Feed::rewind) brings all again.
    pub async fn nak(&self, delay: Duration) -> anyhow::Result<()> {
        match &self.duty {
            Duty::Alone { client, reply } => send(client, reply.clone(), AckKind::Nak(Some(delay))).await,
            Duty::None | Duty::InOrder { .. } => Ok(()),
        }
    }
}

/// Says that all these messages are done with; an ordered feed's with one acknowledgement for each lane.
pub async fn ack_all(messages: Vec<Received>) -> anyhow::Result<()> {
    let mut lanes: Vec<(Arc<Held>, Client, Subject)> = Vec::new();
    for message in messages {
        let Duty::InOrder { client, held } = message.duty else {
            message.ack().await?;
            continue;
        };
        let Some(reply) = held.done(message.sequence, message.published_at_ms) else { continue };
        match lanes.iter_mut().find(|(lane, ..)| Arc::ptr_eq(lane, &held)) {
            Some((.., last)) => *last = reply,
            None => lanes.push((held, client, reply)),
        }
    }
    for (_, client, reply) in lanes {
        send(&client, reply, AckKind::Ack).await?;
    }
    Ok(())
}

pub(crate) async fn send(client: &Client, reply: Subject, kind: AckKind) -> anyhow::Result<()> {
    client.publish(reply, kind.into()).await
}

//! One consumer's messages: opened again when it breaks, with gaps noticed and copies left out.

use std::sync::Arc;
use std::task::{Context, Poll};

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use model::Lane;
use tokio::sync::watch;

use super::held::{Held, Offer};
use super::open::{OpenError, patiently, pull_stream};
use super::ordered::{Generation, replace};
use super::tail::Tailing;
use crate::received::{Duty, send};
use crate::server::{Client, Delivered, Messages};
use crate::{Bus, Received, Stream, lag};

pub(super) struct Reader {
    bus: Bus,
    kind: Kind,
    source: Source,
    /// The consumer's own count of the last message, where every one must come: a gap means that some were lost on their way.
    counted: u64,
}

enum Kind {
    /// A lane of a partition. `epoch` is the life of the stream that is read.
    Ordered { partition: u32, lane: Lane, generation: Generation, held: Arc<Held>, epoch: String },
    /// A durable consumer whose messages are acknowledged one by one.
    Shared { stream: Stream, config: Box<pull::Config> },
    /// A consumer that comes and goes.
    Tail(Tailing),
}

/// What comes of opening.
pub(super) struct Opened {
    messages: Messages,
    /// Of a lane.
    generation: Option<Generation>,
    /// Of a tail.
    tailing: Option<Tailing>,
}

impl Opened {
    fn plain(messages: Messages) -> Self {
        Self { messages, generation: None, tailing: None }
    }
}

enum Source {
    Open(Messages),
    Opening(BoxFuture<'static, Result<Opened, OpenError>>),
}

impl Reader {
    pub(super) async fn ordered(bus: &Bus, partition: u32, lane: Lane) -> anyhow::Result<Self> {
        let (stream, generation, epoch) = replace(bus, partition, lane, None).await?;
        let held = Arc::new(Held::after(generation.floor));
        let kind = Kind::Ordered { partition, lane, generation, held, epoch };
        Ok(Self { bus: bus.clone(), kind, source: Source::Open(stream), counted: 0 })
    }

    pub(super) async fn shared(bus: &Bus, stream: Stream, config: pull::Config) -> anyhow::Result<Self> {
        let messages = pull_stream(bus, stream, config.clone()).await?;
        let kind = Kind::Shared { stream, config: Box::new(config) };
        Ok(Self { bus: bus.clone(), kind, source: Source::Open(messages), counted: 0 })
    }

    pub(super) async fn tail(
        bus: &Bus,
        stream: Stream,
        subjects: Vec<String>,
        policy: DeliverPolicy,
    ) -> anyhow::Result<Self> {
        let (messages, tailing) = Tailing::begin(bus, stream, subjects, policy).await?;
        Ok(Self { bus: bus.clone(), kind: Kind::Tail(tailing), source: Source::Open(messages), counted: 0 })
    }

    /// Begins again with what has not been handed out.
    pub(super) fn reopen(&mut self) {
        let bus = self.bus.clone();
        self.counted = 0;
        let opening = match &self.kind {
            Kind::Ordered { partition, lane, generation, held, epoch } => {
                let (partition, lane) = (*partition, *lane);
                let mine = (Generation { floor: held.replaced(), ..*generation }, epoch.clone());
                patiently(move || {
                    let (bus, mine) = (bus.clone(), mine.clone());
                    async move {
                        let (messages, generation, _) = replace(&bus, partition, lane, Some(mine)).await?;
                        Ok(Opened { generation: Some(generation), ..Opened::plain(messages) })
                    }
                })
                .boxed()
            }
            Kind::Shared { stream, config } => {
                let (stream, config) = (*stream, (**config).clone());
                patiently(move || {
                    let (bus, config) = (bus.clone(), config.clone());
                    async move { Ok(Opened::plain(pull_stream(&bus, stream, config).await?)) }
                })
                .boxed()
            }
            Kind::Tail(tailing) => {
                let tailing = tailing.clone();
                patiently(move || {
                    let (bus, tailing) = (bus.clone(), tailing.clone());
                    async move {
                        let (messages, tailing) = tailing.resume(&bus).await?;
                        Ok(Opened { tailing: Some(tailing), ..Opened::plain(messages) })
                    }
                })
                .boxed()
            }
        };
        self.source = Source::Opening(opening);
    }

    pub(super) fn rewind(&mut self) {
        if let Kind::Ordered { held, .. } = &self.kind {
            held.forget();
            self.reopen();
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<anyhow::Result<Received>> {
        loop {
            let message = match &mut self.source {
                Source::Opening(opening) => match std::task::ready!(opening.poll_unpin(cx)) {
                    Ok(opened) => {
                        self.opened(opened);
                        continue;
                    }
                    Err(error) => {
                        let shown = error.to_string();
                        self.source = Source::Opening(std::future::ready(Err(error)).boxed());
                        return Poll::Ready(Err(anyhow::anyhow!(shown)));
                    }
                },
                Source::Open(stream) => std::task::ready!(stream.poll_next(cx)),
            };
            match message {
                Some(Ok(message)) => {
                    if let Some(received) = self.take(message) {
                        return Poll::Ready(Ok(received));
                    }
                }
                Some(Err(error)) => {
                    tracing::debug!(error, "a feed broke; it begins again");
                    self.reopen();
                }
                None => self.reopen(),
            }
        }
    }

    fn opened(&mut self, opened: Opened) {
        match (&mut self.kind, opened.generation, opened.tailing) {
            (Kind::Ordered { generation, .. }, Some(new), _) => *generation = new,
            (Kind::Tail(tailing), _, Some(new)) => *tailing = new,
            _ => {}
        }
        self.source = Source::Open(opened.messages);
    }

    /// Of a tail: which life of the stream it reads.
    pub(super) fn epoch(&self) -> Option<&str> {
        match &self.kind {
            Kind::Tail(tailing) => Some(tailing.epoch()),
            _ => None,
        }
    }

    /// Of a tail: up to which sequence messages were thrown away that it should have read.
    pub(super) fn gone(&self) -> Option<watch::Receiver<u64>> {
        match &self.kind {
            Kind::Tail(tailing) => Some(tailing.gone()),
            _ => None,
        }
    }

    /// A message to hand out; `None` for a copy, and when a gap shows that the reader must begin again.
    fn take(&mut self, message: Delivered) -> Option<Received> {
        let Delivered { stream_sequence: sequence, consumer_sequence: count, times: delivered, reply, .. } = message;
        let client = self.bus.client.clone();
        if !matches!(self.kind, Kind::Shared { .. }) {
            if count != self.counted + 1 && delivered <= 1 {
                tracing::debug!(expected = self.counted + 1, count, "a feed has a gap; it begins again");
                self.reopen();
                return None;
            }
            self.counted = self.counted.max(count);
        }
        let duty = match &mut self.kind {
            Kind::Shared { .. } => Duty::Alone { client, reply },
            Kind::Tail(tailing) => {
                if !tailing.is_new(sequence, message.published_at_ms) {
                    return None;
                }
                Duty::None
            }
            Kind::Ordered { held, .. } => match held.offer(sequence, message.published_at_ms, reply) {
                Offer::New => Duty::InOrder { client, held: Arc::clone(held) },
                Offer::Copy(None) => return None,
                Offer::Copy(Some(reply)) => {
                    acknowledge_later(client, reply);
                    return None;
                }
            },
        };
        Some(Received {
            lane: lag::lane_of(&message.subject),
            subject: message.subject,
            payload: message.payload,
            sequence,
            delivered: u64::try_from(delivered).unwrap_or(1),
            published_at_ms: message.published_at_ms,
            headers: message.headers,
            duty,
        })
    }
}

/// Only after a reconnection, and best effort: an acknowledgement that is lost brings a copy, which is left out again.
fn acknowledge_later(client: Client, reply: async_nats::Subject) {
    tokio::spawn(async move { send(&client, reply, async_nats::jetstream::AckKind::Ack).await });
}

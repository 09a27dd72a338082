//! Feeds: messages as they come, for as long as the process lives, whatever becomes of the server meanwhile.

mod held;
mod open;
mod ordered;
mod reader;
mod shares;
mod tail;

use std::future::poll_fn;

use anyhow::bail;
use async_nats::Subscriber;
use async_nats::jetstream::consumer::DeliverPolicy;
use bytes::Bytes;
use futures_util::StreamExt;
use model::{Lane, System};
use runtime::Count;
use tokio::sync::watch;

use crate::{Bus, Received, Stream, topology};

pub(crate) use held::Held;
pub(crate) use ordered::generation_of;
use reader::Reader;

/// Messages in the order in which they should be handled.
///
/// Survives a server's restart: it begins again where it was. Messages that were read and not acknowledged come again, if not
/// at once then after 10 s; those of [`Bus::observations`] come in order, and only after [`Feed::rewind`] or in another feed.
pub struct Feed {
    readers: Vec<Reader>,
    epoch: Count,
}

/// Where a tail begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// With what is published from now on.
    New,
    /// With this sequence.
    Sequence(u64),
    /// With the newest message of each subject, and then all that follows.
    LastPerSubject,
}

impl Feed {
    /// A feed of no readers yet: the connection may break while they are opened, too.
    fn new(bus: &Bus) -> Self {
        let mut epoch = bus.epoch.clone();
        epoch.look();
        Self { readers: Vec::new(), epoch }
    }

    /// Waits for at least one message, and takes up to `max` of those that are there. Dropping the wait loses nothing.
    ///
    /// An error means that the feed is over: somebody else reads it now.
    pub async fn next_batch(&mut self, max: usize) -> anyhow::Result<Vec<Received>> {
        let Self { readers, epoch } = self;
        loop {
            // Without `unconstrained` the runtime's own budget would cut batches short.
            let batch =
                tokio::task::unconstrained(poll_fn(|cx| shares::batch(readers, max.max(1), |reader| reader.poll(cx))));
            tokio::select! {
                biased;
                changed = epoch.changed() => {
                    if changed.is_err() {
                        bail!("the connection to NATS is closed");
                    }
                    // Whatever was on its way when the connection broke is lost: begin again from what is known.
                    readers.iter_mut().for_each(Reader::reopen);
                }
                batch = batch => return batch,
            }
        }
    }

    /// Waits for one message.
    pub async fn next(&mut self) -> anyhow::Result<Received> {
        loop {
            if let Some(message) = self.next_batch(1).await?.pop() {
                return Ok(message);
            }
        }
    }

    /// Of a tail: which life of its stream the messages of the last batch are of. A stream that was deleted and made again
    /// counts its sequences anew, and is read from its beginning; one that lost its end with its server's power gives those sequences
    /// again, and is read on from there.
    pub fn stream_epoch(&self) -> Option<&str> {
        self.readers.first().and_then(Reader::epoch)
    }

    /// Of a tail: the sequence up to which messages of its stream were thrown away before it could read them, when it began or when its
    /// connection was broken for long; 0 when there were none. Of a tail of some subjects they may have been of others.
    pub fn gone(&self) -> Option<watch::Receiver<u64>> {
        self.readers.first().and_then(Reader::gone)
    }

    /// In an ordered feed: hands out again, in order, all that is not acknowledged. In another feed it does nothing.
    pub fn rewind(&mut self) {
        self.readers.iter_mut().for_each(Reader::rewind);
    }
}

impl Bus {
    /// The observations and deliveries of one partition, all lanes. Whoever opens it last reads it: an older feed of the same
    /// partition ends with an error. Hold a lease on the partition first.
    pub async fn observations(&self, partition: u32) -> anyhow::Result<Feed> {
        if partition >= self.config.partitions {
            bail!("there is no partition {partition}: there are {}", self.config.partitions);
        }
        let mut feed = Feed::new(self);
        for lane in Lane::ALL {
            feed.readers.push(Reader::ordered(self, partition, lane).await?);
        }
        Ok(feed)
    }

    /// The commands of one partition of a system.
    pub async fn commands(&self, system: &System, partition: u32) -> anyhow::Result<Feed> {
        self.shared(Stream::Commands, topology::commands(system, partition)).await
    }

    /// A system's webhooks.
    pub async fn webhooks(&self, system: &System) -> anyhow::Result<Feed> {
        self.shared(Stream::Webhooks, topology::webhooks(system)).await
    }

    /// Deliveries, from the first time that this durable name was used.
    pub async fn deliveries(&self, durable: &str) -> anyhow::Result<Feed> {
        self.shared(Stream::Observations, topology::deliveries(durable)).await
    }

    /// Changes, from the first time that this durable name was used.
    pub async fn changes(&self, durable: &str) -> anyhow::Result<Feed> {
        self.shared(Stream::Changes, topology::changes(durable)).await
    }

    async fn shared(
        &self,
        stream: Stream,
        config: async_nats::jetstream::consumer::pull::Config,
    ) -> anyhow::Result<Feed> {
        let mut feed = Feed::new(self);
        feed.readers.push(Reader::shared(self, stream, config).await?);
        Ok(feed)
    }

    /// What is published on these subjects (all of the stream's, when there are none), in order, for as long as somebody
    /// looks. There is nothing to acknowledge.
    pub async fn tail(&self, stream: Stream, subjects: &[String], from: Tail) -> anyhow::Result<Feed> {
        let (subjects, policy) = match (from, subjects) {
            (Tail::New, _) => (subjects.to_vec(), DeliverPolicy::New),
            (Tail::Sequence(sequence), _) => {
                (subjects.to_vec(), DeliverPolicy::ByStartSequence { start_sequence: sequence.max(1) })
            }
            // The server wants to know of what the last is asked for.
            (Tail::LastPerSubject, []) => (vec!["lockstep.>".to_owned()], DeliverPolicy::LastPerSubject),
            (Tail::LastPerSubject, _) => (subjects.to_vec(), DeliverPolicy::LastPerSubject),
        };
        let mut feed = Feed::new(self);
        feed.readers.push(Reader::tail(self, stream, subjects, policy).await?);
        Ok(feed)
    }

    /// What is announced on a subject, which may have wildcards, from now on. What comes while the connection is broken is lost.
    pub async fn listen(&self, subject: &str) -> anyhow::Result<Listener> {
        Ok(Listener(self.server.nats()?.client().subscribe(subject.to_owned()).await?))
    }
}

/// What is announced.
pub struct Listener(Subscriber);

impl Listener {
    /// The next announcement's subject and bytes; `None` when the connection is closed.
    pub async fn next(&mut self) -> Option<(String, Bytes)> {
        self.0.next().await.map(|message| (message.subject.to_string(), message.payload))
    }
}

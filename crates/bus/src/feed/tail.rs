//! A consumer that comes and goes, and what it has read: where it goes on, and whether that is still the same stream.

use std::sync::Arc;

use async_nats::jetstream::consumer::DeliverPolicy;
use time::OffsetDateTime;
use tokio::sync::watch;

use super::open::{OpenError, pull_stream};
use crate::server::Messages;
use crate::{Bus, Stream, topology};

/// What is read of a stream, and how far.
#[derive(Debug, Clone)]
pub(super) struct Tailing {
    stream: Stream,
    subjects: Vec<String>,
    policy: DeliverPolicy,
    last: Option<Last>,
    /// Which life of the stream is read.
    epoch: String,
    /// Up to which sequence of that life messages were thrown away that should have been read; 0 for none.
    gone: Arc<watch::Sender<u64>>,
}

/// The last message that was read.
#[derive(Debug, Clone, Copy)]
struct Last {
    sequence: u64,
    /// When the bus stored it, in milliseconds since 1970.
    at_ms: i64,
}

impl Tailing {
    /// Begins to read.
    pub(super) async fn begin(
        bus: &Bus,
        stream: Stream,
        subjects: Vec<String>,
        policy: DeliverPolicy,
    ) -> anyhow::Result<(Messages, Self)> {
        let about = bus.server.about(stream).await?;
        // "From now on" must mean the same moment after a restart, even when nothing has come yet.
        let policy = match policy {
            DeliverPolicy::New => DeliverPolicy::ByStartSequence { start_sequence: about.last + 1 },
            policy => policy,
        };
        let gone = Arc::new(watch::Sender::new(0));
        let tailing = Self { stream, subjects, policy, last: None, epoch: about.epoch, gone };
        tailing.look_for_a_gap(about.first);
        Ok((tailing.open(bus).await?, tailing))
    }

    /// Goes on after the last message.
    pub(super) async fn resume(mut self, bus: &Bus) -> Result<(Messages, Self), OpenError> {
        let unavailable = |error: anyhow::Error| OpenError::Unavailable(error.to_string());
        let about = bus.server.about(self.stream).await.map_err(unavailable)?;
        if about.epoch != self.stream_epoch() {
            // A stream that was made again counts from 1, and all in it is new.
            self = Self { policy: DeliverPolicy::All, last: None, epoch: about.epoch, ..self };
        } else if let Some(last) = self.last {
            if self.has_lost(bus, last, about.last).await.map_err(unavailable)? {
                // What has those sequences now was stored after all that was read.
                let since = OffsetDateTime::from_unix_timestamp_nanos(i128::from(last.at_ms + 1) * 1_000_000);
                let start_time = since.unwrap_or(OffsetDateTime::UNIX_EPOCH);
                let epoch = format!("{}{LOST}{}", about.epoch, last.at_ms);
                self = Self { policy: DeliverPolicy::ByStartTime { start_time }, last: None, epoch, ..self };
            } else {
                self.policy = DeliverPolicy::ByStartSequence { start_sequence: last.sequence + 1 };
            }
        }
        let opened = self.open(bus).await?;
        self.look_for_a_gap(about.first);
        Ok((opened, self))
    }

    /// What a stream has thrown away before it was read never comes. Of a tail of some subjects it may have been of others.
    fn look_for_a_gap(&self, first: u64) {
        let wanted = match self.policy {
            DeliverPolicy::All => 1,
            DeliverPolicy::ByStartSequence { start_sequence } => start_sequence,
            _ => u64::MAX,
        };
        self.gone.send_replace(if first > wanted { first - 1 } else { 0 });
    }

    /// A server whose power was cut may have lost the end of the stream. It gives those sequences once more: to what was read last
    /// there is then nothing, or something else.
    async fn has_lost(&self, bus: &Bus, read: Last, last: u64) -> anyhow::Result<bool> {
        if last < read.sequence {
            return Ok(true);
        }
        let there = bus.server.next(self.stream, "lockstep.>", read.sequence).await?;
        Ok(there.is_some_and(|there| there.sequence == read.sequence && there.published_at_ms != read.at_ms))
    }

    async fn open(&self, bus: &Bus) -> Result<Messages, OpenError> {
        pull_stream(bus, self.stream, topology::tail(self.subjects.clone(), self.policy)).await
    }

    /// Whether a message is new; then it is the last that was read.
    pub(super) fn is_new(&mut self, sequence: u64, at_ms: i64) -> bool {
        let is_new = self.last.is_none_or(|last| sequence > last.sequence);
        if is_new {
            self.last = Some(Last { sequence, at_ms });
        }
        is_new
    }

    /// Which life of the stream is read: another one when it was made again, and when it lost its end.
    pub(super) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Tells whenever messages were thrown away that should have been read: up to which sequence.
    pub(super) fn gone(&self) -> watch::Receiver<u64> {
        self.gone.subscribe()
    }

    /// The same, as the server counts lives: it knows nothing of a lost end.
    fn stream_epoch(&self) -> &str {
        self.epoch.split(LOST).next().unwrap_or_default()
    }
}

/// Stands in an epoch before the moment since which the stream is another one, though its server takes it for the same.
const LOST: char = '~';

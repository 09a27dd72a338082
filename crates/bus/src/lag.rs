//! How far readers are behind, and single messages by subject: what monitors and operators ask for.

use std::collections::BTreeMap;

use anyhow::Context;
use futures_util::TryStreamExt;
use model::Lane;

use crate::topology::{self, STREAMS, StreamSpec};
use crate::{Bus, Received, Stream};

/// How far one reader of a stream is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// The stream.
    pub stream: &'static str,
    /// The reader: a durable consumer, without its generation.
    pub consumer: String,
    /// Messages that it has not been given yet.
    pub pending: u64,
    /// Messages that it was given and has not acknowledged.
    pub ack_pending: u64,
    /// The sequence up to which it has acknowledged everything: one that is to come again later keeps it where it is.
    pub acked: u64,
    /// The highest sequence that it was given.
    pub given: u64,
}

impl Bus {
    /// How far every durable reader is behind.
    pub async fn consumer_lag(&self) -> anyhow::Result<Vec<Lag>> {
        let mut lags = Vec::new();
        for spec in STREAMS {
            lags.extend(self.lags_of(spec).await?);
        }
        lags.extend(self.webhooks_without_reader(&lags).await?);
        Ok(lags)
    }

    /// How many webhooks wait for connectors that never read any.
    async fn webhooks_without_reader(&self, lags: &[Lag]) -> anyhow::Result<Vec<Lag>> {
        let spec = Stream::Webhooks.spec();
        let stream = self.server.nats()?.get_stream_no_info(spec.name).await?;
        let stored: Vec<(String, usize)> = stream.info_with_subjects("lockstep.webhook.*").await?.try_collect().await?;
        let waiting = stored.into_iter().filter_map(|(subject, count)| {
            let consumer = topology::webhooks(&topology::system_of(&subject)?).durable_name?;
            let pending = u64::try_from(count).unwrap_or(u64::MAX);
            Some(Lag { stream: spec.name, consumer, pending, ack_pending: 0, acked: 0, given: 0 })
        });
        Ok(waiting.filter(|lag| !lags.iter().any(|known| known.consumer == lag.consumer)).collect())
    }

    /// How far the durable readers of one stream are behind.
    pub(crate) async fn lags_of(&self, spec: &'static StreamSpec) -> anyhow::Result<Vec<Lag>> {
        let stream = self.server.nats()?.get_stream_no_info(spec.name).await?;
        let consumers: Vec<_> =
            stream.consumers().try_collect().await.with_context(|| format!("{}: its readers", spec.name))?;
        let mut by_name: BTreeMap<String, ((bool, u64), Lag)> = BTreeMap::new();
        for info in consumers.into_iter().filter(|info| info.config.durable_name.is_some()) {
            let (name, generation) = crate::feed::generation_of(&info.name);
            let lag = Lag {
                stream: spec.name,
                consumer: name.to_owned(),
                pending: info.num_pending,
                ack_pending: u64::try_from(info.num_ack_pending).unwrap_or(0),
                acked: info.ack_floor.stream_sequence,
                given: info.delivered.stream_sequence,
            };
            // While a reader is being replaced there are two of it; the newer one counts. One that nobody ever read was left behind by a
            // process that died before it began.
            let rank = (info.delivered.consumer_sequence > 0 || info.num_pending == 0, generation);
            if by_name.get(name).is_none_or(|(known, _)| *known < rank) {
                by_name.insert(name.to_owned(), (rank, lag));
            }
        }
        Ok(by_name.into_values().map(|(_, lag)| lag).collect())
    }

    /// Which life of a stream this is: a stream that was deleted and made again counts its sequences anew.
    pub async fn stream_epoch(&self, stream: Stream) -> anyhow::Result<String> {
        Ok(self.server.about(stream).await?.epoch)
    }

    /// How many messages a stream holds, and the sequence of its last.
    pub async fn stream_info(&self, stream: Stream) -> anyhow::Result<(u64, u64)> {
        let about = self.server.about(stream).await?;
        Ok((about.messages, about.last))
    }

    /// The last message on a subject, which may have wildcards. Nothing to acknowledge.
    pub async fn last_message(&self, stream: Stream, subject: &str) -> anyhow::Result<Option<Received>> {
        self.server.last(stream, subject).await
    }

    /// The message with a sequence, if it is still there. Nothing to acknowledge.
    pub async fn peek(&self, stream: Stream, sequence: u64) -> anyhow::Result<Option<Received>> {
        let handle = self.server.nats()?.get_stream_no_info(stream.name()).await?;
        crate::server::found(handle.direct_get(sequence).await)
    }
}

/// The lane in a stored subject of observations.
pub(crate) fn lane_of(subject: &str) -> Lane {
    let mut tokens = subject.split('.').skip(1);
    match tokens.next() {
        Some("observe" | "delivery") => tokens.nth(1).and_then(Lane::named).unwrap_or_default(),
        _ => Lane::default(),
    }
}

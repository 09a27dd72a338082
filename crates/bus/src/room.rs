//! Room on the streams that refuse what does not fit: what its readers have acknowledged goes, the oldest first.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::TryStreamExt;
use runtime::Process;

use crate::topology::STREAMS;
use crate::{Bus, Stream};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(5);
/// From how many percent of its size on room is made on a stream.
const FULL_PERCENT: u64 = 80;

impl Bus {
    /// Makes room whenever a stream that refuses is nearly full, until the process ends.
    pub fn keep_room(&self, process: &Process) {
        let (bus, process) = (self.clone(), process.clone());
        let task = process.clone();
        process.spawn("room", async move {
            let pause = || tokio::time::sleep(EVERY + EVERY.mul_f64(runtime::jitter() / 10.0));
            while task.shutdown().run_until_cancelled(pause()).await.is_some() {
                for spec in STREAMS.iter().filter(|spec| spec.refuses) {
                    match bus.make_room(spec.stream).await {
                        Ok(0) => {}
                        Ok(gone) => tracing::info!(stream = spec.name, gone, "what was read has made room"),
                        Err(error) => {
                            tracing::warn!(stream = spec.name, error = format!("{error:#}"), "no room was made");
                        }
                    }
                }
            }
            Ok(())
        });
    }

    /// Where a stream is nearly full: deletes its older half, as far as those whose duty it is have acknowledged it (deliveries
    /// are only watched by the others). How many messages went.
    pub async fn make_room(&self, stream: Stream) -> anyhow::Result<u64> {
        let handle = self.server.nats()?.get_stream(stream.name()).await?;
        let info = handle.cached_info();
        let max = u64::try_from(info.config.max_bytes).unwrap_or(0);
        if max == 0 || info.state.bytes < max / 100 * FULL_PERCENT {
            return Ok(0);
        }
        let half = info.state.first_sequence.midpoint(info.state.last_sequence);
        let readers: Vec<_> = handle.consumers().try_collect().await?;
        // A lane's reader is made anew from the floor of the one before: the furthest counts.
        let mut floors: BTreeMap<String, u64> = BTreeMap::new();
        for reader in readers.into_iter().filter(|reader| reader.config.durable_name.is_some()) {
            let is_duty = ["observe-", "webhooks-"].iter().any(|name| reader.name.starts_with(name));
            if is_duty {
                let floor = floors.entry(reader.config.filter_subject).or_default();
                *floor = reader.ack_floor.stream_sequence.max(*floor);
            }
        }
        let mut gone = 0;
        for (subjects, floor) in floors {
            // The sequence itself stays.
            let purged = handle.purge().sequence(floor.min(half) + 1).filter(subjects).await?;
            gone += purged.purged;
        }
        Ok(gone)
    }
}

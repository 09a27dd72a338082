//! The streams and buckets: made where they are missing, and brought up to date where that loses nothing.

use std::time::Duration;

use anyhow::{Context, bail};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::kv;
use async_nats::jetstream::stream::{Info, StorageType};
use async_nats::jetstream::{ErrorCode, stream};

use crate::topology::{self, MIB, STREAMS, StreamSpec};
use crate::{Bus, Config, Stream};

impl Bus {
    /// Makes the streams and buckets that are missing, and brings those that differ up to date: for services, whose settings the whole
    /// goes by. Refuses what would lose messages.
    pub async fn ensure_topology(&self) -> anyhow::Result<()> {
        let there = self.streams_there().await?;
        self.refuse_losses(&there).await?;
        let jetstream = self.server.nats()?;
        let mut changed = Vec::new();
        for spec in STREAMS {
            let wanted = spec.config(&self.config);
            let before = there.iter().find(|(known, _)| known.stream == spec.stream).map(|(_, info)| &info.config);
            let difference = before.and_then(|before| difference(before, &wanted));
            if let Err(error) = jetstream.create_or_update_stream(wanted).await {
                self.put_back(changed).await;
                return Err(error).with_context(|| not_made(spec));
            }
            if let Some(difference) = difference {
                tracing::warn!(stream = spec.name, difference, "the stream was made what this process's settings say");
                changed.extend(before);
            }
        }
        self.forget_files(topology::LEASES).await;
        for config in self.buckets() {
            let name = config.bucket.clone();
            let made = jetstream.create_or_update_key_value(config).await;
            made.with_context(|| format!("the bucket {name} cannot be made or brought up to date"))?;
        }
        Ok(())
    }

    /// Makes the streams and buckets that are missing. What is there stays as it is: an operator's command may have other settings than
    /// the services, and a server that was restarted has lost only what it kept in memory.
    pub async fn complete_topology(&self) -> anyhow::Result<()> {
        let jetstream = self.server.nats()?;
        for spec in STREAMS {
            let made = jetstream.get_or_create_stream(spec.config(&self.config)).await;
            made.with_context(|| not_made(spec))?;
        }
        for config in self.buckets() {
            let name = config.bucket.clone();
            if jetstream.get_key_value(&name).await.is_err() {
                let made = jetstream.create_or_update_key_value(config).await;
                made.with_context(|| format!("the bucket {name} cannot be made"))?;
            }
        }
        Ok(())
    }

    fn buckets(&self) -> [kv::Config; 3] {
        let bucket = |name: &str, max_age, max_bytes| kv::Config {
            bucket: name.into(),
            history: 1,
            max_age,
            max_bytes,
            num_replicas: self.config.replicas,
            ..kv::Config::default()
        };
        // Tickets and leases are worth nothing after a restart, and no disk. One that was full keeps a stream of files from taking anything
        // more until the server starts again, and without leases nothing would be read.
        let in_memory = |name: &str, max_age| kv::Config {
            storage: StorageType::Memory,
            ..bucket(name, max_age, 16 * 1024 * 1024)
        };
        [
            in_memory(topology::LEASES, crate::lease::EXPIRES),
            in_memory(topology::TICKETS, crate::ticket::EXPIRES),
            bucket(topology::CURSORS, Duration::ZERO, 64 * 1024 * 1024),
        ]
    }

    /// Takes away a bucket that an older release kept in files: a server does not move one to memory.
    async fn forget_files(&self, bucket: &str) {
        let Ok(jetstream) = self.server.nats() else { return };
        let name = format!("KV_{bucket}");
        let Ok(stream) = jetstream.get_stream(&name).await else { return };
        // If this fails, making it anew says so.
        if stream.cached_info().config.storage == StorageType::File {
            let _ = jetstream.delete_stream(&name).await;
        }
    }

    /// Gives streams what they had before one of them was refused what it should have: half of it is nobody's settings.
    async fn put_back(&self, changed: Vec<&stream::Config>) {
        let Ok(jetstream) = self.server.nats() else { return };
        for before in changed {
            let (stream, put_back) = (&before.name, jetstream.update_stream(before).await);
            let failed = put_back.err().map(|error| error.to_string());
            tracing::warn!(stream, failed, "another stream was refused, so this one is to be what it was");
        }
    }

    /// The streams that are there already.
    async fn streams_there(&self) -> anyhow::Result<Vec<(&'static StreamSpec, Info)>> {
        let mut there = Vec::new();
        for spec in STREAMS {
            match self.server.nats()?.get_stream(spec.name).await {
                Ok(stream) => there.push((spec, stream.cached_info().clone())),
                Err(error) if is_missing(&error.kind()) => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("the stream {} cannot be looked at", spec.name));
                }
            }
        }
        Ok(there)
    }

    async fn refuse_losses(&self, there: &[(&'static StreamSpec, Info)]) -> anyhow::Result<()> {
        let configs: Vec<_> = there.iter().map(|(spec, info)| (*spec, &info.config)).collect();
        if let Some(why) = shrinks(&configs, &self.config) {
            bail!("{why}");
        }
        let observations = there.iter().find(|(spec, _)| spec.stream == Stream::Observations);
        let Some((known, info)) = observations.and_then(|(_, info)| Some((partitions(&info.config)?, info))) else {
            return Ok(());
        };
        if known == self.config.partitions {
            return Ok(());
        }
        if let Some(living) = self.partition_readers().await? {
            bail!(
                "nats.partitions is {}, and {living} read the streams in {known}: set it to {known}; or, to change it, stop all \
                 resolvers and connectors first (one that was killed counts for {} s more)",
                self.config.partitions,
                crate::lease::EXPIRES.as_secs()
            );
        }
        let mut lags = self.lags_of(Stream::Observations.spec()).await?;
        lags.retain(|lag| lag.consumer.starts_with("observe-"));
        let never_read = lags.is_empty() && info.state.messages > 0;
        if there.iter().any(|(spec, _)| spec.stream == Stream::Commands) {
            lags.extend(self.lags_of(Stream::Commands.spec()).await?);
        }
        let behind = lags.iter().find(|lag| lag.pending > 0 || lag.ack_pending > 0);
        let unread = behind.map(|lag| lag.consumer.as_str()).or(never_read.then_some("the resolver"));
        if let Some(reader) = unread {
            // Commands are kept for ever: those of a system that is gone are never read.
            let gone = behind.filter(|lag| lag.stream == Stream::Commands.name()).map(|lag| {
                let (stream, consumer) = (lag.stream, &lag.consumer);
                format!("; or, if its connector is gone for good, remove it, and the next: `nats consumer rm {stream} {consumer}`")
            });
            bail!(
                "nats.partitions is {}, and the streams have {known}: {reader} has not read everything yet, and what is unread would be read \
                 out of order, or never. Set it to {known} until `lockstep_consumer_lag` is 0{}",
                self.config.partitions,
                gone.unwrap_or_default()
            );
        }
        Ok(())
    }
}

fn not_made(spec: &StreamSpec) -> String {
    format!("the stream {} cannot be made or brought up to date (nats.storage_mb bounds what it takes)", spec.name)
}

/// In what a stream differs from what it should be, with the values it has and should have.
fn difference(is: &stream::Config, wanted: &stream::Config) -> Option<String> {
    let all: [(&str, String, String); 8] = [
        ("partitions", shown(partitions(is)), shown(partitions(wanted))),
        ("bytes", is.max_bytes.to_string(), wanted.max_bytes.to_string()),
        ("replicas", is.num_replicas.to_string(), wanted.num_replicas.to_string()),
        ("seconds", is.max_age.as_secs().to_string(), wanted.max_age.as_secs().to_string()),
        ("of one subject", is.max_messages_per_subject.to_string(), wanted.max_messages_per_subject.to_string()),
        ("when full", format!("{:?}", is.discard), format!("{:?}", wanted.discard)),
        ("copies for s", is.duplicate_window.as_secs().to_string(), wanted.duplicate_window.as_secs().to_string()),
        ("subjects", subjects(is), subjects(wanted)),
    ];
    let differ = all.into_iter().filter(|(_, is, wanted)| is != wanted);
    let told: Vec<_> = differ.map(|(what, is, wanted)| format!("{what}: {is}, now {wanted}")).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

fn shown(partitions: Option<u32>) -> String {
    partitions.map_or_else(|| "none".to_owned(), |partitions| partitions.to_string())
}

fn subjects(config: &stream::Config) -> String {
    config.subjects.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(" ")
}

pub(crate) fn is_missing(error: &GetStreamErrorKind) -> bool {
    matches!(error, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// Why streams that are there may not be made smaller, or kept by fewer servers, by these settings; `None` where they are not, or may.
fn shrinks(there: &[(&'static StreamSpec, &stream::Config)], config: &Config) -> Option<String> {
    if config.may_shrink {
        return None;
    }
    let way_out = "Set it to what it was; or, if that is meant, set nats.may_shrink for one start";
    if let Some(most) = there.iter().map(|(_, known)| known.num_replicas).max().filter(|most| *most > config.replicas) {
        return Some(format!(
            "nats.replicas is {}, and {most} servers keep the streams: fewer would. {way_out}",
            config.replicas
        ));
    }
    // All together: a release may divide the whole otherwise.
    let in_files = || there.iter().filter(|(spec, known)| !spec.memory && known.max_bytes > 0);
    let known: i64 = in_files().map(|(_, known)| known.max_bytes).sum();
    let wanted: i64 = in_files().map(|(spec, _)| spec.config(config).max_bytes).sum();
    let share: i64 = in_files().map(|(spec, _)| i64::from(spec.share)).sum();
    (wanted < known).then(|| {
        // Each stream's part is rounded down.
        let megabytes = (known * 100 + share * MIB - 1) / (share * MIB).max(1);
        format!(
            "nats.storage_mb is {}, and the streams have {megabytes}: their oldest messages would go. {way_out}",
            config.storage_mb
        )
    })
}

/// Into how many partitions a stream puts what is observed.
pub(crate) fn partitions(observations: &stream::Config) -> Option<u32> {
    let destination = &observations.subject_transform.as_ref()?.destination;
    destination.split_once("partition(")?.1.split(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(made_by: &Config, config: &Config) -> Option<String> {
        let made: Vec<_> = STREAMS.iter().map(|spec| (spec, spec.config(made_by))).collect();
        let there: Vec<_> = made.iter().map(|(spec, config)| (*spec, config)).collect();
        shrinks(&there, config)
    }

    #[test]
    fn streams_are_not_made_smaller_unless_that_is_said() {
        let config = |storage_mb, replicas| Config { replicas, storage_mb, ..Config::default() };
        assert_eq!(why(&config(1_000, 1), &config(1_000, 1)), None);
        assert_eq!(why(&config(1_000, 1), &config(1_001, 3)), None, "they may grow");
        let smaller = why(&config(1_023, 1), &config(500, 1)).unwrap();
        assert!(smaller.contains("nats.storage_mb is 500, and the streams have 1023"), "{smaller}");
        let fewer = why(&config(100, 3), &config(100, 1)).unwrap();
        assert!(fewer.contains("nats.replicas is 1, and 3 servers"), "{fewer}");
        assert_eq!(why(&config(1_000, 3), &Config { may_shrink: true, ..config(64, 1) }), None);
        assert_eq!(shrinks(&[], &config(64, 1)), None);
    }

    #[test]
    fn what_a_stream_is_made_is_told_with_what_it_was() {
        let made = |config: &Config| Stream::Observations.spec().config(config);
        let (is, wanted) = (Config::default(), Config { partitions: 4, storage_mb: 8_192, ..Config::default() });
        assert_eq!(difference(&made(&is), &made(&is)), None);
        let told = difference(&made(&is), &made(&wanted)).unwrap();
        assert_eq!(told, "partitions: 2, now 4; bytes: 1932735283, now 3865470566");
    }

    #[test]
    fn a_stream_tells_its_partitions() {
        let made = |partitions| Stream::Observations.spec().config(&Config { partitions, ..Config::default() });
        assert_eq!((partitions(&made(2)), partitions(&made(64))), (Some(2), Some(64)));
        assert_eq!(partitions(&stream::Config::default()), None);
    }
}

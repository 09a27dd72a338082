//! The connection to NATS: made with patience, watched, and brought up to the topology.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use async_nats::jetstream;
use async_nats::{ConnectOptions, Event};
use runtime::{Count, Counter, Process};
use tokio::time::Instant;

use crate::server::{Client, Nats, Server};
use crate::topology::STREAMS;
use crate::{Config, Stream};

/// JetStream as the services see it. A clone is the same connection.
#[derive(Clone)]
pub struct Bus {
    pub(crate) client: Client,
    pub(crate) server: Server,
    /// How long one attempt at a publish waits for its acknowledgement.
    pub(crate) attempt: Duration,
    pub(crate) config: Arc<Config>,
    /// Counts how often the connection was made; readers begin anew with each.
    pub(crate) epoch: Count,
}

/// How a NATS server stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its version.
    pub version: String,
    /// The bytes of its disk that are set aside or taken.
    pub storage_reserved: u64,
    /// The bytes of its disk that we may have, where that is bounded.
    pub storage_max: Option<u64>,
    /// The streams that are not there yet.
    pub missing: Vec<&'static str>,
    /// Into how many partitions the streams are divided, where they are there.
    pub partitions: Option<u32>,
    /// The most bytes that it takes as one message, headers included.
    pub message_bytes_max: usize,
}

/// The oldest server that has all that the topology needs.
const SERVER_MIN: (u32, u32) = (2, 12);
const API_TIMEOUT: Duration = Duration::from_secs(10);
const RECONNECT_MAX: Duration = Duration::from_secs(1);
/// How many publishes wait for their acknowledgement at once, in the whole process.
const IN_FLIGHT_MAX: usize = 8_192;

impl Bus {
    /// Connects, waiting for the server if it is not there yet, and checks that it can do what is needed. From then on the
    /// process's readiness says under `nats` whether the connection stands.
    pub async fn connect(config: &Config, process: &Process) -> anyhow::Result<Self> {
        config.check().map_err(anyhow::Error::msg)?;
        runtime::install_crypto();
        let epoch = Counter::default();
        let mut watched = epoch.watch();
        let client = dial(config, process, &Arc::new(epoch)).await?;
        // The first connection's event comes a moment later; readers must not take it for a second connection.
        let heard = tokio::time::timeout(API_TIMEOUT, watched.changed()).await;
        heard.context("the NATS client does not report its connection")??;
        check_version(&client.server_info().version)?;
        let jetstream = jetstream::ContextBuilder::new().timeout(API_TIMEOUT).build(client.clone());
        let attempt = Duration::from_millis(config.publish_timeout_ms / 2).min(Duration::from_secs(2));
        let publisher = jetstream::ContextBuilder::new()
            .timeout(attempt)
            .ack_timeout(attempt)
            .max_ack_inflight(IN_FLIGHT_MAX)
            .build(client.clone());
        jetstream.query_account().await.with_context(|| {
            format!("the NATS server at {} has no JetStream for us: start it with -js", config.shown_url())
        })?;
        let server = Server::Nats(Box::new(Nats { jetstream, publisher, tickets: Arc::default() }));
        let config = Arc::new(config.clone());
        let bus = Self { client: Client::Nats(client), server, attempt, config, epoch: watched };
        process.ready("nats", Ok(()));
        process.spawn("topology", keep_topology(bus.clone(), process.clone()));
        Ok(bus)
    }

    /// The server, and what it still has room for. Changes nothing.
    pub async fn standing(&self) -> anyhow::Result<Standing> {
        let account = self.server.nats()?.query_account().await?;
        let mut missing = Vec::new();
        for spec in STREAMS {
            if self.server.nats()?.get_stream(spec.name).await.is_err() {
                missing.push(spec.name);
            }
        }
        let limit = account.limits.max_storage.and_then(|max| u64::try_from(max).ok()).filter(|max| *max > 0);
        Ok(Standing {
            version: self.server.nats()?.client().server_info().version,
            storage_reserved: account.reserved_storage.max(account.storage),
            storage_max: limit,
            partitions: if missing.contains(&Stream::Observations.name()) {
                None
            } else {
                self.server.partitions().await?
            },
            missing,
            message_bytes_max: self.message_bytes_max(),
        })
    }

    /// Where NATS is, for a person: without user and password.
    pub fn shown_url(&self) -> String {
        self.config.shown_url()
    }

    /// Into how many partitions observations and commands are divided.
    pub fn partitions(&self) -> u32 {
        self.config.partitions
    }

    /// The most bytes that the server takes as one message, its headers included.
    pub fn message_bytes_max(&self) -> usize {
        self.client.payload_max()
    }

    /// Empties a stream, for tests and for starting over.
    pub async fn purge(&self, stream: Stream) -> anyhow::Result<()> {
        self.server.nats()?.get_stream_no_info(stream.name()).await?.purge().await?;
        Ok(())
    }

    /// Waits until everything handed to the connection has been written to it.
    pub async fn flush(&self) -> anyhow::Result<()> {
        Ok(self.server.nats()?.client().flush().await?)
    }
}

async fn dial(config: &Config, process: &Process, epoch: &Arc<Counter>) -> anyhow::Result<async_nats::Client> {
    let deadline = Instant::now() + Duration::from_millis(config.connect_timeout_ms);
    let addresses: Vec<String> = config.url.split(',').map(|url| url.trim().to_owned()).collect();
    let mut wait = Duration::from_millis(50);
    loop {
        let options = options(config, process, Arc::clone(epoch)).await?;
        let error = match options.connect(addresses.clone()).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let refused = matches!(
            error.kind(),
            async_nats::ConnectErrorKind::Authentication | async_nats::ConnectErrorKind::AuthorizationViolation
        );
        if refused {
            bail!("NATS at {} refuses our credentials: {error}", config.shown_url());
        }
        if Instant::now() + wait >= deadline {
            bail!("NATS at {} does not answer ({error}): start it, or set nats.url or NATS_URL", config.shown_url());
        }
        process.ready("nats", Err(format!("waiting for {}", config.shown_url())));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = process.shutdown().cancelled() => bail!("stopped while waiting for NATS"),
        }
        wait = (wait * 2).min(RECONNECT_MAX);
    }
}

async fn options(config: &Config, process: &Process, epoch: Arc<Counter>) -> anyhow::Result<ConnectOptions> {
    let watched = process.clone();
    let mut options = ConnectOptions::new()
        .name(format!("lockstep-{}", process.service()))
        .ping_interval(Duration::from_secs(5))
        .connection_timeout(Duration::from_secs(5))
        .request_timeout(Some(API_TIMEOUT))
        .reconnect_delay_callback(|attempt| {
            let attempt = u32::try_from(attempt.min(100)).unwrap_or(100);
            (Duration::from_millis(20) * attempt).min(RECONNECT_MAX)
        })
        .event_callback(move |event| {
            heard(&event, &watched, &epoch);
            std::future::ready(())
        });
    options = match config.in_url() {
        Some((user, Some(password))) => options.user_and_password(user, password),
        Some((token, None)) => options.token(token),
        None => options,
    };
    if let (Some(user), Some(password)) = (&config.user, &config.password) {
        options = options.user_and_password(user.clone(), password.expose().to_owned());
    }
    if let Some(token) = &config.token {
        options = options.token(token.expose().to_owned());
    }
    if let Some(path) = &config.credentials {
        let read = options.credentials_file(path).await;
        options = read.with_context(|| format!("nats.credentials: {} cannot be read", path.display()))?;
    }
    Ok(options)
}

/// A server that was restarted has lost what it kept in memory only.
async fn keep_topology(bus: Bus, process: Process) -> anyhow::Result<()> {
    let mut epoch = bus.epoch.clone();
    epoch.look();
    while let Some(Ok(())) = process.shutdown().run_until_cancelled(epoch.changed()).await {
        let made = process.shutdown().run_until_cancelled(Box::pin(bus.complete_topology())).await;
        if let Some(Err(error)) = made {
            tracing::warn!(error = format!("{error:#}"), "the streams were not looked after; the next connection will");
        }
    }
    Ok(())
}

fn heard(event: &Event, process: &Process, epoch: &Counter) {
    match event {
        Event::Connected => {
            epoch.add();
            process.ready("nats", Ok(()));
        }
        Event::Disconnected | Event::Closed if process.shutdown().is_cancelled() => {}
        Event::Disconnected | Event::Closed => process.ready("nats", Err("the connection to NATS is broken".into())),
        Event::SlowConsumer(_) => tracing::warn!("NATS drops messages: a subscription is not read fast enough"),
        Event::ServerError(error) => tracing::warn!(%error, "NATS reports an error"),
        Event::ClientError(error) => tracing::debug!(%error, "the NATS client reports an error"),
        Event::LameDuckMode | Event::Draining => {}
    }
}

fn check_version(version: &str) -> anyhow::Result<()> {
    let mut parts = version.split(['.', '-']).map(|part| part.parse::<u32>().ok());
    let known = parts.next().flatten().zip(parts.next().flatten());
    let (major, minor) = SERVER_MIN;
    if known.is_none_or(|known| known < SERVER_MIN) {
        bail!("the NATS server is version {version}; Lockstep needs {major}.{minor} or newer");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_version;

    #[test]
    fn an_old_server_is_refused_with_its_version() {
        assert!(check_version("2.12.0").is_ok());
        assert!(check_version("2.15.1").is_ok());
        assert!(check_version("3.0.0-beta.1").is_ok());
        let refused = check_version("2.9.25").unwrap_err().to_string();
        assert!(refused.contains("2.9.25") && refused.contains("2.12"), "{refused}");
    }
}

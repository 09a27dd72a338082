//! The section `[monitor]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use runtime::config::ConfigError;
use serde::Deserialize;

/// The section `[monitor]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The services that must be there for the whole to be healthy.
    pub expect: Vec<String>,
    /// A service that was silent for longer is down.
    pub silent_ms: u64,
    /// A system to which no call succeeded for longer is in doubt.
    pub stale_ms: u64,
    /// How often NATS, PostgreSQL and the readers' lag are looked at.
    pub probe_ms: u64,
    /// How long such a look may take.
    pub probe_wait_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 3001)),
            expect: ["ingest", "resolver", "broadcaster", "monitor"].map(str::to_owned).to_vec(),
            silent_ms: 10_000,
            stale_ms: 900_000,
            probe_ms: 5_000,
            probe_wait_ms: 3_000,
        }
    }
}

impl Config {
    /// Refuses what cannot work.
    pub fn check(&self) -> Result<(), ConfigError> {
        let amounts = [
            ("monitor.silent_ms", self.silent_ms),
            ("monitor.stale_ms", self.stale_ms),
            ("monitor.probe_ms", self.probe_ms),
            ("monitor.probe_wait_ms", self.probe_wait_ms),
        ];
        match amounts.iter().find(|(_, amount)| *amount == 0) {
            Some((key, _)) => Err(ConfigError::new(*key, "must be above 0")),
            None => Ok(()),
        }
    }

    pub(crate) fn probe(&self) -> Duration {
        Duration::from_millis(self.probe_ms)
    }

    pub(crate) fn probe_wait(&self) -> Duration {
        Duration::from_millis(self.probe_wait_ms)
    }
}

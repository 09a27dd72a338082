//! The section `[broadcaster]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use runtime::config::ConfigError;
use serde::Deserialize;

/// The section `[broadcaster]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// How many clients are served at once; one more is told to come back later.
    pub clients_max: usize,
    /// How many rooms one client may be in.
    pub rooms_max: usize,
    /// How large a client's frame may be.
    pub frame_max_bytes: usize,
    /// How many frames a client may send in a minute.
    pub frames_per_minute: u32,
    /// How many messages may wait for one client; one that falls further behind is closed with 1013.
    pub waiting_max: usize,
    /// How many bytes of messages may wait for one client.
    pub waiting_max_bytes: usize,
    /// How many items a snapshot of `all` holds.
    pub snapshot_max: usize,
    /// How many items one snapshot message holds.
    pub snapshot_page: usize,
    /// How long a snapshot may take to read.
    pub snapshot_wait_ms: u64,
    /// How often a quiet client is asked for a sign of life.
    pub ping_ms: u64,
    /// How long it may take to give one, and how long a write to it may stand still.
    pub patience_ms: u64,
    /// The origins, beside our own address, whose pages may connect: `https://status.example.com`.
    pub origins: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8082)),
            clients_max: 10_000,
            rooms_max: 100,
            frame_max_bytes: 64 * 1024,
            frames_per_minute: 600,
            waiting_max: 20_000,
            waiting_max_bytes: 16 * 1024 * 1024,
            snapshot_max: 1_000,
            snapshot_page: 250,
            snapshot_wait_ms: 5_000,
            ping_ms: 30_000,
            patience_ms: 10_000,
            origins: Vec::new(),
        }
    }
}

impl Config {
    /// Refuses what cannot work.
    pub fn check(&self) -> Result<(), ConfigError> {
        let amounts = [
            ("clients_max", self.clients_max as u64),
            ("rooms_max", self.rooms_max as u64),
            ("frame_max_bytes", self.frame_max_bytes as u64),
            ("frames_per_minute", u64::from(self.frames_per_minute)),
            ("waiting_max", self.waiting_max as u64),
            ("waiting_max_bytes", self.waiting_max_bytes as u64),
            ("snapshot_max", self.snapshot_max as u64),
            ("snapshot_page", self.snapshot_page as u64),
            ("snapshot_wait_ms", self.snapshot_wait_ms),
            ("ping_ms", self.ping_ms),
            ("patience_ms", self.patience_ms),
        ];
        match amounts.iter().find(|(_, amount)| *amount == 0) {
            Some((key, _)) => Err(ConfigError::new(format!("broadcaster.{key}"), "must be above 0")),
            None => Ok(()),
        }
    }

    pub(crate) fn ping(&self) -> Duration {
        Duration::from_millis(self.ping_ms)
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms)
    }

    pub(crate) fn snapshot_wait(&self) -> Duration {
        Duration::from_millis(self.snapshot_wait_ms)
    }
}

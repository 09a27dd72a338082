//! The section `[broadcaster]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bus::Stream;
use runtime::config::ConfigError;
use serde::Deserialize;

use crate::auth;
use crate::history::Bounds;

/// The section `[broadcaster]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// How many threads look after the clients: one serves ten thousand of them.
    pub threads: usize,
    /// How many clients are served at once; one more is told to come back later.
    pub clients_max: usize,
    /// How many of them may have come with the same key, or with tokens of one subject.
    pub clients_max_of_key: usize,
    /// How many rooms one client may be in.
    pub rooms_max: usize,
    /// How much the filters of its rooms may take together: the bytes of their words, and 32 for each word. What is the same counts once.
    pub filters_max_bytes: usize,
    /// How large a client's message may be.
    pub message_max_bytes: usize,
    /// How many messages a client may send in a second, for long. Pings and pongs count, too.
    pub messages_per_s: u32,
    /// How many it may send at once. One that goes on sending twice as many is closed.
    pub messages_burst: u32,
    /// How many events are remembered for clients that come back or read slowly.
    pub history_max: usize,
    /// How much memory those may take, roughly; what stands may take half as much beside it.
    pub history_max_bytes: usize,
    /// A client that is so many events behind is told only the newest of each level.
    pub conflate_over: usize,
    /// How many states of agents, workflows, health and alerts are shown to new clients.
    pub standing_max: usize,
    /// For how long such a state is shown after it was told: a health level, say, is told when it changes, and holds until then. Alerts
    /// are shown for as long as the bus keeps them, executions that have ended for ten minutes at most.
    pub standing_ms: u64,
    /// How many measurements are told together.
    pub metrics_batch: usize,
    /// How long a measurement waits for others.
    pub metrics_wait_ms: u64,
    /// How many items a snapshot of `all` holds.
    pub snapshot_max: usize,
    /// How many items one snapshot message holds.
    pub snapshot_page: usize,
    /// How long a snapshot may take to read.
    pub snapshot_wait_ms: u64,
    /// How often a quiet client is asked for a sign of life; one that is told by server-sent events is shown one so often, and every
    /// 15 s at the least.
    pub ping_ms: u64,
    /// How long it may take to give one, and to close a connection that we close.
    pub patience_ms: u64,
    /// A client that takes nothing for so long is closed.
    pub stall_ms: u64,
    /// How long a client may take to say who it is.
    pub auth_ms: u64,
    /// How long before its token expires a client is told so.
    pub expiry_warning_ms: u64,
    /// Within how long clients are let go, one after another, when the broadcaster stops.
    pub drain_ms: u64,
    /// The section `[broadcaster.auth]`.
    pub auth: auth::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8082)),
            threads: 1,
            clients_max: 10_000,
            clients_max_of_key: 10_000,
            rooms_max: 100,
            filters_max_bytes: 64 * 1024,
            message_max_bytes: 64 * 1024,
            messages_per_s: 20,
            messages_burst: 200,
            history_max: 20_000,
            history_max_bytes: 64 * 1024 * 1024,
            conflate_over: 5_000,
            standing_max: 10_000,
            standing_ms: 24 * 3_600_000,
            metrics_batch: 50,
            metrics_wait_ms: 1_000,
            snapshot_max: 1_000,
            snapshot_page: 250,
            snapshot_wait_ms: 5_000,
            ping_ms: 30_000,
            patience_ms: 10_000,
            stall_ms: 30_000,
            auth_ms: 10_000,
            expiry_warning_ms: 60_000,
            drain_ms: 10_000,
            auth: auth::Config::default(),
        }
    }
}

/// How many threads may tell clients.
const THREADS_MAX: usize = 1_024;

impl Config {
    /// Refuses what cannot work or would be open by accident.
    pub fn check(&self) -> Result<(), ConfigError> {
        let amounts = [
            ("threads", self.threads as u64),
            ("clients_max", self.clients_max as u64),
            ("clients_max_of_key", self.clients_max_of_key as u64),
            ("rooms_max", self.rooms_max as u64),
            ("filters_max_bytes", self.filters_max_bytes as u64),
            ("message_max_bytes", self.message_max_bytes as u64),
            ("messages_per_s", u64::from(self.messages_per_s)),
            ("messages_burst", u64::from(self.messages_burst)),
            ("history_max", self.history_max as u64),
            ("history_max_bytes", self.history_max_bytes as u64),
            ("conflate_over", self.conflate_over as u64),
            ("standing_max", self.standing_max as u64),
            ("metrics_batch", self.metrics_batch as u64),
            ("snapshot_max", self.snapshot_max as u64),
            ("snapshot_page", self.snapshot_page as u64),
            ("snapshot_wait_ms", self.snapshot_wait_ms),
            ("ping_ms", self.ping_ms),
            ("patience_ms", self.patience_ms),
            ("stall_ms", self.stall_ms),
            ("auth_ms", self.auth_ms),
        ];
        match amounts.iter().find(|(_, amount)| *amount == 0) {
            Some((key, _)) => Err(ConfigError::new(format!("broadcaster.{key}"), "must be above 0")),
            None if self.threads > THREADS_MAX => {
                let why =
                    format!("is {}; it must be from 1 to {THREADS_MAX}: one for each core is plenty", self.threads);
                Err(ConfigError::new("broadcaster.threads", why))
            }
            None => self.auth.check([self.listen]),
        }
    }

    /// How much is remembered, and for how long. Alerts are for as long as the bus keeps them.
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            count: self.history_max,
            bytes: self.history_max_bytes,
            standing: self.standing_max,
            standing_ms: i64::try_from(self.standing_ms).unwrap_or(i64::MAX),
            alerts_ms: i64::try_from(Stream::Alerts.spec().max_age_s * 1_000).unwrap_or(i64::MAX),
        }
    }

    pub(crate) fn ping(&self) -> Duration {
        Duration::from_millis(self.ping_ms)
    }

    pub(crate) fn snapshot_wait(&self) -> Duration {
        Duration::from_millis(self.snapshot_wait_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_stand_for_a_day_and_critical_alerts_for_seven() {
        const DAY_MS: i64 = 24 * 3_600_000;
        let bounds = Config::default().bounds();
        assert_eq!((bounds.standing_ms, bounds.alerts_ms), (DAY_MS, 7 * DAY_MS));
    }
}

//! The section `[ingest]`, and whether it makes sense.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use runtime::Secret;
use runtime::config::ConfigError;
use serde::Deserialize;

/// The section `[ingest]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The keys of which `/v1/status`, `/v1/telemetry` and `/v1/agent-events` want one. Without any it is open, and then the address must be a local one.
    pub api_keys: Vec<Secret>,
    /// Lets everyone who can reach the address post to those without a key.
    pub allow_anonymous: bool,
    /// How large the body of one of their requests may be.
    pub body_max_bytes: usize,
    /// How long a request's body may take to arrive.
    pub body_wait_ms: u64,
    /// How long JetStream may take to store before the answer is 503. The senders of webhooks wait 5 s in all. Statuses of one record, of
    /// which each waits for the one before, may take it once more for every 150.
    pub publish_wait_ms: u64,
    /// How many requests of those with a key may be in memory at once.
    pub in_flight_max: usize,
    /// How many bytes of webhooks may be in memory at once.
    pub webhooks_max_bytes: usize,
    /// How many delivery ids are remembered.
    pub recent_max: usize,
    /// The section `[ingest.linear]`.
    pub linear: LinearConfig,
    /// The section `[ingest.github]`.
    pub github: GithubConfig,
}

/// The section `[ingest.linear]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinearConfig {
    /// The webhook's signing secrets; several while one replaces another.
    pub secrets: Vec<Secret>,
    /// How large a webhook may be.
    pub body_max_bytes: usize,
    /// How far the signed time of sending may be from now, either way: wide enough for Linear's last attempt, which may be signed with
    /// the time of the first.
    pub window_s: u64,
}

/// The section `[ingest.github]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GithubConfig {
    /// The webhook's secrets; several while one replaces another.
    pub secrets: Vec<Secret>,
    /// How large a webhook may be.
    pub body_max_bytes: usize,
}

const MIB: usize = 1024 * 1024;

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            api_keys: Vec::new(),
            allow_anonymous: false,
            body_max_bytes: 4 * MIB,
            body_wait_ms: 10_000,
            publish_wait_ms: 3_000,
            in_flight_max: 256,
            webhooks_max_bytes: 256 * MIB,
            recent_max: 50_000,
            linear: LinearConfig::default(),
            github: GithubConfig::default(),
        }
    }
}

impl Default for LinearConfig {
    fn default() -> Self {
        Self { secrets: Vec::new(), body_max_bytes: 5 * MIB, window_s: 8 * 3_600 }
    }
}

impl Default for GithubConfig {
    fn default() -> Self {
        Self { secrets: Vec::new(), body_max_bytes: 25_000_000 }
    }
}

/// How many requests may be worked on at once: each may hold a body in memory, and NATS takes no more at once.
const IN_FLIGHT_MAX: usize = 65_536;

impl Config {
    /// Refuses what cannot work or would be open by accident. `gateway` is the other address that serves these paths.
    pub fn check(&self, gateway: Option<SocketAddr>) -> Result<(), ConfigError> {
        let lists = [("ingest.linear.secrets", &self.linear.secrets), ("ingest.github.secrets", &self.github.secrets)];
        for (key, secrets) in lists {
            if secrets.iter().any(Secret::is_empty) {
                return Err(ConfigError::new(key, "holds an empty entry, which anybody could guess; leave it out"));
            }
        }
        let amounts = [
            ("ingest.body_max_bytes", self.body_max_bytes),
            ("ingest.linear.body_max_bytes", self.linear.body_max_bytes),
            ("ingest.github.body_max_bytes", self.github.body_max_bytes),
            ("ingest.in_flight_max", self.in_flight_max),
            ("ingest.recent_max", self.recent_max),
        ];
        if let Some((key, _)) = amounts.iter().find(|(_, amount)| *amount == 0) {
            return Err(ConfigError::new(*key, "must be above 0"));
        }
        if self.in_flight_max > IN_FLIGHT_MAX {
            let why = format!("is {}; it must be from 1 to {IN_FLIGHT_MAX}", self.in_flight_max);
            return Err(ConfigError::new("ingest.in_flight_max", why));
        }
        if self.webhooks_max_bytes < self.linear.body_max_bytes.max(self.github.body_max_bytes) {
            let why =
                "must leave room for the largest webhook (ingest.github.body_max_bytes, ingest.linear.body_max_bytes)";
            return Err(ConfigError::new("ingest.webhooks_max_bytes", why));
        }
        if self.publish_wait_ms == 0 || self.publish_wait_ms > 4_500 {
            return Err(ConfigError::new(
                "ingest.publish_wait_ms",
                "must be from 1 to 4500: the senders of webhooks wait 5 s for the answer",
            ));
        }
        let addresses = [Some(self.listen), gateway].into_iter().flatten();
        runtime::access::check("ingest", &self.api_keys, self.allow_anonymous, addresses)
    }

    pub(crate) fn publish_wait(&self) -> Duration {
        Duration::from_millis(self.publish_wait_ms)
    }

    pub(crate) fn body_wait(&self) -> Duration {
        Duration::from_millis(self.body_wait_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Config), gateway: Option<&str>) -> Option<String> {
        let mut config = Config::default();
        change(&mut config);
        config.check(gateway.map(|address| address.parse().unwrap())).err().map(|error| error.key)
    }

    #[test]
    fn without_a_key_only_local_addresses_are_served() {
        let open = |config: &mut Config| config.listen = "0.0.0.0:8080".parse().unwrap();
        assert_eq!(refused(|_| (), None), None);
        assert_eq!(refused(|_| (), Some("[::1]:80")), None);
        assert_eq!(refused(open, None).as_deref(), Some("ingest.api_keys"));
        assert_eq!(refused(|_| (), Some("0.0.0.0:80")).as_deref(), Some("ingest.api_keys"));
        assert_eq!(refused(|config| (open(config), config.allow_anonymous = true).1, None), None);
        assert_eq!(refused(|config| (open(config), config.api_keys = vec!["k".into()]).1, None), None);
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        let both = |config: &mut Config| {
            config.api_keys = vec!["k".into()];
            config.allow_anonymous = true;
        };
        assert_eq!(refused(both, None).as_deref(), Some("ingest.allow_anonymous"));
        assert_eq!(refused(|config| config.api_keys = vec!["".into()], None).as_deref(), Some("ingest.api_keys"));
        assert_eq!(
            refused(|config| config.linear.secrets = vec!["".into()], None).as_deref(),
            Some("ingest.linear.secrets")
        );
        assert_eq!(refused(|config| config.publish_wait_ms = 5_000, None).as_deref(), Some("ingest.publish_wait_ms"));
        assert_eq!(refused(|config| config.recent_max = 0, None).as_deref(), Some("ingest.recent_max"));
        let scant = |config: &mut Config| config.webhooks_max_bytes = 24_999_999;
        assert_eq!(refused(scant, None).as_deref(), Some("ingest.webhooks_max_bytes"));
    }
}

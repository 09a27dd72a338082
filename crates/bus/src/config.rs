//! What the bus wants to know: where NATS is, and how to speak to it.

use std::borrow::Cow;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use runtime::Secret;
use serde::Deserialize;

/// The section `nats` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// One address or several, with commas between them. Who we are may stand in it: `nats://user:password@host`, or `nats://token@host`.
    pub url: String,
    /// A user, with `password`.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A token, in place of a user.
    pub token: Option<Secret>,
    /// A credentials file (JWT and key), in place of either.
    pub credentials: Option<PathBuf>,
    /// Into how many partitions observations and commands are divided; each has one reader at a time. Fewer make larger
    /// batches, and so less work for each message: on two cores two are as fast as four, and answer sooner. Before it is
    /// changed everything must have been read, or a service does not start: a record's older messages, in its old partition, might be read
    /// after its newer ones, and count as redelivered.
    pub partitions: u32,
    /// How many servers keep each stream: 1 or 3.
    pub replicas: usize,
    /// How many megabytes of the server's disk the streams may take together. JetStream sets them aside, so a server with less
    /// refuses the streams. Where more comes than fits, webhooks and observations are refused until what was read has made room;
    /// of the others the oldest messages go first.
    pub storage_mb: u32,
    /// Lets the streams be made smaller, or kept by fewer servers, than they are: the oldest messages go. Without it a service with
    /// such settings does not start: they may be another installation's.
    pub may_shrink: bool,
    /// How long a publish may take, all attempts together.
    pub publish_timeout_ms: u64,
    /// How long to wait at the start for a server that answers.
    pub connect_timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".into(),
            user: None,
            password: None,
            token: None,
            credentials: None,
            partitions: 2,
            replicas: 1,
            storage_mb: 4_096,
            may_shrink: false,
            publish_timeout_ms: 5_000,
            connect_timeout_ms: 30_000,
        }
    }
}

impl Config {
    /// Whether it can be used; else a sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=64).contains(&self.partitions) {
            return Err(format!("nats.partitions is {}; it must be from 1 to 64", self.partitions));
        }
        if !matches!(self.replicas, 1 | 3 | 5) {
            return Err(format!("nats.replicas is {}; it must be 1, 3 or 5", self.replicas));
        }
        if self.storage_mb < 64 {
            return Err(format!("nats.storage_mb is {}; it must be at least 64", self.storage_mb));
        }
        if self.publish_timeout_ms < 100 || self.connect_timeout_ms < 100 {
            return Err("nats.publish_timeout_ms and nats.connect_timeout_ms must be at least 100".into());
        }
        if self.url.trim().is_empty() {
            return Err("nats.url must not be empty; NATS_URL sets it too".into());
        }
        let schemes = self.url.split(',').filter_map(|url| Some(url.trim().split_once("://")?.0));
        if let Some(other) = schemes.into_iter().find(|scheme| !matches!(*scheme, "nats" | "tls" | "ws" | "wss")) {
            return Err(format!(
                "nats.url begins with {other}://; it must be nats://, tls://, ws:// or wss:// (NATS_URL sets it too)"
            ));
        }
        // Not the address itself: it may hold a password.
        let is_address = |url: &str| {
            let address = url.trim().parse::<async_nats::ServerAddr>();
            address.is_ok_and(|address| !address.host().is_empty() && address.port() > 0)
        };
        if !self.url.split(',').all(is_address) {
            return Err(format!(
                "nats.url has {:?}, which is no address: nats://host:port is one, with a port from 1 to 65535 (NATS_URL sets it too)",
                self.shown_url()
            ));
        }
        Ok(())
    }

    /// The user and the password, or the token alone, that stand in the first address that has any. The client library passes them over.
    pub(crate) fn in_url(&self) -> Option<(String, Option<String>)> {
        let told = |url: &str| {
            let (_, rest) = url.trim().split_once("://")?;
            let authority = rest.split(['/', '?', '#']).next()?;
            let (user, password) = match authority.rsplit_once('@')?.0 {
                both if both.contains(':') => both.split_once(':').map(|(user, password)| (user, Some(password)))?,
                token => (token, None),
            };
            let plain = |part: &str| percent_decode_str(part).decode_utf8().ok().map(Cow::into_owned);
            Some((plain(user)?, password.map(plain).map_or(Some(None), |password| password.map(Some))?))
        };
        self.url.split(',').find_map(told)
    }

    /// The addresses without user and password, for people.
    pub(crate) fn shown_url(&self) -> String {
        let shown = |url: &str| match url.rsplit_once('@') {
            Some((_, host)) => host.to_owned(),
            None => url.to_owned(),
        };
        self.url.split(',').map(|url| shown(url.trim())).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::Config;

    #[test]
    fn an_address_that_is_none_is_refused_without_its_password() {
        let refused = |url: &str| Config { url: url.into(), ..Config::default() }.check().err();
        for url in ["127.0.0.1", "nats://a, tls://me:p%40ss@b:1", "nats://s3cret@[::1]:4222"] {
            assert_eq!(refused(url), None, "{url}");
        }
        for url in ["nats://me:hunter2@a:99999", "nats://a:0", "nats://a:port", "nats://a,", "nats://"] {
            let why = refused(url).expect(url);
            assert!(why.contains("nats.url") && why.contains("1 to 65535") && !why.contains("hunter2"), "{why}");
        }
    }

    #[test]
    fn who_we_are_may_stand_in_the_address() {
        let said = |url: &str| Config { url: url.into(), ..Config::default() }.in_url();
        let told = |user: &str, password: Option<&str>| Some((user.to_owned(), password.map(str::to_owned)));
        assert_eq!(said("nats://127.0.0.1:4222"), None);
        assert_eq!(said("127.0.0.1"), None);
        assert_eq!(said("nats://a, tls://me:p%40ss:w@b:1/"), told("me", Some("p@ss:w")));
        assert_eq!(said("nats://s3cret@a:1"), told("s3cret", None));
        assert_eq!(said("nats://a/?x=me@b"), None);
    }
}

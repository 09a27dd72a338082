//! A NATS server with JetStream, on the loopback address.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use serde::Deserialize;

use super::{Durability, Preferred, ports};
use crate::process::{Ending, Process};
use crate::{files, say};

/// A large stream is read back before the server answers.
const START_WAIT: Duration = Duration::from_mins(2);
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// Longer than any greeting.
const GREETING_BYTES: u64 = 64 * 1024;

/// A NATS server that runs.
pub struct Nats {
    /// Where clients connect.
    pub url: String,
    /// Where it answers questions about itself; known for ours.
    pub monitor_url: Option<String>,
    /// The process, if it is ours.
    pub process: Option<Process>,
}

impl Nats {
    /// The user and the password in the address of a server of ours.
    pub fn who(&self) -> Option<(&str, &str)> {
        let (who, _) = self.url.strip_prefix("nats://")?.split_once('@')?;
        who.split_once(':').filter(|_| self.process.is_some())
    }
}

/// How a server of ours is set up.
#[derive(Clone)]
pub struct Setup {
    /// What who connects must know; without it everybody on this machine may.
    pub password: Option<String>,
    /// How many megabytes of the disk the streams may take.
    pub storage_mb: u64,
}

/// A laptop's disk: NATS sets aside what the streams may take.
pub const STORAGE_MB: u64 = 1024;
/// What the buckets may take besides.
const BUCKETS_MB: u64 = 256;
/// Who connects, where a password is asked for.
const USER: &str = "lockstep";

impl Default for Setup {
    fn default() -> Self {
        Self { password: None, storage_mb: STORAGE_MB }
    }
}

/// Starts a server with its streams in `<folder>/data/nats`.
pub fn start(
    executable: &Path,
    folder: &Path,
    durability: Durability,
    preferred: Preferred,
    setup: &Setup,
) -> Result<Nats> {
    let port = ports::free(preferred.nats)?;
    let monitor = ports::free(preferred.nats_monitor.filter(|monitor| *monitor != port))?;
    say::step(format_args!("NATS: starting on port {port}…"));
    let store = folder.join("data/nats");
    files::folder(&store)?;
    let configuration = folder.join("nats.conf");
    files::write_private(&configuration, &text(port, monitor, &store, durability, setup))?;
    let mut command = Command::new(executable);
    command.arg("--config").arg(&configuration);
    let mut process = Process::start("nats", command, folder, Ending::orderly(Signal::TERM, 15))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let greeting = process.wait_until(START_WAIT, || greeting(address).ok())?;
    say::done(format_args!("NATS {} on port {port}", greeting.version));
    let who = setup.password.as_ref().map(|password| format!("{USER}:{password}@")).unwrap_or_default();
    Ok(Nats {
        url: format!("nats://{who}127.0.0.1:{port}"),
        monitor_url: Some(format!("http://127.0.0.1:{monitor}")),
        process: Some(process),
    })
}

fn text(port: u16, monitor: u16, store: &Path, durability: Durability, setup: &Setup) -> String {
    // Else it may use a share of what the disk has free at that moment, and a start with less than at the one before would not find room
    // for the streams that it has. What `up` lets them take, and the buckets.
    let (interval, limit) = match durability {
        Durability::Disposable => ("2m", String::new()),
        Durability::Lasting => ("1s", format!("\n  max_file_store: {}MB", setup.storage_mb.saturating_add(BUCKETS_MB))),
    };
    // Else whoever is on this machine tells and orders what the APIs want a key for.
    let closed = setup.password.as_ref().map_or_else(String::new, |password| {
        format!("authorization {{ user: \"{USER}\", password: \"{password}\" }}\n")
    });
    format!(
        r#"# Written by cargo xtask at each start.
server_name: "lockstep"
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor}"
{closed}# A webhook is stored as it came, and may be larger than the default of 1 MB.
max_payload: 32MB
jetstream {{
  store_dir: {store}{limit}
  # What a power cut can take; `always` is the strict setting.
  sync_interval: "{interval}"
}}
"#,
        store = serde_json::Value::from(store.to_string_lossy()),
    )
}

/// What a server says of itself to whoever connects.
#[derive(Debug, Deserialize)]
pub struct Greeting {
    /// Its version.
    pub version: String,
    /// Whether it stores streams.
    #[serde(default)]
    pub jetstream: bool,
}

/// Connects and reads the greeting.
pub fn greeting(address: SocketAddr) -> Result<Greeting> {
    let stream = TcpStream::connect_timeout(&address, ANSWER_WAIT)?;
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    let mut line = String::new();
    let read = BufReader::new(stream.take(GREETING_BYTES)).read_line(&mut line);
    read.context("something listens there, but does not greet as NATS does")?;
    parsed(&line)
}

fn parsed(line: &str) -> Result<Greeting> {
    let json = line.strip_prefix("INFO ").context("it does not speak the NATS protocol")?;
    serde_json::from_str(json).context("its greeting cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_tells_version_and_jetstream() {
        let greeting =
            parsed("INFO {\"server_id\":\"N\",\"version\":\"2.15.1\",\"jetstream\":true,\"port\":4222}\r\n").unwrap();
        assert_eq!((greeting.version.as_str(), greeting.jetstream), ("2.15.1", true));
        assert!(!parsed("INFO {\"version\":\"2.15.1\"}\r\n").unwrap().jetstream);
        assert!(parsed("HTTP/1.1 400 Bad Request\r\n").is_err());
    }

    #[test]
    fn a_store_folder_with_quotes_stays_one_value() {
        let text = text(1, 2, Path::new("/a \"b\"/c"), Durability::Lasting, &Setup::default());
        assert!(text.contains(r#"store_dir: "/a \"b\"/c""#), "{text}");
        assert!(text.contains("sync_interval: \"1s\""), "{text}");
        assert!(text.contains("max_file_store: 1280MB") && !text.contains("authorization"), "{text}");
    }

    #[test]
    fn who_connects_must_know_the_password_and_the_streams_get_what_is_said() {
        let setup = Setup { password: Some("s3cret".to_owned()), storage_mb: 4_096 };
        let text = text(1, 2, Path::new("/a"), Durability::Lasting, &setup);
        assert!(text.contains("authorization { user: \"lockstep\", password: \"s3cret\" }"), "{text}");
        assert!(text.contains("max_file_store: 4352MB"), "{text}");
    }
}

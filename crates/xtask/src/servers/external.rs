//! Servers that the environment names: reachable and new enough, or one sentence that says which is not.

mod address;

use std::net::SocketAddr;
use std::process::Command;

use anyhow::Result;

use super::nats::{self, Nats};
use super::postgres::{self, Postgres};
use crate::setting::{given, wrong};
use crate::tools::{Version, on_path};
use crate::{process, say};

use address::Address;

/// Names the settings of a shell that stand for servers of our own.
pub const OWN: &str = "LOCKSTEP_UP_OWNS";
pub(super) const NATS: &str = "NATS_URL";
pub(super) const DATABASE: &str = "DATABASE_URL";

const OLDEST_NATS: Version = Version(2, 12, 0);
const OLDEST_POSTGRES: Version = Version(15, 0, 0);

/// The servers that the environment names.
pub struct External {
    /// The one of `NATS_URL`.
    pub nats: Option<Nats>,
    /// The one of `DATABASE_URL`.
    pub postgres: Option<Postgres>,
}

impl External {
    /// Reads the environment and asks the servers who they are. Those that an earlier start brought up itself, and wrote down for a
    /// shell, are none of them.
    pub fn from_environment() -> Result<Self> {
        let own = given(OWN).unwrap_or_default();
        let theirs = |name: &str| given(name).filter(|_| !own.split(',').any(|own| own == name));
        let nats = theirs(NATS).map(|url| nats(&url)).transpose()?;
        let postgres = theirs(DATABASE).map(|url| postgres(&url)).transpose()?;
        Ok(Self { nats, postgres })
    }
}

/// The NATS server of `NATS_URL`, checked.
fn nats(url: &str) -> Result<Nats> {
    let used = Nats { url: url.to_owned(), monitor_url: None, process: None };
    let first = url.split(',').next().unwrap_or(url);
    let address = Address::parse(first, &["nats", "tls"], 4222).map_err(|why| wrong(format!("NATS_URL {why}")))?;
    let place = address.place();
    let greeting = reach("NATS_URL", &address, |socket| nats::greeting(socket).map_err(|error| format!("{error:#}")))?;
    let version = Version::in_text(&greeting.version);
    if version.is_none_or(|version| version < OLDEST_NATS) {
        return Err(wrong(format!(
            "NATS_URL: the server at {place} is {}, and at least {OLDEST_NATS} is needed",
            greeting.version
        )));
    }
    if !greeting.jetstream {
        return Err(wrong(format!("NATS_URL: the server at {place} runs without JetStream; start it with -js")));
    }
    say::done(format_args!("NATS {} at {place} (NATS_URL)", greeting.version));
    Ok(used)
}

/// The PostgreSQL server of `DATABASE_URL`, checked.
fn postgres(url: &str) -> Result<Postgres> {
    let used = Postgres { url: url.to_owned(), process: None };
    let address =
        Address::parse(url, &["postgres", "postgresql"], 5432).map_err(|why| wrong(format!("DATABASE_URL {why}")))?;
    let place = address.place();
    reach("DATABASE_URL", &address, |socket| match postgres::speaks(socket) {
        Ok(true) => Ok(()),
        Ok(false) => Err("it does not speak PostgreSQL's protocol".to_owned()),
        Err(error) => Err(error.to_string()),
    })?;
    // Only a client that can sign in can ask for the version; the services check it again.
    if let Some(psql) = on_path("psql") {
        let mut command = Command::new(psql);
        command
            .env("PGCONNECT_TIMEOUT", "5")
            .args(["--no-password", "-AtXc", "SHOW server_version", "--dbname"])
            .arg(url);
        let Some(answer) = process::captured(&mut command) else {
            return Err(wrong(format!(
                "DATABASE_URL: the server at {place} does not let this user in; `psql` with it tells why"
            )));
        };
        if Version::in_text(&answer).is_none_or(|version| version < OLDEST_POSTGRES) {
            let needed = OLDEST_POSTGRES.0;
            return Err(wrong(format!(
                "DATABASE_URL: the server at {place} is {}, and at least {needed} is needed",
                answer.trim()
            )));
        }
    }
    say::done(format_args!("PostgreSQL at {place} (DATABASE_URL)"));
    Ok(used)
}

/// Asks each socket address of a host; the last failure becomes the sentence.
fn reach<T>(variable: &str, address: &Address, ask: impl Fn(SocketAddr) -> Result<T, String>) -> Result<T> {
    let place = address.place();
    let sockets =
        address.sockets().map_err(|why| wrong(format!("{variable}: the host of {place} is not found: {why}")))?;
    let mut last = "the host has no address".to_owned();
    for socket in sockets {
        match ask(socket) {
            Ok(answer) => return Ok(answer),
            Err(why) => last = why,
        }
    }
    Err(wrong(format!("{variable}: no server answers at {place}: {last}")))
}

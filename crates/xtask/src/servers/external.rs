//! Servers that a person names: reachable and new enough, or one sentence that says which is not.

mod address;

use std::net::SocketAddr;
use std::process::Command;

use anyhow::Result;

use super::nats::{self, Nats};
use super::postgres::{self, Postgres};
use crate::setting::wrong;
use crate::tools::{Version, on_path};
use crate::{process, say};

use address::Address;

/// Names the settings of a shell that stand for servers of our own.
pub const OWN: &str = "LOCKSTEP_UP_OWNS";
pub(super) const NATS: &str = "NATS_URL";
pub(super) const DATABASE: &str = "DATABASE_URL";

const OLDEST_NATS: Version = Version(2, 12, 0);
const OLDEST_POSTGRES: Version = Version(15, 0, 0);

/// The address of a server, and the setting that says it.
pub struct Named {
    /// The setting: a variable, or a key and its file.
    pub place: String,
    /// The address.
    pub url: String,
}

/// The servers that are named.
pub struct External {
    /// NATS.
    pub nats: Option<Nats>,
    /// PostgreSQL.
    pub postgres: Option<Postgres>,
}

impl External {
    /// Asks the servers who they are.
    pub fn ask(named_nats: Option<Named>, database: Option<Named>) -> Result<Self> {
        let nats = named_nats.map(|named| nats(&named)).transpose()?;
        let postgres = database.map(|named| postgres(&named)).transpose()?;
        Ok(Self { nats, postgres })
    }
}

/// The NATS server that is named, checked.
fn nats(Named { place: said, url }: &Named) -> Result<Nats> {
    let used = Nats { url: url.to_owned(), monitor_url: None, process: None };
    let first = url.split(',').next().unwrap_or(url);
    let address = Address::parse(first, &["nats", "tls"], 4222).map_err(|why| wrong(format!("{said} {why}")))?;
    let place = address.place();
    let greeting = reach(said, &address, |socket| nats::greeting(socket).map_err(|error| format!("{error:#}")))?;
    let version = Version::in_text(&greeting.version);
    if version.is_none_or(|version| version < OLDEST_NATS) {
        return Err(wrong(format!(
            "{said}: the server at {place} is {}, and at least {OLDEST_NATS} is needed",
            greeting.version
        )));
    }
    if !greeting.jetstream {
        return Err(wrong(format!("{said}: the server at {place} runs without JetStream; start it with -js")));
    }
    say::done(format_args!("NATS {} at {place} ({said})", greeting.version));
    Ok(used)
}

/// The PostgreSQL server that is named, checked.
fn postgres(Named { place: said, url }: &Named) -> Result<Postgres> {
    let used = Postgres { url: url.to_owned(), process: None };
    let address =
        Address::parse(url, &["postgres", "postgresql"], 5432).map_err(|why| wrong(format!("{said} {why}")))?;
    let place = address.place();
    reach(said, &address, |socket| match postgres::speaks(socket) {
        Ok(true) => Ok(()),
        Ok(false) => Err("it does not speak PostgreSQL's protocol".to_owned()),
        Err(error) => Err(error.to_string()),
    })?;
    // Only a client that can sign in can ask for the version; the services check it again.
    if let Some(psql) = on_path("psql") {
        let mut command = Command::new(psql);
        // Everybody on this machine sees the arguments of a process, and nobody else its environment.
        let (url, password) = address::apart(url);
        command
            .env("PGCONNECT_TIMEOUT", "5")
            .args(["--no-password", "-AtXc", "SHOW server_version", "--dbname"])
            .arg(url);
        if let Some(password) = password {
            command.env("PGPASSWORD", password);
        }
        let Some(answer) = process::captured(&mut command) else {
            return Err(wrong(format!(
                "{said}: the server at {place} does not let this user in; `psql` with it tells why"
            )));
        };
        if Version::in_text(&answer).is_none_or(|version| version < OLDEST_POSTGRES) {
            let needed = OLDEST_POSTGRES.0;
            return Err(wrong(format!(
                "{said}: the server at {place} is {}, and at least {needed} is needed",
                answer.trim()
            )));
        }
    }
    say::done(format_args!("PostgreSQL at {place} ({said})"));
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

//! A PostgreSQL server on the loopback address, with a password of its own.

pub(super) mod cluster;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use super::account::Account;
use super::{Durability, Preferred, home, ports};
use crate::process::{Ending, Process};
use crate::say;

/// A server that was killed reads its log back before it answers.
const START_WAIT: Duration = Duration::from_mins(2);
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// The superuser, and the database of `cargo xtask up`.
const NAME: &str = "lockstep";

/// A PostgreSQL server that runs.
pub struct Postgres {
    /// The database, with user and password.
    pub url: String,
    /// The process, if it is ours.
    pub process: Option<Process>,
}

/// Starts a server with its data in `<folder>/data/postgres`.
pub fn start(bin: &Path, folder: &Path, durability: Durability, preferred: Preferred) -> Result<Postgres> {
    let account = Account::for_postgres()?;
    let home = home::open(&folder.join("data/postgres"), &account)?;
    let cluster = cluster::open(bin, &home, &account)?;
    cluster.stop_leftover()?;
    let port = ports::free(preferred.postgres)?;
    say::step(format_args!("PostgreSQL: starting on port {port}…"));
    let mut command = account.command(&bin.join("postgres"));
    command.arg("-D").arg(&cluster.folder).args(["-p", &port.to_string()]);
    for setting in settings(durability) {
        command.args(["-c", &setting]);
    }
    // SIGINT is a fast shutdown; an immediate one (SIGQUIT) leaves nothing behind that a kill would.
    let ending = Ending { ask: Signal::INT, wait: Duration::from_secs(30), force: Signal::QUIT };
    let mut process = Process::start("postgres", command, folder, ending)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    process.wait_until(START_WAIT, || answers(address).then_some(()))?;
    say::done(format_args!("PostgreSQL on port {port}"));
    let url = format!("postgres://{NAME}:{}@127.0.0.1:{port}/{NAME}", cluster.password);
    Ok(Postgres { url, process: Some(process) })
}

fn settings(durability: Durability) -> Vec<String> {
    let own: &[&str] = match durability {
        Durability::Disposable => {
            &["max_connections=300", "fsync=off", "synchronous_commit=off", "full_page_writes=off"]
        }
        Durability::Lasting => &[
            "max_connections=200",
            "max_wal_size=4GB",
            // Log files that are kept for use again need not be made while somebody waits.
            "min_wal_size=1GB",
            "checkpoint_timeout=15min",
        ],
    };
    let mut settings: Vec<String> = own.iter().map(|&setting| setting.to_owned()).collect();
    settings.extend(["listen_addresses=127.0.0.1".to_owned(), "unix_socket_directories=".to_owned()]);
    if durability == Durability::Lasting {
        let memory = rustix::system::sysinfo();
        settings
            .push(format!("shared_buffers={}MB", buffers_mb(memory.totalram.saturating_mul(memory.mem_unit.into()))));
    }
    settings
}

/// How much of the machine's memory PostgreSQL may hold rows in. A million items and their history do not fit into the quarter of a
/// gigabyte that used to be enough; what is not touched is not taken.
fn buffers_mb(total: u64) -> u64 {
    (total / 8 / (1024 * 1024)).clamp(128, 1024)
}

/// Whether the server takes connections: it asks for the password, or lets in without.
fn answers(address: SocketAddr) -> bool {
    first_byte(address).is_ok_and(|kind| kind == b'R')
}

/// Whether something speaks PostgreSQL's protocol there; it may refuse this user, whose name it does not know.
pub fn speaks(address: SocketAddr) -> std::io::Result<bool> {
    Ok(matches!(first_byte(address)?, b'R' | b'E'))
}

/// The kind of the answer to a start-up message: `R` for authentication, `E` for an error.
fn first_byte(address: SocketAddr) -> std::io::Result<u8> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WAIT)?;
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    stream.write_all(&start_up(NAME))?;
    let mut kind = [0_u8; 1];
    stream.read_exact(&mut kind)?;
    Ok(kind[0])
}

/// The protocol's first message: its length, version 3.0, the user, the database.
fn start_up(user: &str) -> Vec<u8> {
    let parameters = format!("user\0{user}\0database\0postgres\0\0");
    let length = u32::try_from(parameters.len() + 8).unwrap_or(u32::MAX);
    let mut message = length.to_be_bytes().to_vec();
    message.extend(196_608_u32.to_be_bytes());
    message.extend(parameters.as_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_carries_its_own_length() {
        let message = start_up("lockstep");
        assert_eq!(message[..4], u32::try_from(message.len()).unwrap().to_be_bytes());
        assert!(message.ends_with(b"\0\0"));
    }

    #[test]
    fn rows_are_kept_in_an_eighth_of_the_memory_within_bounds() {
        let buffers = |gigabytes: u64| buffers_mb(gigabytes << 30);
        assert_eq!([0, 4, 8, 64].map(buffers), [128, 512, 1024, 1024]);
    }
}

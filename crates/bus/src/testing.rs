//! A real nats-server for tests: with JetStream, on a free port, in a directory of its own. Needs the feature `testing`.
//!
//! The executable is `LOCKSTEP_TEST_NATS_SERVER`, or `nats-server` on the `PATH`, or the one in `.lockstep/bin`.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use crate::Config;

const DEADLINE: Duration = Duration::from_secs(30);

/// A nats-server that stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    data: PathBuf,
    arguments: Vec<String>,
    /// Where the data is, unless a test says where; removed at the end.
    _folder: Option<TempDir>,
    child: Option<Child>,
}

impl Server {
    /// Starts one, and waits until it answers.
    pub fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        Self::with_data(folder.path().to_owned(), Some(folder), &[])
    }

    /// The same with further arguments.
    pub fn start_with(arguments: &[&str]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        Self::with_data(folder.path().to_owned(), Some(folder), arguments)
    }

    /// The same with its data in this folder, whose disk may be full.
    pub fn start_in(data: PathBuf) -> anyhow::Result<Self> {
        Self::with_data(data, None, &[])
    }

    fn with_data(data: PathBuf, folder: Option<TempDir>, arguments: &[&str]) -> anyhow::Result<Self> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut server = Self { address: free, data, arguments, _folder: folder, child: None };
        server.spawn()?;
        Ok(server)
    }

    /// Its address, as in a configuration.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it keeps what is published.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A configuration that names it, with all else as usual.
    pub fn config(&self) -> Config {
        Config { url: self.url(), storage_mb: 256, ..Config::default() }
    }

    /// Ends it as a crash does (`kill -9`). Does nothing to one that is ended.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It is either ended by this or was ended before.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Lets it stand still (`kill -STOP`): what it is sent waits, and it answers nothing.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal("STOP")
    }

    /// Lets it go on as if nothing had been.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.child.as_ref().context("the server has ended")?.id();
        let status = Command::new("kill").args([format!("-{name}"), id.to_string()]).status()?;
        ensure!(status.success(), "kill -{name} ended with {status}");
        Ok(())
    }

    /// Starts it again with the same address and data, and waits until it answers.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        self.spawn()
    }

    fn spawn(&mut self) -> anyhow::Result<()> {
        let program = executable();
        let child = Command::new(&program)
            .args(["-a", &self.address.ip().to_string(), "-p", &self.address.port().to_string(), "-js", "-sd"])
            .arg(&self.data)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| {
                format!("{} cannot be started; LOCKSTEP_TEST_NATS_SERVER names another", program.display())
            })?;
        self.child = Some(child);
        self.answers()
    }

    /// The server listens only after it has recovered its streams, and speaks first.
    fn answers(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("nats-server ended at once with {status}");
            }
            if greets(self.address) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("nats-server did not answer on {} within {DEADLINE:?}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn greets(address: SocketAddr) -> bool {
    let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else { return false };
    if stream.set_read_timeout(Some(Duration::from_secs(1))).is_err() {
        return false;
    }
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).is_ok() && line.starts_with("INFO ")
}

fn executable() -> PathBuf {
    if let Some(named) = std::env::var_os("LOCKSTEP_TEST_NATS_SERVER") {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("nats-server")).find(|file| file.is_file());
    on_path.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.lockstep/bin/nats-server")))
}

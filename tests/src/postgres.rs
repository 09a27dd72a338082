//! A PostgreSQL server of one test's own, which can be killed.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use sqlx::Connection as _;
use tempfile::TempDir;

use crate::eventually;

/// A killed server reads its log back before it answers.
const START: Duration = Duration::from_mins(1);
/// PostgreSQL refuses to run as root; packages make this account.
const ACCOUNT: &str = "postgres";

/// A server that stops when it is dropped.
pub struct Postgres {
    bin: PathBuf,
    data: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Postgres {
    /// Makes one and starts it; what it acknowledges is on the disk.
    pub async fn start() -> anyhow::Result<Self> {
        let bin = std::env::var_os("LOCKSTEP_TEST_PG_BIN").map(PathBuf::from).context(
            "LOCKSTEP_TEST_PG_BIN is not set: it names the folder of PostgreSQL's executables, as `cargo xtask test` does",
        )?;
        let data = tempfile::tempdir()?;
        if is_root() {
            let owned = Command::new("chown").arg(ACCOUNT).arg(data.path()).status()?;
            ensure!(owned.success(), "chown: {owned}");
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut server = Self { bin, data, port, child: None };
        let made = server
            .command("initdb")
            .args(["--username", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .arg("-D")
            .arg(server.cluster())
            .stdout(Stdio::null())
            .status()?;
        ensure!(made.success(), "initdb: {made}");
        server.restart().await?;
        Ok(server)
    }

    /// Its address, as in a configuration.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends the server as a crash does: `kill -9` of the process that all its others follow.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let pid = std::fs::read_to_string(self.cluster().join("postmaster.pid")).context("postmaster.pid")?;
        let pid = pid.lines().next().context("postmaster.pid is empty")?.to_owned();
        let killed = Command::new("kill").args(["-KILL", &pid]).status()?;
        ensure!(killed.success(), "kill -KILL {pid}: {killed}");
        if let Some(mut child) = self.child.take() {
            child.wait()?;
        }
        Ok(())
    }

    /// Starts it again with the same address and data, and waits until it answers.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        let url = self.url();
        let child = &mut self.child;
        let mut command = command(&self.bin, "postgres");
        command
            .arg("-D")
            .arg(self.data.path().join("cluster"))
            .args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .args(["-c", "max_connections=300"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        eventually(START, "PostgreSQL answers", async || {
            // The processes of a killed server may need a moment to notice; until then a new one refuses to start.
            let ended = match child.as_mut() {
                Some(child) => child.try_wait()?.is_some(),
                None => true,
            };
            if ended {
                *child = Some(command.spawn()?);
            }
            sqlx::PgConnection::connect(&url).await?.close().await?;
            Ok(Some(()))
        })
        .await
    }

    fn cluster(&self) -> PathBuf {
        self.data.path().join("cluster")
    }

    fn command(&self, name: &str) -> Command {
        command(&self.bin, name)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Without its leading process the others end by themselves.
        let _ = self.kill();
    }
}

fn command(bin: &std::path::Path, name: &str) -> Command {
    let executable = bin.join(name);
    if !is_root() {
        return Command::new(executable);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", ACCOUNT, "--regid", ACCOUNT, "--clear-groups", "--"]).arg(executable);
    command.current_dir("/");
    command
}

/// Whether this process is root's.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

//! The real executable as a child process, with its output kept.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::eventually;

/// How long a start may take.
const START: Duration = Duration::from_mins(1);
/// How long an orderly end may take.
const STOP: Duration = Duration::from_secs(30);

/// `lockstep up`, running or not.
pub struct Lockstep {
    executable: PathBuf,
    folder: PathBuf,
    child: Option<Child>,
}

impl Lockstep {
    /// One that is not started yet, with its configuration and output in `folder`.
    pub fn new(folder: &Path, configuration: &str) -> anyhow::Result<Self> {
        std::fs::write(folder.join("lockstep.toml"), configuration)?;
        Ok(Self { executable: executable()?, folder: folder.to_owned(), child: None })
    }

    /// Starts it, and waits until it says that it is ready.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let ready = self.folder.join("ready.json");
        if ready.exists() {
            std::fs::remove_file(&ready)?;
        }
        let output = File::options().create(true).append(true).open(self.log_file())?;
        let mut command = Command::new(&self.executable);
        command
            .args(["up", "--config"])
            .arg(self.folder.join("lockstep.toml"))
            .arg("--ready-file")
            .arg(&ready)
            .current_dir(&self.folder)
            .env_clear()
            .envs(std::env::vars().filter(|(name, _)| matches!(name.as_str(), "PATH" | "HOME" | "RUST_LOG")))
            .env("RUST_BACKTRACE", "1")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("{} cannot be started", self.executable.display()))?;
        let child = self.child.insert(child);
        eventually(START, "lockstep is ready", async || match child.try_wait()? {
            Some(status) => Ok(Some(Err(status))),
            None => Ok(whole(&ready).then_some(Ok(()))),
        })
        .await?
        .map_err(|status| anyhow::anyhow!("lockstep ended while it started, with {status}"))
    }

    /// A command of the operator's: the same executable with other words.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.executable);
        command
            .args(words)
            .current_dir(&self.folder)
            .env_clear()
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// What a command prints; one that fails is an error with what it said.
    pub async fn says(&self, words: &[&str]) -> anyhow::Result<String> {
        let ran =
            timeout(START, self.command(words).output()).await.with_context(|| format!("{words:?} does not end"))??;
        ensure!(ran.status.success(), "{words:?}: {}: {}", ran.status, String::from_utf8_lossy(&ran.stderr));
        Ok(String::from_utf8(ran.stdout)?)
    }

    /// Ends it as `kill -9` does.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.take().context("lockstep is not running")?.kill().await.context("kill -9")
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let mut child = self.child.take().context("lockstep is not running")?;
        if let Some(status) = child.try_wait()? {
            bail!("lockstep ended by itself, with {status}");
        }
        let id = child.id().context("lockstep has no process id")?;
        let sent = Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        ensure!(sent.success(), "kill -TERM: {sent}");
        timeout(STOP, child.wait())
            .await
            .with_context(|| format!("lockstep did not end within {STOP:?}"))?
            .context("wait")
    }

    /// Its memory now and at its height, in kilobytes.
    pub fn memory_kb(&self) -> anyhow::Result<(u64, u64)> {
        let id = self.child.as_ref().and_then(Child::id).context("lockstep is not running")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim_start_matches(':').split_whitespace().next()?.parse().ok())
        };
        line("VmRSS").zip(line("VmHWM")).context("the kernel does not tell its memory")
    }

    /// Whether it was started and has not been ended.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// All that it has said, in all its lives.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_else(|error| format!("its output cannot be read: {error}"))
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("lockstep.log")
    }
}

fn whole(ready: &Path) -> bool {
    std::fs::read(ready).is_ok_and(|text| serde_json::from_slice::<serde_json::Value>(&text).is_ok())
}

/// The built `lockstep`.
pub(crate) fn executable() -> anyhow::Result<PathBuf> {
    let named = std::env::var_os("LOCKSTEP_TEST_EXECUTABLE")
        .map(PathBuf::from)
        .context("LOCKSTEP_TEST_EXECUTABLE is not set: it names the built `lockstep`, as `cargo xtask test` does")?;
    ensure!(named.is_file(), "LOCKSTEP_TEST_EXECUTABLE names {}, which is not there", named.display());
    Ok(named)
}

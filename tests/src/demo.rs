//! `cargo xtask up` in a folder that stands for a checkout: the built executables, and servers and data of its own.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use reqwest::Url;
use serde_json::Value;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::lockstep::executable;
use crate::world::free_address;
use crate::{DEADLINE, eventually};

/// How long a start and an end may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often a failed test looks whether what it started has ended.
const LOOK: Duration = Duration::from_millis(25);

/// The folder in the checkout that comes first on the PATH.
const TOOLS: &str = "tools";

/// The folder that `up` takes for its checkout, with what it keeps in `.lockstep`.
pub struct Checkout {
    folder: TempDir,
    executables: PathBuf,
    path: String,
    port: u16,
}

/// `up`, when everything runs.
pub struct Up {
    child: Running,
    lines: Lines<BufReader<ChildStdout>>,
    /// All that it said until then.
    pub said: Vec<String>,
    /// `up.json`.
    pub report: Value,
}

/// The process of an `up`; dropping it ends it in order.
struct Running(Child);

impl Running {
    fn ask(&self) -> anyhow::Result<()> {
        let id = self.0.id().context("cargo xtask up has ended")?;
        let sent = std::process::Command::new("kill").args(["-INT", &id.to_string()]).status()?;
        ensure!(sent.success(), "kill -INT: {sent}");
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let until = Instant::now() + PATIENCE;
        if self.ask().is_ok() {
            while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < until {
                std::thread::sleep(LOOK);
            }
        }
    }
}

impl Checkout {
    /// An empty one, whose `up` serves on a free port.
    pub fn make() -> anyhow::Result<Self> {
        // Where root runs this, PostgreSQL is another user's.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        let folder = tempfile::Builder::new().permissions(open).tempdir()?;
        std::fs::create_dir_all(folder.path().join("crates/xtask"))?;
        std::fs::write(folder.path().join("crates/xtask/Cargo.toml"), "")?;
        let nats = std::env::var_os("LOCKSTEP_TEST_NATS_SERVER").map(PathBuf::from);
        runtime::install_crypto();
        let postgres = std::env::var_os("LOCKSTEP_TEST_PG_BIN").map(PathBuf::from);
        let nats = nats.as_deref().and_then(Path::parent).map(Path::to_path_buf);
        let usual = std::env::var_os("PATH").unwrap_or_default();
        let tools = folder.path().join(TOOLS);
        let servers = nats.into_iter().chain(postgres);
        let path = [tools].into_iter().chain(servers).chain(std::env::split_paths(&usual));
        let path = std::env::join_paths(path)?;
        let executables = executable()?.parent().context("the executable lies nowhere")?.to_owned();
        let path = path.into_string().ok().context("the PATH is no text")?;
        Ok(Self { folder, executables, path, port: free_address()?.port() })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Puts a shell's script before all else of this name on the PATH.
    pub fn tool(&self, name: &str, script: &str) -> anyhow::Result<()> {
        let tools = self.folder().join(TOOLS);
        std::fs::create_dir_all(&tools)?;
        let tool = tools.join(name);
        std::fs::write(&tool, format!("#!/bin/sh\n{script}\n"))?;
        std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        Ok(())
    }

    /// A program in it, with nothing of the test's own environment but the PATH.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.folder())
            .env_clear()
            .env("PATH", &self.path)
            .envs(std::env::var_os("HOME").map(|home| ("HOME", home)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// `cargo xtask` with these words.
    pub fn xtask(&self, words: &[&str]) -> Command {
        let mut command = self.command(&self.executables.join("xtask"));
        command.args(words);
        command
    }

    /// `cargo xtask up` with the port and these words.
    pub fn up(&self, words: &[&str]) -> Command {
        let mut command = self.xtask(&["up", "--port", &self.port.to_string()]);
        command.args(words);
        command
    }

    /// Starts this `up` with the stand-ins, and waits until it says that everything runs.
    pub async fn start(&self, command: Command) -> anyhow::Result<Up> {
        self.start_with(command, &self.report()).await
    }

    /// The same for one with this file for scripts.
    pub async fn start_with(&self, mut command: Command, report: &Path) -> anyhow::Result<Up> {
        // It is asked to end in every case: what it started outlives one that is killed.
        let spawned = command.stdout(Stdio::piped()).kill_on_drop(false).spawn().context("cargo xtask up")?;
        let mut child = Running(spawned);
        let mut lines = BufReader::new(child.0.stdout.take().context("it prints nowhere")?).lines();
        let mut said = Vec::new();
        let reading = async {
            while let Some(line) = lines.next_line().await? {
                let is_last = line.starts_with("Ctrl-C stops everything");
                said.push(line);
                if is_last {
                    return Ok(());
                }
            }
            anyhow::bail!("it ended")
        };
        let read = timeout(PATIENCE, reading).await.context("it does not get ready").and_then(|read| read);
        read.with_context(|| format!("cargo xtask up:\n{}", said.join("\n")))?;
        let report = serde_json::from_slice(&std::fs::read(report)?)?;
        Ok(Up { child, lines, said, report })
    }

    /// The file for scripts.
    pub fn report(&self) -> PathBuf {
        self.folder().join(".lockstep/up.json")
    }

    /// What a line prints that a person types in this folder; `cargo lockstep` is the built one.
    pub async fn types(&self, line: &str) -> anyhow::Result<String> {
        let lockstep = self.executables.join("lockstep").display().to_string();
        let mut shell = self.command(Path::new("sh"));
        shell.args(["-c", &line.replace("cargo lockstep", &lockstep)]);
        let ran = timeout(PATIENCE, shell.output()).await.with_context(|| format!("{line} does not end"))??;
        ensure!(ran.status.success(), "{line}: {}: {}", ran.status, String::from_utf8_lossy(&ran.stderr));
        Ok(String::from_utf8(ran.stdout)?)
    }

    /// Waits until the demo's systems have been looked at: what is edited before has no status that it changes from.
    pub async fn is_seen(&self) -> anyhow::Result<()> {
        eventually(DEADLINE, "the first look at every system is over", async || {
            let shown = self.types("cargo lockstep status").await?;
            let mut lines = shown.lines();
            let heading = lines.next().unwrap_or_default();
            let systems = ["AGENTAPI", "GITHUB", "LINEAR", "POSTGRES"].iter().all(|system| heading.contains(system));
            let items: Vec<&str> = lines.collect();
            Ok((systems && items.len() == 6 && items.iter().all(|line| line.contains(" yes"))).then_some(()))
        })
        .await
    }

    /// The built `lockstep` with these words, to be read while it runs.
    pub fn lockstep(&self, words: &[&str]) -> Command {
        let mut command = self.command(&self.executables.join("lockstep"));
        command.args(words);
        command
    }
}

impl Up {
    /// Asks for the end as Ctrl-C does, and waits for it; returns what was said meanwhile.
    pub async fn stop(mut self) -> anyhow::Result<(ExitStatus, String)> {
        self.child.ask()?;
        let mut said = String::new();
        let ending = async {
            while let Some(line) = self.lines.next_line().await? {
                said.push_str(&line);
                said.push('\n');
            }
            anyhow::Ok(self.child.0.wait().await?)
        };
        let status = timeout(PATIENCE, ending).await.context("cargo xtask up does not end")??;
        Ok((status, said))
    }

    /// A text in `up.json`, by its JSON pointer.
    pub fn text(&self, pointer: &str) -> anyhow::Result<&str> {
        self.report.pointer(pointer).and_then(Value::as_str).with_context(|| format!("up.json lacks {pointer}"))
    }

    /// The ids of the processes that it names.
    pub fn processes(&self) -> anyhow::Result<Vec<(String, u64)>> {
        let named = self.report["processes"].as_object().context("up.json names no processes")?;
        let one = |(name, id): (&String, &Value)| Some((name.clone(), id.as_u64()?));
        named.iter().map(one).collect::<Option<_>>().context("a process without an id")
    }

    /// The state that the Linear stand-in has an issue in.
    pub async fn linear(&self, issue: &str) -> anyhow::Result<String> {
        let url = format!("{}/sandbox/issues/{issue}", self.text("/sandbox/linear/url")?);
        let shown: Value = reqwest::get(url).await?.error_for_status()?.json().await?;
        shown["state"].as_str().map(str::to_owned).with_context(|| format!("{issue} is {shown}"))
    }

    /// The state of an issue of `acme/web` on the GitHub stand-in.
    pub async fn github(&self, number: u64) -> anyhow::Result<&'static str> {
        // The sandbox's own account: whoever asks by the API uses up what it lets Lockstep ask.
        let url = format!("{}/sandbox/state", self.text("/sandbox/github/url")?);
        let shown: Value = reqwest::get(url).await?.error_for_status()?.json().await?;
        let thread = shown["threads"].as_array().into_iter().flatten().find(|thread| thread["number"] == number);
        let is_open = thread.and_then(|thread| thread["open"].as_bool());
        let is_open = is_open.with_context(|| format!("there is no #{number}"))?;
        Ok(if is_open { "open" } else { "closed" })
    }

    /// The status of a row of `public.tasks`.
    pub async fn task(&self, id: &str) -> anyhow::Result<String> {
        let mut connection = PgConnection::connect(self.text("/database_url")?).await?;
        let status = sqlx::query_scalar("select status from tasks where id = $1").bind(id).fetch_one(&mut connection);
        let status = status.await?;
        connection.close().await?;
        Ok(status)
    }

    /// Waits until this is what these show: a Linear issue, the number of an issue of `acme/web`, and a row.
    pub async fn shows(
        &self,
        linear: Option<(&str, &str)>,
        github: Option<(u64, &str)>,
        task: Option<(&str, &str)>,
    ) -> anyhow::Result<()> {
        eventually(DEADLINE, "an edit went round", async || {
            if let Some((issue, state)) = linear {
                let shown = self.linear(issue).await?;
                ensure!(shown == state, "{issue} is {shown}, not {state}");
            }
            if let Some((number, state)) = github {
                let shown = self.github(number).await?;
                ensure!(shown == state, "#{number} is {shown}, not {state}");
            }
            if let Some((row, status)) = task {
                let shown = self.task(row).await?;
                ensure!(shown == status, "{row} is {shown}, not {status}");
            }
            Ok(Some(()))
        })
        .await
    }

    /// Every address in `up.json`.
    pub fn addresses(&self) -> Vec<String> {
        let mut addresses = Vec::new();
        collect(&self.report, &mut addresses);
        addresses
    }

    /// Asks each of them for an answer.
    pub async fn answers(&self) -> anyhow::Result<usize> {
        let addresses = self.addresses();
        for address in &addresses {
            let url = Url::parse(address).or_else(|_| Url::parse(&format!("http://{address}")))?;
            match url.scheme() {
                "http" => drop(reqwest::get(url.clone()).await.with_context(|| format!("{url} does not answer"))?),
                "postgres" => PgConnection::connect(address).await.context("PostgreSQL")?.close().await?,
                _ => {
                    let place = url.socket_addrs(|| None)?;
                    tokio::net::TcpStream::connect(&*place).await.with_context(|| format!("{url} does not answer"))?;
                }
            }
        }
        Ok(addresses.len())
    }
}

/// Every text that is an address.
fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.contains("://") || text.parse::<std::net::SocketAddr>().is_ok() => {
            found.push(text.clone());
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, found)),
        Value::Object(object) => object.values().for_each(|value| collect(value, found)),
        _ => {}
    }
}

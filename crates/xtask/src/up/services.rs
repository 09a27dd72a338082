//! The sandboxes and the services: two processes of the one executable.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use serde_json::Value;

use super::credentials::Credentials;
use super::guard::Guard;
use super::place::{SHELL, Systems};
use super::report::{self, UP_FILE};
use super::said::Said;
use super::{address, config};
use crate::process::{Ending, Process};
use crate::servers::{self, OWN, Servers};
use crate::{files, say, state};

const SANDBOX_WAIT: Duration = Duration::from_secs(30);
const SERVICES_WAIT: Duration = Duration::from_mins(2);

/// What runs, with the addresses each wrote when it was ready.
pub struct Services {
    /// The port of the address that serves everything.
    pub port: u16,
    /// The services, in one process.
    pub lockstep: Process,
    /// Their addresses.
    pub addresses: Value,
    /// The sandboxes, unless the systems are real.
    pub sandbox: Option<Sandbox>,
    /// The configuration in use, if there is a file.
    pub config: Option<PathBuf>,
    /// The key that the APIs want, where they want one that was made here.
    pub api_key: Option<String>,
}

/// The sandboxes of all systems, in one process.
pub struct Sandbox {
    /// The process.
    pub process: Process,
    /// Its addresses.
    pub addresses: Value,
}

/// The file that a shell reads to speak to what runs with its settings.
pub const ENVIRONMENT: &str = "up.env";

impl Services {
    /// Starts the sandboxes unless the systems are real, then the services.
    pub fn start(
        systems: Systems,
        port: u16,
        executable: &Path,
        folder: &Path,
        servers: &Servers,
        credentials: &Credentials,
        said: &Said,
    ) -> Result<Self> {
        let sandbox = match systems {
            Systems::Real => None,
            Systems::Sandboxes => Some(Sandbox::start(executable, folder, port, servers, credentials, said)?),
        };
        let config = match &sandbox {
            Some(sandbox) => Some(config::write(folder, &sandbox.addresses)?),
            None => said.file().map(Path::to_path_buf),
        };
        let guard = match systems {
            Systems::Real => Some(Guard::of(folder, said)?),
            Systems::Sandboxes => None,
        };
        let guard = guard.filter(|guard| !guard.settings.is_empty());
        say::step("services: starting…");
        let mut command = Command::new(executable);
        command.arg("up").current_dir(state::root());
        if let Some(sandbox) = &sandbox {
            sandbox_environment(&mut command, &sandbox.addresses, credentials, said);
        }
        servers_environment(&mut command, servers);
        if let Some(storage_mb) = said.storage_mb(systems, servers.nats.process.is_some()) {
            command.env("LOCKSTEP__NATS__STORAGE_MB", storage_mb.to_string());
        }
        config::environment(&mut command, port)?;
        if let Some(config) = &config {
            command.env("LOCKSTEP_CONFIG", config);
        }
        if let Some(guard) = &guard {
            command.envs(guard.settings.iter().map(|(name, value)| (name, value)));
        }
        // What a shell is told besides: whose settings these are, and the key for the commands that speak HTTP.
        let own = servers.own_settings().join(",");
        let key = guard.as_ref().map(|guard| format!("export LOCKSTEP_API_KEY='{}'\n", guard.key)).unwrap_or_default();
        let file = quoted(folder.join(report::FILE).as_os_str());
        let told =
            format!("export {OWN}='{own}'\nexport {SHELL}='{}'\nexport {UP_FILE}='{file}'\n{key}", systems.word());
        files::write_private(&folder.join(ENVIRONMENT), &(exports(&command) + &told))?;
        let ready = ready_file(folder, "lockstep")?;
        command.arg("--ready-file").arg(&ready);
        let mut lockstep = Process::start("lockstep", command, folder, Ending::orderly(Signal::INT, 30))?;
        let addresses = lockstep.wait_until(SERVICES_WAIT, || read(&ready))?;
        say::done("services");
        let api_key = guard.map(|guard| guard.key);
        Ok(Self { port, lockstep, addresses, sandbox, config, api_key })
    }

    /// Fails if one of the processes has ended.
    pub fn check(&mut self) -> Result<()> {
        let sandbox = self.sandbox.as_mut().map(|sandbox| &mut sandbox.process);
        for process in [Some(&mut self.lockstep), sandbox].into_iter().flatten() {
            if let Some(status) = process.ended()? {
                return Err(process.why_ended(status));
            }
        }
        Ok(())
    }

    /// Stops the services, then the sandboxes.
    pub fn stop(&mut self) {
        self.lockstep.stop();
        if let Some(sandbox) = &mut self.sandbox {
            sandbox.process.stop();
        }
    }
}

impl Sandbox {
    fn start(
        executable: &Path,
        folder: &Path,
        port: u16,
        servers: &Servers,
        credentials: &Credentials,
        said: &Said,
    ) -> Result<Self> {
        say::step("sandboxes of Linear, GitHub and agentapi: starting…");
        let data = folder.join("sandbox");
        files::folder(&data)?;
        let ready = ready_file(folder, "sandbox")?;
        let mut command = Command::new(executable);
        command.args(["sandbox", "serve", "--data"]).arg(&data);
        for (option, preferred) in [("--listen-linear", 4010), ("--listen-github", 4020), ("--listen-agents", 4030)] {
            command.args([option, &format!("127.0.0.1:{}", servers::free(Some(preferred))?)]);
        }
        command.args(["--webhooks-to", &format!("http://127.0.0.1:{port}"), "--ready-file"]).arg(&ready);
        // Everybody on this machine sees the arguments of a process, and nobody else its environment.
        command.env("LOCKSTEP_SANDBOX_DATABASE", &servers.postgres.url);
        without_real_systems(&mut command, said);
        credentials_environment(&mut command, credentials);
        let mut process = Process::start("sandbox", command, folder, Ending::orderly(Signal::INT, 10))?;
        let addresses = process.wait_until(SANDBOX_WAIT, || read(&ready))?;
        say::done("sandboxes");
        Ok(Self { process, addresses })
    }
}

/// Names both servers, and takes away what would win over the names.
fn servers_environment(command: &mut Command, servers: &Servers) {
    command.env_remove("LOCKSTEP__NATS__URL").env("NATS_URL", &servers.nats.url);
    command.env_remove("LOCKSTEP__DATABASE__URL").env("DATABASE_URL", &servers.postgres.url);
    if servers.nats.process.is_some() {
        own_credentials(command, servers.nats.who());
    }
}

/// Who we are to a NATS of ours: what a person says is for another, and would win over what stands in the address.
fn own_credentials(command: &mut Command, who: Option<(&str, &str)>) {
    for key in ["USER", "PASSWORD", "TOKEN", "CREDENTIALS"] {
        command.env_remove(format!("LOCKSTEP__NATS__{key}"));
    }
    if let Some((user, password)) = who {
        command.env("LOCKSTEP__NATS__USER", user).env("LOCKSTEP__NATS__PASSWORD", password);
    }
}

/// As it stands between a shell's single quotes.
fn quoted(value: &OsStr) -> String {
    value.to_string_lossy().replace('\'', r"'\''")
}

/// Says of a command that what it prints goes to a file.
pub const NO_COLOR: &str = "NO_COLOR";

/// Lines for a shell that give a command the settings of the services.
fn exports(command: &Command) -> String {
    let line = |(name, value): (&OsStr, Option<&OsStr>)| {
        let name = name.to_string_lossy();
        value.map_or_else(|| format!("unset {name}\n"), |value| format!("export {name}='{}'\n", quoted(value)))
    };
    command.get_envs().filter(|(name, _)| *name != NO_COLOR).map(line).collect()
}

/// Points the connectors at the sandboxes, with the sandboxes' credentials and no others.
fn sandbox_environment(command: &mut Command, addresses: &Value, credentials: &Credentials, said: &Said) {
    let left_out = without_real_systems(command, said);
    if !left_out.is_empty() {
        say::step(format_args!("the sandboxes have settings of their own; left out: {}", left_out.join(", ")));
    }
    credentials_environment(command, credentials);
    for (variable, system) in [("LINEAR_API_URL", "linear"), ("GITHUB_API_URL", "github")] {
        if let Some(url) = address::of(addresses, system) {
            command.env(variable, url);
        }
    }
}

fn credentials_environment(command: &mut Command, credentials: &Credentials) {
    command.env("LINEAR_API_KEY", &credentials.linear_api_key);
    command.env("LINEAR_WEBHOOK_SECRET", &credentials.linear_webhook_secret);
    command.env("GITHUB_TOKEN", &credentials.github_token);
    command.env("GITHUB_WEBHOOK_SECRET", &credentials.github_webhook_secret);
}

/// A person's own tokens, tables and addresses never reach a process that talks to stand-ins. Returns the settings of Lockstep's that were
/// taken away.
fn without_real_systems<'a>(command: &mut Command, said: &'a Said) -> Vec<&'a str> {
    const EXPECTED: [&str; 3] = ["LINEAR_", "GITHUB_", "AGENT_API_"];
    const OWN: [&str; 3] = ["LOCKSTEP__CONNECTOR", "LOCKSTEP__INGEST__LINEAR", "LOCKSTEP__INGEST__GITHUB"];
    let begins = |name: &str, with: [&str; 3]| with.iter().any(|prefix| name.starts_with(prefix));
    let names = said.environment().keys().map(String::as_str);
    let taken: Vec<&str> = names.filter(|name| begins(name, EXPECTED) || begins(name, OWN)).collect();
    for name in &taken {
        command.env_remove(name);
    }
    taken.into_iter().filter(|name| begins(name, OWN)).collect()
}

/// Where a process writes its addresses; what an earlier one wrote is removed.
fn ready_file(folder: &Path, name: &str) -> Result<PathBuf> {
    let file = folder.join("run").join(format!("{name}.ready.json"));
    files::folder(&folder.join("run"))?;
    files::remove(&file).context("an old file is in the way")?;
    Ok(file)
}

/// What the file says once it is whole.
fn read(file: &Path) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(file).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_for_real_systems_does_not_reach_the_sandboxes() {
        let said = Said::new(
            "",
            &[
                ("LINEAR_API_KEY", "x"),
                ("LOCKSTEP__CONNECTOR__GITHUB__TOKEN", "x"),
                ("LOCKSTEP__INGEST__LINEAR__SECRETS", "x"),
                ("LOCKSTEP__POLICY__STRATEGY", "manual"),
            ],
        );
        let mut command = Command::new("true");
        let own = ["LOCKSTEP__CONNECTOR__GITHUB__TOKEN", "LOCKSTEP__INGEST__LINEAR__SECRETS"];
        assert_eq!(without_real_systems(&mut command, &said), own);
        let unset =
            "unset LINEAR_API_KEY\nunset LOCKSTEP__CONNECTOR__GITHUB__TOKEN\nunset LOCKSTEP__INGEST__LINEAR__SECRETS\n";
        assert_eq!(exports(&command), unset);
    }

    #[test]
    fn to_a_server_of_ours_we_are_who_its_address_says() {
        let mut command = Command::new("true");
        own_credentials(&mut command, Some(("lockstep", "s3cret")));
        let told = exports(&command);
        assert!(told.contains("export LOCKSTEP__NATS__USER='lockstep'"));
        assert!(
            told.contains("export LOCKSTEP__NATS__PASSWORD='s3cret'") && told.contains("unset LOCKSTEP__NATS__TOKEN")
        );
        let mut command = Command::new("true");
        own_credentials(&mut command, None);
        assert!(exports(&command).contains("unset LOCKSTEP__NATS__USER"));
    }

    #[test]
    fn a_shell_reads_the_settings_as_they_are() {
        let mut command = Command::new("true");
        command.env("A", "it's $HOME").env_remove("B");
        assert_eq!(exports(&command), "export A='it'\\''s $HOME'\nunset B\n");
    }
}

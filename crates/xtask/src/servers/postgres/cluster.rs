//! A data folder of PostgreSQL: made once, whole or not at all.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::NAME;
use crate::servers::account::Account;
use crate::{files, process, random, say, signals};

/// All that is made in a home.
pub const NAMES: [&str; 3] = [FOLDER, UNFINISHED, PASSWORD];
const FOLDER: &str = "cluster";
const UNFINISHED: &str = "cluster.unfinished";
const PASSWORD: &str = "password";
/// Where a running server writes its process id.
const PID_FILE: &str = "postmaster.pid";
/// How long a server that was left running may take to shut down.
const STOP_WAIT: Duration = Duration::from_secs(30);

/// A data folder with its superuser's password.
pub struct Cluster {
    /// The data folder itself.
    pub folder: PathBuf,
    /// The superuser's password.
    pub password: String,
}

/// Finds the data folder in `home`, or makes it.
pub fn open(bin: &Path, home: &Path, account: &Account) -> Result<Cluster> {
    let folder = home.join(FOLDER);
    let password_file = home.join(PASSWORD);
    if !folder.exists() {
        make(bin, home, account)?;
    }
    let password = fs::read_to_string(&password_file).with_context(|| {
        format!(
            "{} is missing, and with it the way into the database; start over with --fresh",
            password_file.display()
        )
    })?;
    let cluster = Cluster { folder, password: password.trim().to_owned() };
    cluster.check_version(bin)?;
    Ok(cluster)
}

/// Under another name until it is complete, so that a killed initialization is simply done again.
fn make(bin: &Path, home: &Path, account: &Account) -> Result<()> {
    say::step("PostgreSQL: making a new database…");
    let unfinished = home.join(UNFINISHED);
    files::remove(&unfinished)?;
    let password_file = home.join(PASSWORD);
    files::write_private(&password_file, &random::secret()?)?;
    account.own(&password_file)?;
    let mut initdb = account.command(&bin.join("initdb"));
    initdb.arg("-D").arg(&unfinished).arg("--pwfile").arg(&password_file).args(["--username", NAME]);
    initdb.args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]);
    succeed("initdb", &mut initdb, "")?;
    let mut single = account.command(&bin.join("postgres"));
    single.args(["--single", "-j", "-D"]).arg(&unfinished).arg("postgres");
    // Lockstep's own schema has the role's name: a table that somebody makes by `psql` would be put there, and hide the tracked one.
    let word = format!("CREATE DATABASE {NAME};\n\nALTER ROLE {NAME} SET search_path = public;\n\n");
    succeed("postgres --single", &mut single, &word)?;
    fs::rename(&unfinished, home.join(FOLDER))?;
    Ok(())
}

/// Runs a short command to its end with this input; its complaints become the sentence.
fn succeed(name: &str, command: &mut Command, input: &str) -> Result<()> {
    signals::check()?;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{name} cannot be run"))?;
    if let Some(mut pipe) = child.stdin.take() {
        // It may end without reading; its status tells.
        let _ = pipe.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed ({}): {}", output.status, said.trim());
    }
    Ok(())
}

impl Cluster {
    fn check_version(&self, bin: &Path) -> Result<()> {
        let made_by = files::last_line(&self.folder.join("PG_VERSION"))
            .context("the data folder of PostgreSQL has no PG_VERSION")?;
        let program = crate::tools::major_version(&bin.join("postgres")).map(|major| major.to_string());
        match program {
            Some(program) if program != made_by => bail!(
                "{} was made by PostgreSQL {made_by}, and the one here is {program}; put {made_by} on the PATH, or start over with --fresh",
                self.folder.display()
            ),
            _ => Ok(()),
        }
    }

    /// Stops a server that still runs with this folder, and forgets one that is gone.
    pub fn stop_leftover(&self) -> Result<()> {
        let Some(pid) = self.running() else { return self.forget_gone() };
        say::step(format_args!(
            "PostgreSQL: still running from a run that was killed (process {}), stopping it…",
            pid.as_raw_nonzero()
        ));
        for (signal, bound) in [(Signal::INT, STOP_WAIT), (Signal::QUIT, STOP_WAIT)] {
            let _ = kill_process(pid, signal);
            let began = Instant::now();
            while began.elapsed() < bound {
                if self.running().is_none() {
                    return Ok(());
                }
                signals::pause();
            }
        }
        bail!(
            "PostgreSQL (process {}) still runs with {} and does not end",
            pid.as_raw_nonzero(),
            self.folder.display()
        )
    }

    /// PostgreSQL sees through a file whose process is gone, but not where that process waits for ever to be reaped, as
    /// in a container without an init. Whether anyone still has the data open, it finds out by shared memory too.
    fn forget_gone(&self) -> Result<()> {
        match self.recorded() {
            Some(pid) if process::is_gone(pid) => files::remove(&self.folder.join(PID_FILE)),
            _ => Ok(()),
        }
    }

    fn recorded(&self) -> Option<i32> {
        fs::read_to_string(self.folder.join(PID_FILE)).ok()?.lines().next()?.trim().parse().ok()
    }

    /// The recorded server, if it is one: it works in its data folder.
    fn running(&self) -> Option<Pid> {
        let pid = self.recorded()?;
        let works_in = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        (works_in == self.folder.canonicalize().ok()?).then(|| Pid::from_raw(pid)).flatten()
    }
}

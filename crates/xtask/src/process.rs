//! Processes that xtask starts: each in a group of its own, recorded while it runs, and stopped by its id within a bound.
//!
//! It does not know what the processes do.

mod identity;
mod record;
mod step;

use std::fs::{self, File};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

pub use record::stop_leftovers;
pub use step::{captured, run, run_at_terminal, run_seen};

use crate::{files, signals};

/// How a process is asked to end, and how long it may take.
#[derive(Clone, Copy)]
pub struct Ending {
    /// The signal that asks for an orderly end.
    pub ask: Signal,
    /// How long an orderly end may take before it is ended by force.
    pub wait: Duration,
    /// The signal of the forced end.
    pub force: Signal,
}

impl Ending {
    /// For a process that stops in order on SIGINT or SIGTERM and survives being killed.
    pub const fn orderly(ask: Signal, wait_s: u64) -> Self {
        Self { ask, wait: Duration::from_secs(wait_s), force: Signal::KILL }
    }
}

/// Processes a second Ctrl-C ends.
static RUNNING: Mutex<Vec<(Pid, Ending)>> = Mutex::new(Vec::new());

/// A process that xtask started and stops; dropping it stops it.
pub struct Process {
    name: String,
    child: Child,
    pid: Pid,
    ending: Ending,
    log: PathBuf,
    record: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with its output in `<folder>/logs/<name>.log`, what an earlier start left there in `<name>.old.log`, and its id
    /// recorded in `<folder>/run/<name>.json`.
    pub fn start(name: &str, mut command: Command, folder: &Path, ending: Ending) -> Result<Self> {
        files::folder(&folder.join("logs"))?;
        files::folder(&folder.join("run"))?;
        let log = folder.join("logs").join(format!("{name}.log"));
        if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
            let old = log.with_extension("old.log");
            fs::rename(&log, &old).with_context(|| format!("{} cannot be written", old.display()))?;
        }
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("{} cannot be written", log.display()))?;
        let errors = output.try_clone()?;
        // A group of its own: the terminal's Ctrl-C reaches xtask alone, which then stops the others in order.
        command.process_group(0).stdin(Stdio::null()).stdout(output).stderr(errors);
        let mut child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        let pid = Pid::from_child(&child);
        let record = folder.join("run").join(format!("{name}.json"));
        if let Err(error) = record::write(&record, pid, ending) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        running().push((pid, ending));
        Ok(Self { name: name.to_owned(), child, pid, ending, log, record, ended: None })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
            if self.ended.is_some() {
                self.forget();
            }
        }
        Ok(self.ended)
    }

    /// Waits until `ready` has an answer; fails if the process ends first, at the deadline, and on Ctrl-C.
    pub fn wait_until<T>(&mut self, deadline: Duration, mut ready: impl FnMut() -> Option<T>) -> Result<T> {
        let began = Instant::now();
        loop {
            if let Some(answer) = ready() {
                return Ok(answer);
            }
            signals::check()?;
            if let Some(status) = self.ended()? {
                return Err(self.why_ended(status));
            }
            if began.elapsed() > deadline {
                bail!(
                    "{} did not answer within {} s; its log is {}",
                    self.name,
                    deadline.as_secs(),
                    self.log.display()
                );
            }
            signals::pause();
        }
    }

    /// The sentence for a process that ended by itself.
    pub fn why_ended(&self, status: ExitStatus) -> anyhow::Error {
        if status.signal().is_some() {
            // Its last line was written before, and says nothing about why.
            return anyhow!("{} was ended from outside ({status}); its log is {}", self.name, self.log.display());
        }
        let sentence =
            files::last_line(&self.log).unwrap_or_else(|| format!("it said nothing and ended with {status}"));
        let sentence = sentence.trim_start_matches("error: ");
        if status.code() == Some(i32::from(crate::setting::EXIT_CODE)) {
            return crate::setting::wrong(sentence);
        }
        anyhow!("{} ended ({status}): {sentence} (log: {})", self.name, self.log.display())
    }

    /// Stops it: asks, waits for its bound, then ends it by force.
    pub fn stop(&mut self) {
        if !matches!(self.ended(), Ok(None)) {
            return;
        }
        let _ = kill_process(self.pid, self.ending.ask);
        if !self.gone_within(self.ending.wait) {
            let _ = kill_process(self.pid, self.ending.force);
            if !self.gone_within(Duration::from_secs(5)) {
                let _ = kill_process(self.pid, Signal::KILL);
                let _ = self.gone_within(Duration::from_secs(5));
            }
        }
        // What the process left behind in its group; usually there is nothing.
        let _ = kill_process_group(self.pid, Signal::KILL);
    }

    fn gone_within(&mut self, bound: Duration) -> bool {
        let began = Instant::now();
        while began.elapsed() < bound {
            if !matches!(self.ended(), Ok(None)) {
                return true;
            }
            signals::pause();
        }
        false
    }

    fn forget(&self) {
        running().retain(|(pid, _)| *pid != self.pid);
        let _ = files::remove(&self.record);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Whether no process has this id, or one that only waits to be reaped.
pub fn is_gone(pid: i32) -> bool {
    identity::began(pid).is_none()
}

/// Ends every process by force and at once; for the second Ctrl-C.
pub fn end_all_now() {
    for (pid, ending) in running().iter().rev() {
        let _ = kill_process(*pid, ending.force);
        if ending.force == Signal::KILL {
            let _ = kill_process_group(*pid, Signal::KILL);
        }
    }
}

fn running() -> std::sync::MutexGuard<'static, Vec<(Pid, Ending)>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_of_this_start_and_one_older_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        for word in ["first", "second", "third"] {
            let mut command = Command::new("echo");
            command.arg(word);
            let mut process = Process::start("it", command, folder.path(), Ending::orderly(Signal::TERM, 5)).unwrap();
            let log = logs.join("it.log");
            let said = process
                .wait_until(Duration::from_secs(5), || fs::read_to_string(&log).ok().filter(|said| !said.is_empty()));
            assert_eq!(said.unwrap(), format!("{word}\n"));
        }
        assert_eq!(fs::read_to_string(logs.join("it.old.log")).unwrap(), "second\n");
        assert_eq!(fs::read_dir(&logs).unwrap().count(), 2);
    }
}

//! Records of what runs, so that what a killed xtask left behind is found and stopped by the next one.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

use super::{Ending, identity};
use crate::{files, say, signals};

#[derive(Serialize, Deserialize)]
struct Record {
    pid: i32,
    began: Option<String>,
    ask: i32,
    force: i32,
    wait_s: u64,
}

pub(super) fn write(path: &Path, pid: Pid, ending: Ending) -> Result<()> {
    let pid = pid.as_raw_nonzero().get();
    let record = Record {
        pid,
        began: identity::began(pid),
        ask: ending.ask.as_raw(),
        force: ending.force.as_raw(),
        wait_s: ending.wait.as_secs(),
    };
    files::write_json(path, &record)
}

/// Stops, in this order, what an xtask that was killed left running with this folder.
pub fn stop_leftovers(folder: &Path, names: &[&str]) -> Result<()> {
    for name in names {
        let path = folder.join("run").join(format!("{name}.json"));
        let Ok(text) = fs::read_to_string(&path) else { continue };
        // A record that cannot be read says nothing about any process.
        if let Ok(record) = serde_json::from_str::<Record>(&text)
            && record.began.is_some()
            && identity::began(record.pid) == record.began
        {
            say::step(format_args!(
                "{name}: still running from a run that was killed (process {}), stopping it…",
                record.pid
            ));
            record.stop().with_context(|| format!("{name} (process {}) cannot be stopped", record.pid))?;
        }
        files::remove(&path)?;
    }
    Ok(())
}

impl Record {
    fn stop(&self) -> Result<()> {
        let Some(pid) = Pid::from_raw(self.pid) else { bail!("its record names no process") };
        let last = Duration::from_secs(5);
        for (signal, bound) in
            [(self.ask, Duration::from_secs(self.wait_s)), (self.force, last), (Signal::KILL.as_raw(), last)]
        {
            let Some(signal) = Signal::from_named_raw(signal) else { continue };
            let _ = kill_process(pid, signal);
            if self.gone_within(bound) {
                break;
            }
        }
        let _ = kill_process_group(pid, Signal::KILL);
        if self.gone() { Ok(()) } else { bail!("it does not end; is it another user's?") }
    }

    fn gone(&self) -> bool {
        identity::began(self.pid) != self.began
    }

    fn gone_within(&self, bound: Duration) -> bool {
        let began = Instant::now();
        while began.elapsed() < bound {
            if self.gone() {
                return true;
            }
            signals::pause();
        }
        self.gone()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command};

    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("600").process_group(0).spawn().unwrap()
    }

    #[test]
    fn a_process_left_behind_is_stopped_and_its_record_removed() {
        let folder = tempfile::tempdir().unwrap();
        files::folder(&folder.path().join("run")).unwrap();
        let path = folder.path().join("run/nats.json");
        let mut child = sleeper();
        write(&path, Pid::from_child(&child), Ending::orderly(Signal::TERM, 5)).unwrap();
        stop_leftovers(folder.path(), &["lockstep", "nats"]).unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(!path.exists());
    }

    #[test]
    fn another_process_with_the_recorded_id_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        files::folder(&folder.path().join("run")).unwrap();
        let mut child = sleeper();
        let pid = Pid::from_child(&child).as_raw_nonzero().get();
        let record = Record { pid, began: Some("1".to_owned()), ask: 15, force: 9, wait_s: 1 };
        files::write_json(&folder.path().join("run/nats.json"), &record).unwrap();
        stop_leftovers(folder.path(), &["nats"]).unwrap();
        assert!(child.try_wait().unwrap().is_none(), "it was stopped");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

//! A server under measurement: a process of its own, its processor time and its memory.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A process; it ends with this value.
pub struct Running {
    child: Child,
}

const START: Duration = Duration::from_secs(30);

impl Running {
    /// Starts a program whose output goes to a file, and returns when it accepts connections.
    pub fn start(mut command: Command, address: SocketAddr, log: &Path) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let output = File::create(log).with_context(|| format!("{} cannot be written", log.display()))?;
        let child = command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn();
        let mut running = Self { child: child.with_context(|| format!("{program} cannot be started"))? };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = running.child.try_wait()? {
                bail!("{program} ended ({status}): {}", last_line(log));
            }
            if began.elapsed() > START {
                bail!("{program} does not listen at {address} after {START:?}; its log: {}", log.display());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(running)
    }

    /// The seconds of processor time that it and its children have used: as the scheduler counts them for each thread, in nanoseconds,
    /// or where it does not tell, user and system time, which come in hundredths of a second.
    pub fn cpu(&self) -> Result<f64> {
        let (mut nanoseconds, mut ticks) = (0, 0);
        for id in self.family()? {
            let exact = threads(id);
            nanoseconds += exact.unwrap_or(0);
            // The twelfth and thirteenth field after the name.
            let fields = stat(id).filter(|_| exact.is_none()).unwrap_or_default();
            ticks += fields.iter().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
        }
        #[expect(clippy::cast_precision_loss, reason = "far from 2^52")]
        let seconds = nanoseconds as f64 / 1e9 + ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        Ok(seconds)
    }

    /// The bytes of memory that it and its children hold.
    pub fn memory(&self) -> Result<u64> {
        let mut bytes = 0;
        for id in self.family()? {
            let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            bytes += kib.unwrap_or(0) * 1024;
        }
        Ok(bytes)
    }

    fn family(&self) -> Result<Vec<u32>> {
        let own = self.child.id();
        let ids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let parent = |id: u32| stat(id).and_then(|stat| stat.get(1)?.parse::<u32>().ok());
        Ok(ids.filter(|id| *id == own || parent(*id) == Some(own)).collect())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // nginx's worker ends with its master only when that is asked, not when it is killed.
        let asked = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(asked, rustix::process::Signal::TERM);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The nanoseconds for which a process's threads have run.
fn threads(id: u32) -> Option<u64> {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).ok()?;
    let ran = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok());
    let ran: Vec<u64> = ran.filter_map(|text| text.split_whitespace().next()?.parse().ok()).collect();
    (!ran.is_empty()).then(|| ran.iter().sum())
}

/// The fields of a process after its name, which stands in brackets and may hold blanks: its state first.
fn stat(id: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned()
}

/// A port that nobody listens on.
pub fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

/// Lets this process, and those it starts, have so many files open.
pub fn allow_files(wanted: u64) -> Result<()> {
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let maximum = now.maximum.map(|maximum| maximum.max(wanted));
    if setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok() {
        return Ok(());
    }
    let allowed = now.maximum.unwrap_or(wanted);
    setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum: now.maximum })?;
    if allowed < wanted {
        bail!("{wanted} open files are needed and {allowed} are allowed; raise `ulimit -Hn`, or take fewer --clients");
    }
    Ok(())
}

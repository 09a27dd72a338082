//! Commands that run to their end: a build, an installation, the tests.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::signals::{self, Interrupted};

/// How long an interrupted command may take to end by itself.
const INTERRUPT_WAIT: Duration = Duration::from_secs(10);
/// How long the output of an ended command is waited for, where a process it left behind holds the pipe open.
const DRAIN_WAIT: Duration = Duration::from_secs(2);

/// Runs a command to its end with its output on ours. Ctrl-C interrupts it with all it started.
pub fn run(command: &mut Command) -> Result<ExitStatus> {
    let mut child = spawn(command.process_group(0).stdin(Stdio::null()))?;
    wait(&mut child)
}

/// Runs a command that may ask the person at the terminal for a password.
pub fn run_at_terminal(command: &mut Command) -> Result<ExitStatus> {
    let status = spawn(command)?.wait()?;
    signals::check()?;
    Ok(status)
}

/// Runs a short command and returns its standard output if it succeeded.
pub fn captured(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command as [`run`] does, and shows each line of its output to `seen`.
pub fn run_seen(command: &mut Command, seen: &mut dyn FnMut(&str)) -> Result<ExitStatus> {
    let piped = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(piped)?;
    let (sender, lines) = channel();
    if let Some(out) = child.stdout.take() {
        read_lines(out, Stream::Out, sender.clone());
    }
    if let Some(errors) = child.stderr.take() {
        read_lines(errors, Stream::Errors, sender);
    }
    let status = show_until_ended(&mut child, &lines, seen)?;
    let began = Instant::now();
    while let Ok((stream, line)) = lines.recv_timeout(DRAIN_WAIT.saturating_sub(began.elapsed())) {
        show(stream, &line, seen);
    }
    Ok(status)
}

#[derive(Clone, Copy)]
enum Stream {
    Out,
    Errors,
}

fn show_until_ended(
    child: &mut Child,
    lines: &Receiver<(Stream, String)>,
    seen: &mut dyn FnMut(&str),
) -> Result<ExitStatus> {
    loop {
        match lines.recv_timeout(Duration::from_millis(50)) {
            Ok((stream, line)) => show(stream, &line, seen),
            Err(RecvTimeoutError::Disconnected) => return wait(child),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(status) = child.try_wait()? {
                    return Ok(status);
                }
            }
        }
        if signals::requested() {
            return interrupt(child);
        }
    }
}

fn show(stream: Stream, line: &str, seen: &mut dyn FnMut(&str)) {
    // A closed pipe is no reason to leave the command's servers running.
    let _ = match stream {
        Stream::Out => writeln!(std::io::stdout().lock(), "{line}"),
        Stream::Errors => writeln!(std::io::stderr().lock(), "{line}"),
    };
    seen(line);
}

fn read_lines(pipe: impl Read + Send + 'static, stream: Stream, sender: Sender<(Stream, String)>) {
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while pipe.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
            bytes.clear();
            if sender.send((stream, line)).is_err() {
                break;
            }
        }
    });
}

fn spawn(command: &mut Command) -> Result<Child> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.spawn().with_context(|| format!("{program} cannot be run"))
}

fn wait(child: &mut Child) -> Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if signals::requested() {
            return interrupt(child);
        }
        signals::pause();
    }
}

/// Passes the interruption on to the command's whole group, and waits for it with a bound.
fn interrupt(child: &mut Child) -> Result<ExitStatus> {
    let group = Pid::from_child(child);
    let _ = kill_process_group(group, Signal::INT);
    let began = Instant::now();
    while began.elapsed() < INTERRUPT_WAIT {
        if child.try_wait()?.is_some() {
            return Err(Interrupted.into());
        }
        signals::pause();
    }
    let _ = kill_process_group(group, Signal::KILL);
    child.wait()?;
    Err(Interrupted.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_both_streams_is_seen_and_the_status_returned() {
        let mut lines = Vec::new();
        let script = "echo one; echo two >&2; printf three; exit 3";
        let status =
            run_seen(Command::new("sh").args(["-c", script]), &mut |line| lines.push(line.to_owned())).unwrap();
        lines.sort();
        assert_eq!(lines, ["one", "three", "two"]);
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn a_command_that_fails_has_no_captured_output() {
        assert_eq!(captured(Command::new("sh").args(["-c", "echo x; exit 1"])), None);
        assert_eq!(captured(&mut Command::new("a program that is not there")), None);
    }
}

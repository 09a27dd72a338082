//! Installs Debian packages, as root or with sudo.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};

use super::found::on_path;
use crate::{process, say};

static UPDATED: AtomicBool = AtomicBool::new(false);

/// Installs packages; `what` and `by_hand` are for the sentences.
pub fn install(what: &str, packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if on_path("apt-get").is_none() {
        bail!("{what} is missing and there is no apt-get to install it with; install it by hand (in Debian: {list})");
    }
    if !root() && on_path("sudo").is_none() {
        bail!("{what} is missing; run `apt-get install {list}` as root, then this again");
    }
    update()?;
    say::step(format_args!("{what}: apt-get install {list}…"));
    let mut words =
        vec!["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "--no-install-recommends"];
    words.extend(packages);
    if !as_root(&words)? {
        bail!("{what} could not be installed: `apt-get install {list}` failed, its reason stands above");
    }
    Ok(())
}

/// Asks, once a run, which packages there are.
pub fn update() -> Result<()> {
    if !UPDATED.swap(true, Ordering::SeqCst) {
        say::step("apt-get update…");
        // An unreachable extra source must not stop an installation that the others can serve.
        let _ = as_root(&["apt-get", "update", "-qq"])?;
    }
    Ok(())
}

/// Runs a command as root; returns whether it succeeded.
pub fn as_root(words: &[&str]) -> Result<bool> {
    let status = if root() {
        process::run(Command::new(words[0]).args(&words[1..]))?
    } else {
        process::run_at_terminal(Command::new("sudo").args(words))?
    };
    Ok(status.success())
}

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

//! Node.js and the packages of the client tests, which drive our servers with the products' own clients.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::apt;
use super::found::{Version, on_path, version};
use crate::{files, process, say};

/// The oldest that the clients in the tests support.
const OLDEST: Version = Version(18, 0, 0);

/// The client tests' `node_modules`, installed once for each lock file; `None` while there is no lock file.
pub fn modules(folder: &Path) -> Result<Option<PathBuf>> {
    let lock = folder.join("package-lock.json");
    if !lock.is_file() {
        return Ok(None);
    }
    let npm = npm()?;
    let modules = folder.join("node_modules");
    let installed = modules.join(".installed-lock.json");
    let wanted = fs::read(&lock).with_context(|| format!("{} cannot be read", lock.display()))?;
    if fs::read(&installed).is_ok_and(|found| found == wanted) {
        say::done(format_args!("npm packages of the client tests: {}", modules.display()));
        return Ok(Some(modules));
    }
    say::step("npm packages of the client tests: npm ci…");
    let mut command = Command::new(npm);
    // Scripts of packages are not needed, and would run with this user's rights.
    command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder);
    if !process::run(&mut command)?.success() {
        bail!("npm ci failed in {}, its reason stands above", folder.display());
    }
    files::folder(&modules)?;
    fs::write(&installed, wanted).with_context(|| format!("{} cannot be written", installed.display()))?;
    Ok(Some(modules))
}

fn npm() -> Result<PathBuf> {
    if let Some(npm) = found() {
        return Ok(npm);
    }
    apt::install("Node.js (for the client tests)", &["nodejs", "npm"])?;
    found().with_context(|| format!("node and npm of at least {} are needed for the client tests", OLDEST.0))
}

fn found() -> Option<PathBuf> {
    let node = on_path("node")?;
    version(&node).filter(|found| *found >= OLDEST)?;
    on_path("npm")
}

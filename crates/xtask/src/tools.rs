//! Finds what this repository needs on the machine, and installs what is missing.

mod apt;
mod chromium;
mod found;
mod nats;
mod nginx;
mod node;
mod postgres;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::{files, process, say, signals, state};

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
    web()?;
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

/// What the fan-out benchmark measures the broadcaster beside; what is not there is left out of it.
#[derive(Default)]
pub struct Baselines {
    /// `nginx`, with nchan beside it.
    pub nginx: Option<PathBuf>,
    /// The packages of Node.js.
    pub node_modules: Option<PathBuf>,
}

/// Finds or installs them. A machine on which that fails can measure the rest.
pub fn baselines() -> Result<Baselines> {
    let _lock = installation_lock()?;
    let unless = |what: &str, found: Result<PathBuf>| match found {
        Ok(place) => Some(place),
        Err(error) => {
            say::step(format_args!("{what} will be left out: {error:#}"));
            None
        }
    };
    let nginx = unless("nchan", nginx::with_nchan());
    let modules = node::modules(&state::root().join("crates/bench/fanout"));
    let node_modules = unless("ws and Socket.IO", modules.and_then(|found| found.context("there is no lock file")));
    signals::check()?;
    Ok(Baselines { nginx, node_modules })
}

/// What is written for browsers, built, and a browser to try it in.
pub struct Web {
    /// The folder `web`.
    pub folder: PathBuf,
    /// The browser's executable.
    pub browser: PathBuf,
}

impl Web {
    /// A script of `web/package.json`, ready to be run.
    pub fn script(&self, name: &str) -> Result<Command> {
        node::script(&self.folder, name)
    }
}

/// Builds what is in `web`, after finding or installing what that and its tests need.
pub fn web() -> Result<Web> {
    let _lock = installation_lock()?;
    let folder = state::root().join("web");
    node::modules(&folder)?.with_context(|| format!("{} has no package-lock.json", folder.display()))?;
    let web = Web { browser: chromium::executable()?, folder };
    if !process::run(&mut web.script("build")?)?.success() {
        bail!("npm run build failed in {}, its reason stands above", web.folder.display());
    }
    say::done(format_args!("web: built in {}", web.folder.display()));
    Ok(web)
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

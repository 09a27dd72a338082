//! cargo xtask up: everything on this machine, from the servers to every service, until Ctrl-C.

mod address;
mod claim;
mod config;
mod credentials;
mod guard;
mod place;
mod real;
mod report;
mod said;
mod services;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::servers::{self, Durability, External, Preferred, Servers, Setup};
use crate::state::{self, State};
use crate::{files, process, random, say, setting, signals};

use credentials::Credentials;
use place::Systems;
use said::Said;
use services::Services;

/// What `up` can be told.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Options {
    /// Throw away everything that was stored, and start over
    #[arg(long)]
    fresh: bool,
    /// Leave the sandboxes out, and work with the systems that the environment names
    #[arg(long)]
    real: bool,
    /// Build and run with optimizations
    #[arg(long)]
    release: bool,
    /// The port of everything that a browser or a script talks to
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Run what was built last
    #[arg(long)]
    no_build: bool,
    /// The folder for data, logs and up.json; without it .lockstep, or .lockstep/real with --real
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Starts everything, waits for Ctrl-C or for a part to end, and stops everything.
pub fn run(options: &Options) -> Result<ExitCode> {
    let systems = if options.real { Systems::Real } else { Systems::Sandboxes };
    systems.check_shell(&setting::given)?;
    let said = Said::of(systems)?;
    if options.real {
        real::check(&said)?;
    }
    let folder = options.data.clone().unwrap_or_else(|| systems.folder());
    let state = State::take(&folder)?;
    let folder = state.folder();
    systems.check(folder, options.fresh)?;
    process::stop_leftovers(folder, &["lockstep", "sandbox", "nats", "postgres"])?;
    files::remove(&folder.join(report::FILE))?;
    if !servers::is_free(options.port) {
        return Err(setting::wrong(format!("port {} is taken; choose another with --port", options.port)));
    }
    if !options.fresh {
        said.check_stored(folder)?;
    }
    said.check_credentials()?;
    // Before the build: a wrong setting is told at once, not after minutes.
    let external = External::ask(said.server("nats.url", "NATS_URL"), said.server("database.url", "DATABASE_URL"))?;
    if !options.no_build {
        build(options.release)?;
    }
    let executable = state::executables(options.release)?.join("lockstep");
    if !executable.is_file() {
        bail!("{} is not there; leave --no-build out", executable.display());
    }
    claim::run(systems, &executable, &said, &external)?;
    // After all that may be refused.
    if options.fresh {
        say::step(format_args!("starting over: what was stored in {} is removed", folder.display()));
        servers::wipe(folder)?;
        files::remove(&folder.join("sandbox"))?;
    }
    systems.note(folder)?;
    let preferred = Preferred { nats: Some(4222), nats_monitor: Some(8222), postgres: Some(5432) };
    let mut servers =
        Servers::start_missing(external, folder, Durability::Lasting, preferred, &setup(systems, folder, &said)?)?;
    let credentials = Credentials::of(folder)?;
    let mut services = Services::start(systems, options.port, &executable, folder, &servers, &credentials, &said)?;
    report::write(folder, &executable, &servers, &services, &credentials)?;
    report::print(folder, &executable, &servers, &services);
    let outcome = watch(&mut servers, &mut services);
    say::step("stopping: services, sandboxes, NATS, PostgreSQL…");
    services.stop();
    servers.stop();
    files::remove(&folder.join(report::FILE))?;
    outcome?;
    say::done("everything is stopped; what was stored is kept");
    Ok(ExitCode::SUCCESS)
}

/// How NATS is set up where it is ours. Beside real systems it is closed: who tells it something would need no key of the APIs.
fn setup(systems: Systems, folder: &Path, said: &Said) -> Result<Setup> {
    let password = match systems {
        Systems::Sandboxes => None,
        Systems::Real => Some(random::kept(&folder.join("data/nats.password"))?),
    };
    let storage_mb = said.find("nats.storage_mb", None).and_then(|(_, said)| said.trim().parse().ok());
    Ok(Setup { password, storage_mb: storage_mb.unwrap_or(servers::STORAGE_MB) })
}

/// Waits until the person asks for the end; fails if a part ends before.
fn watch(servers: &mut Servers, services: &mut Services) -> Result<()> {
    while !signals::requested() {
        services.check()?;
        servers.check()?;
        signals::pause();
    }
    Ok(())
}

fn build(release: bool) -> Result<()> {
    say::step("building lockstep…");
    let mut command: Command = state::cargo(&["build", "--package", "lockstep"]);
    if release {
        command.arg("--release");
    }
    if process::run(&mut command)?.success() { Ok(()) } else { bail!("the build failed, its reason stands above") }
}

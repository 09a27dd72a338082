//! cargo xtask up: everything on this machine, from the servers to every service, until Ctrl-C.

mod address;
mod config;
mod credentials;
mod guard;
mod place;
mod real;
mod report;
mod services;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::servers::{self, Durability, External, Preferred, Servers};
use crate::state::{self, State};
use crate::{files, process, say, setting, signals};

use credentials::Credentials;
use place::Systems;
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
    if options.real {
        real::check(&setting::given)?;
    }
    let folder = options.data.clone().unwrap_or_else(|| systems.folder());
    let state = State::take(&folder)?;
    let folder = state.folder();
    process::stop_leftovers(folder, &["lockstep", "sandbox", "nats", "postgres"])?;
    files::remove(&folder.join(report::FILE))?;
    if options.fresh {
        say::step(format_args!("starting over: what was stored in {} is removed", folder.display()));
        servers::wipe(folder)?;
        files::remove(&folder.join("sandbox"))?;
        Systems::forget(folder)?;
    }
    systems.claim(folder)?;
    if !servers::is_free(options.port) {
        return Err(setting::wrong(format!("port {} is taken; choose another with --port", options.port)));
    }
    // Before the build: a wrong setting is told at once, not after minutes.
    let external = External::from_environment()?;
    if !options.no_build {
        build(options.release)?;
    }
    let executable = state::executables(options.release)?.join("lockstep");
    if !executable.is_file() {
        bail!("{} is not there; leave --no-build out", executable.display());
    }
    let preferred = Preferred { nats: Some(4222), nats_monitor: Some(8222), postgres: Some(5432) };
    let mut servers = Servers::start_missing(external, folder, Durability::Lasting, preferred)?;
    let credentials = Credentials::of(folder)?;
    let mut services = Services::start(systems, options.port, &executable, folder, &servers, &credentials)?;
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

//! cargo xtask bench: the servers a benchmark needs, durable and on ports of their own, and the benchmark itself in release.

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::servers::{self, Durability, Servers};
use crate::state::{self, State};
use crate::{files, process, say};

/// What `bench` can be told.
#[derive(clap::Args)]
pub struct Options {
    /// The benchmark to run; all of them without it
    name: Option<String>,
    /// Anything else is handed to the benchmark
    #[arg(last = true)]
    rest: Vec<String>,
}

/// Runs one benchmark or all.
pub fn run(options: &Options) -> Result<ExitCode> {
    let state = State::take(&state::shared().join("bench-servers"))?;
    build()?;
    let out = state::shared().join("bench");
    files::folder(&out)?;
    servers::stop_leftovers(state.folder())?;
    servers::wipe(state.folder())?;
    let servers = Servers::start(state.folder(), Durability::Lasting)?;
    let mut command = Command::new(state::executables(true)?.join("bench"));
    command.args(&options.name).args(["--nats", &servers.nats.url, "--database", &servers.postgres.url, "--out"]);
    command.arg(&out).args(&options.rest).current_dir(state::root());
    let status = process::run(&mut command);
    servers.stop();
    servers::wipe(state.folder())?;
    let status = status?;
    if !status.success() {
        bail!("the benchmark ended with {status}");
    }
    say::done(format_args!("results: {}", out.display()));
    Ok(ExitCode::SUCCESS)
}

fn build() -> Result<()> {
    say::step("building in release…");
    if process::run(&mut state::cargo(&["build", "--release", "--package", "bench"]))?.success() {
        Ok(())
    } else {
        bail!("the build failed, its reason stands above")
    }
}

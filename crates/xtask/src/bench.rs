//! cargo xtask bench: the servers a benchmark needs, durable and on ports of their own, and the benchmark itself in release.

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::servers::{self, Durability, Servers, Setup};
use crate::state::{self, State};
use crate::tools::{self, Baselines};
use crate::{files, process, say};

/// What `bench` can be told.
#[derive(clap::Args)]
pub struct Options {
    /// The benchmark to run, all of them without it; and what it is told, such as `fanout --quick`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// What is measured takes what it takes where nobody says otherwise (`nats.storage_mb`).
const DEFAULT_MB: u64 = 4_096;

/// Runs one benchmark or all.
pub fn run(options: &Options) -> Result<ExitCode> {
    let state = State::take(&state::shared().join("bench-servers"))?;
    let fanout = options.words.first().is_none_or(|name| name == "fanout" || name.starts_with('-'));
    build()?;
    let baselines = if fanout { tools::baselines()? } else { Baselines::default() };
    let out = state::shared().join("bench");
    files::folder(&out)?;
    servers::stop_leftovers(state.folder())?;
    servers::wipe(state.folder())?;
    let servers =
        Servers::start(state.folder(), Durability::Lasting, &Setup { storage_mb: DEFAULT_MB, ..Setup::default() })?;
    let executables = state::executables(true)?;
    let mut command = Command::new(executables.join("bench"));
    command.args(["--nats", &servers.nats.url, "--database", &servers.postgres.url, "--out"]).arg(&out);
    command.arg("--lockstep").arg(executables.join("lockstep"));
    for (option, place) in [("--nginx", &baselines.nginx), ("--node-modules", &baselines.node_modules)] {
        if let Some(place) = place {
            command.arg(option).arg(place);
        }
    }
    command.args(&options.words).current_dir(state::root());
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
    if process::run(&mut state::cargo(&["build", "--release", "--package", "bench", "--package", "lockstep"]))?
        .success()
    {
        Ok(())
    } else {
        bail!("the build failed, its reason stands above")
    }
}

//! cargo xtask up, test, bench, ci: everything a person or a machine does with this repository.

mod bench;
mod deny;
mod files;
mod process;
mod random;
mod say;
mod schemas;
mod servers;
mod setting;
mod signals;
mod simulate;
mod state;
mod test;
mod tools;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::setting::Wrong;
use crate::signals::Interrupted;

/// Everything a person or a machine does with this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing, build, and start everything on this machine; Ctrl-C stops it
    Up(up::Options),
    /// Check formatting and lints, then run every test against real servers
    Test(test::Options),
    /// Measure against baselines taken in the same run
    Bench(bench::Options),
    /// Run simulated worlds, each on its seed: the whole system with everything that can go wrong
    Simulate(simulate::Options),
    /// What a machine runs before a change is taken: the same as `test`
    Ci,
    /// Check the dependencies' advisories, licences and sources; installs cargo-deny where it is missing
    Deny,
    /// Write docs/schemas/lockstep.v1.json anew, from the messages in proto/
    Schemas,
    /// Install what is missing: nats-server, PostgreSQL, and what the client tests need
    Install,
}

fn main() -> ExitCode {
    let Arguments { task } = Arguments::parse();
    let outcome = signals::install().and_then(|()| match task {
        Task::Up(options) => up::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Simulate(options) => simulate::run(&options),
        Task::Ci => test::run(&test::Options::default()),
        Task::Deny => deny::run(),
        Task::Schemas => schemas::run(),
        Task::Install => tools::install(),
    });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            if !error.is::<test::Failed>() {
                say::failed(&error);
            }
            if error.is::<Wrong>() {
                ExitCode::from(setting::EXIT_CODE)
            } else if error.is::<Interrupted>() {
                ExitCode::from(signals::EXIT_CODE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

//! cargo xtask simulate: as many simulated worlds as one likes, or one of them again with its whole trace.

use std::process::ExitCode;

use anyhow::Result;

use crate::{process, say, state};

/// What `simulate` can be told.
#[derive(clap::Args)]
pub struct Options {
    /// How many worlds
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// Only the world of this seed, with its whole trace
    #[arg(long)]
    seed: Option<u64>,
    /// The seed of the first world
    #[arg(long, default_value_t = 0, conflicts_with = "seed")]
    from: u64,
    /// Go on after a world in which something did not hold, and name all such seeds in the end
    #[arg(long)]
    keep_going: bool,
}

/// Runs the worlds, optimized: there may be many.
pub fn run(options: &Options) -> Result<ExitCode> {
    let arguments = ["test", "--release", "--quiet", "--package", "simulation", "worlds_keep", "--", "--nocapture"];
    let mut command = state::cargo(&arguments);
    command.env("LOCKSTEP_WORLDS", options.seeds.to_string()).env("LOCKSTEP_FIRST", options.from.to_string());
    if let Some(seed) = options.seed {
        command.env("LOCKSTEP_SEED", seed.to_string());
    }
    if options.keep_going {
        command.env("LOCKSTEP_KEEP_GOING", "1");
    }
    say::step("building in release, then running the worlds…");
    Ok(if process::run(&mut command)?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

//! Benchmarks: figures, each beside a baseline measured in the same run.
//!
//! `bench [name] --nats URL --database URL --out DIR`. The servers are the caller's, and nothing else should use them; the
//! results are `<name>.json` in the folder, and a table.

mod dice;
mod fanout;
mod outcome;
mod pipeline;
mod policy;
mod resolve;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use outcome::{Outcome, table};

/// The same allocator as the product's, since the pipeline runs in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Observations a second through `resolve()` alone
    Resolve,
    /// Observations from NATS through PostgreSQL to a WebSocket client: events a second, latency, and a million items
    Pipeline,
    /// One message to thousands of WebSocket clients: the broadcaster beside a bare loop, nchan, ws and Socket.IO
    Fanout,
}

#[derive(Debug, Parser)]
#[command(version, about = "Benchmarks of Lockstep, each beside a baseline measured in the same run")]
struct Options {
    /// The benchmark to run; all of them without it
    name: Option<Name>,
    /// A NATS server with JetStream that nobody else uses
    #[arg(long)]
    nats: String,
    /// A PostgreSQL database on a server that nobody else uses; its user may create databases
    #[arg(long)]
    database: String,
    /// Where the results are written
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    pipeline: pipeline::Options,
    #[command(flatten)]
    fanout: fanout::Options,
}

fn main() -> Result<()> {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == fanout::raw::WORD) {
        return fanout::raw::serve(&words.collect::<Vec<_>>());
    }
    let options = Options::parse();
    std::fs::create_dir_all(&options.out).with_context(|| format!("{} cannot be made", options.out.display()))?;
    let wants = |name: Name| options.name.is_none_or(|wanted| wanted == name);
    let mut outcomes: Vec<Outcome> = Vec::new();
    if wants(Name::Resolve) {
        outcomes.push(resolve::run()?);
    }
    if wants(Name::Pipeline) {
        outcomes.extend(pipeline::run(&options.nats, &options.database, &options.pipeline)?);
    }
    if wants(Name::Fanout) {
        outcomes.extend(fanout::run(&options.nats, &options.database, &options.fanout)?);
    }
    for outcome in &outcomes {
        outcome.write(&options.out)?;
    }
    outcome::say(&table(&outcomes));
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_has_no_name_twice() {
        super::Options::command().debug_assert();
    }
}

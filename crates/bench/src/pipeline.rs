//! How many events a second go all the way: published on NATS, resolved, persisted, told to a WebSocket client; how long one
//! takes at half that rate; and whether a million items make a difference.

mod database;
mod minimal;
mod publisher;
mod seen;
mod stack;
mod trial;
mod world;

use std::sync::Arc;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::outcome::{Outcome, median, say};
pub use database::Database;
use minimal::Minimal;
use publisher::Publisher;
use stack::Stack;
use trial::{Latency, Target, latency, saturate};
use world::World;

/// How much is measured.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "pipeline")]
pub struct Options {
    /// How many events each trial at saturation publishes
    #[arg(long, default_value_t = 60_000)]
    events: usize,
    /// How many trials; the median counts
    #[arg(long, default_value_t = 3)]
    trials: usize,
    /// How many seconds latency is measured for
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// How many items the large world has
    #[arg(long, default_value_t = 1_000_000)]
    items: usize,
    /// Into how many partitions observations are divided; the default of the bus without it
    #[arg(long)]
    partitions: Option<u32>,
}

const SMALL: usize = 1_000;

const MINIMAL: &str = "the same messages published with acknowledgements in the same window, pulled by one consumer, and \
                       written in batches of 500, a state row upserted and a history row each, by one loop that decides \
                       nothing and tells nobody";

/// Runs all of them.
pub fn run(nats: &str, database: &str, options: &Options) -> Result<Vec<Outcome>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let database = Database::create(database).await?;
        let measured = measure(nats, &database, options).await;
        database.drop().await?;
        measured
    })
}

/// Events a second of each trial.
#[derive(Debug, Default, Serialize)]
struct Rates {
    ours: Vec<f64>,
    minimal: Vec<f64>,
}

/// What the resolver's batches were like.
#[derive(Debug, Serialize)]
struct Batches {
    count: u64,
    mean_ms: f64,
    mean_ms_publishing: f64,
}

impl Batches {
    fn between(before: (u64, f64, f64), after: (u64, f64, f64)) -> Self {
        let count = after.0 - before.0;
        let mean_ms = |seconds: f64| seconds * 1e3 / f64::from(u32::try_from(count.max(1)).unwrap_or(u32::MAX));
        Self { count, mean_ms: mean_ms(after.1 - before.1), mean_ms_publishing: mean_ms(after.2 - before.2) }
    }
}

async fn measure(nats: &str, database: &Database, options: &Options) -> Result<Vec<Outcome>> {
    let policy = Arc::new(crate::policy::policy()?);
    let publisher = Publisher::connect(nats).await?;
    let stack = Stack::start(nats, database, policy, options.partitions).await?;
    let minimal = Minimal::start(nats, database).await?;
    let measured = compare(&publisher, &stack, &minimal, database, options).await;
    minimal.stop().await?;
    stack.stop(&publisher).await?;
    measured
}

async fn compare(
    publisher: &Publisher,
    stack: &Stack,
    minimal: &Minimal,
    database: &Database,
    options: &Options,
) -> Result<Vec<Outcome>> {
    database.seed(0, SMALL).await?;
    let mut contest = Contest {
        publisher,
        ours: (stack.target(), World::new(SMALL)),
        minimal: (minimal.target(), World::new(SMALL)),
    };
    // What is measured is a process that has been running for a while.
    contest.round(options.events / 3).await?;
    let few = contest.rounds(options).await?;

    let half = median(&few.ours) / 2.0;
    let before = stack.batches();
    let ours = latency(publisher, &mut contest.ours.1, half, options.seconds, contest.ours.0).await?;
    let theirs = latency(publisher, &mut contest.minimal.1, half, options.seconds, contest.minimal.0).await?;
    let batches = Batches::between(before, stack.batches());
    say(&format!("pipeline: at {half:.0}/s p50 {:.1} ms, p99 {:.1} ms", ours.p50_ms, ours.p99_ms));

    say(&format!("pipeline: seeding {} items", options.items));
    database.seed(SMALL, options.items).await?;
    contest.ours.1.grow(options.items);
    contest.minimal.1.grow(options.items);
    contest.round(options.events / 3).await?;
    let many = contest.rounds(options).await?;
    database.check(stack.target().seen.total()).await?;
    outcomes(options, &Found { few, many, half, ours, minimal: theirs, batches })
}

/// What is measured beside its baseline, in turns.
struct Contest<'a> {
    publisher: &'a Publisher,
    ours: (&'a Target, World),
    minimal: (&'a Target, World),
}

impl Contest<'_> {
    async fn rounds(&mut self, options: &Options) -> Result<Rates> {
        let mut rates = Rates::default();
        for _ in 0..options.trials {
            let (ours, theirs) = self.round(options.events).await?;
            rates.ours.push(ours);
            rates.minimal.push(theirs);
        }
        Ok(rates)
    }

    async fn round(&mut self, events: usize) -> Result<(f64, f64)> {
        let ours = saturate(self.publisher, &mut self.ours.1, events, self.ours.0).await?;
        let theirs = saturate(self.publisher, &mut self.minimal.1, events, self.minimal.0).await?;
        let items = self.ours.1.items();
        say(&format!("pipeline: {items} items, {events} events: {ours:.0}/s, baseline {theirs:.0}/s"));
        Ok((ours, theirs))
    }
}

/// Everything that was measured.
struct Found {
    few: Rates,
    many: Rates,
    /// Events a second while latency was measured.
    half: f64,
    ours: Latency,
    minimal: Latency,
    batches: Batches,
}

fn outcomes(options: &Options, found: &Found) -> Result<Vec<Outcome>> {
    let Found { few, many, half, ours, minimal, batches } = found;
    let (rate, baseline) = (median(&few.ours), median(&few.minimal));
    let micros = |rates: &[f64]| 1e6 / median(rates);
    let (at_few, at_many) = (micros(&few.ours), micros(&many.ours));
    if ours.count == 0 {
        bail!("nothing was seen while latency was measured");
    }
    Ok(vec![
        Outcome::new("pipeline", rate, "events/s", baseline, MINIMAL)
            .with("items", SMALL)?
            .with("events_per_trial", options.events)?
            .with("trials", few)?,
        Outcome::new("pipeline-latency", ours.p99_ms, "ms (p99, half load)", minimal.p99_ms, MINIMAL)
            .with("rate", half)?
            .with("ours", ours)?
            .with("batches", batches)?
            .with("minimal", minimal)?,
        Outcome::new(
            "pipeline-items",
            at_many,
            "µs/event, all items",
            at_few,
            "the time an event takes the same pipeline at 1,000 items",
        )
        .with("items", options.items)?
        .with("minimal_us_at_few", micros(&few.minimal))?
        .with("minimal_us_at_many", micros(&many.minimal))?
        .with("trials", many)?,
    ])
}

//! How cheaply, how fast and how evenly one message reaches thousands of WebSocket clients: the broadcaster beside a bare loop over
//! sockets, nginx with nchan, and the servers of Node.js, each a process of its own, in turns within one run.
//!
//! | file | figure, beside its baseline |
//! | --- | --- |
//! | `fanout-cpu-vs-raw-<N>` | the server's processor time for a delivery at 50 messages/s to N clients; a bare loop, one write for each |
//! | `fanout-rate-vs-joined-<N>` | deliveries/s at saturation; a bare loop that joins what waits in one write: the limit |
//! | `fanout-rate-vs-nchan-<N>`, `-vs-ws-<N>`, `-vs-socket-io-<N>` | the same; nginx with nchan, `ws`, Socket.IO |
//! | `fanout-p99-vs-nchan-<N>` | the 99th percentile of the time from when a message was due to its reading, at 50/s |
//! | `fanout-p99-400` | the same at 400 messages/s to 1,000 clients |
//! | `fanout-idle-kb` | memory of a connection in a room with a filter; of one of nchan |
//! | `fanout-accept` | connections/s made, entitled and upgraded; of the bare loop |
//! | `fanout-deflate` | processor time for a delivery with permessage-deflate; without |
//! | `fanout-dead-readers` | deliveries/s to 900 clients while 100 more never read; without those |
//!
//! What a server lost, and each round's figures, stand in the details. A server that cannot be installed is left out, and its
//! files are not written.

mod extras;
pub mod load;
mod measure;
mod message;
mod process;
pub mod raw;
mod report;
mod server;
mod source;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::outcome::{Outcome, say};
use crate::pipeline::Database;
use load::Load;
use measure::{Flooded, Steady};
use runtime::Process;
use server::{Means, Name};
use store::Store;

/// How much is measured.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "fanout")]
pub struct Options {
    /// How many clients are in the room; several are measured one after the other
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 5_000])]
    clients: Vec<usize>,
    /// One round of short measurements without Socket.IO, within about two minutes
    #[arg(long)]
    quick: bool,
    /// How many rounds; the median counts
    #[arg(long)]
    rounds: Option<usize>,
    /// How many seconds each measurement takes
    #[arg(long)]
    fanout_seconds: Option<f64>,
    /// How many messages the source may be ahead at saturation; without it 64,000 by the clients, at least 256
    #[arg(long)]
    lead: Option<u64>,
    /// Only these servers
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Name>,
    /// Which event ours is told
    #[arg(long, value_enum, default_value = "agent-state")]
    event: message::Kind,
    /// A release build of the lockstep executable
    #[arg(long)]
    lockstep: Option<PathBuf>,
    /// nginx, where nchan is installed with it
    #[arg(long)]
    nginx: Option<PathBuf>,
    /// The `node_modules` beside the servers of Node.js
    #[arg(long)]
    node_modules: Option<PathBuf>,
}

/// The rate of messages at which processor time and latency are compared.
const STEADY: u32 = 50;
/// How large messages are where ours are not measured.
const SIZE: usize = 200;
const SERVERS: [Name; 6] = [Name::Raw, Name::Joined, Name::Nchan, Name::Ws, Name::SocketIo, Name::Ours];

/// How long and how often.
pub struct Plan {
    clients: Vec<usize>,
    rounds: usize,
    time: Duration,
    size: usize,
    lead: Option<u64>,
}

/// One server's figures of one round.
#[derive(Debug, Clone)]
pub struct Turn {
    steady: Steady,
    flooded: Flooded,
}

/// All figures, by clients and server.
type Turns = BTreeMap<(usize, Name), Vec<Turn>>;

/// Runs it.
pub fn run(nats: &str, database: &str, options: &Options) -> Result<Vec<Outcome>> {
    // Both ends of each connection, and what else a process has open; children inherit it.
    process::allow_files(20_000)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let own = runtime.block_on(async {
        let own = Database::create(database).await?;
        // The resolver does that where one runs.
        let config = store::Config { url: own.url.clone(), ..store::Config::default() };
        Store::connect(&config, &Process::new("bench", None)).await?.migrate().await?;
        anyhow::Ok(own)
    })?;
    let folder = tempfile::tempdir()?;
    let means = Means {
        lockstep: options.lockstep.clone().context("--lockstep must name a release build of lockstep")?,
        nginx: options.nginx.clone(),
        modules: options.node_modules.clone(),
        nats: nats.to_owned(),
        database: own.url.expose().to_owned(),
        kind: options.event,
        folder: folder.path().to_owned(),
    };
    let measured = measure_all(&means, options);
    runtime.block_on(own.drop())?;
    measured
}

fn measure_all(means: &Means, options: &Options) -> Result<Vec<Outcome>> {
    let servers = there(means, options);
    let seconds = options.fanout_seconds.unwrap_or(if options.quick { 1.0 } else { 5.0 });
    let mut plan = Plan {
        clients: options.clients.clone(),
        rounds: options.rounds.unwrap_or(if options.quick { 1 } else { 5 }),
        time: Duration::from_secs_f64(seconds),
        size: SIZE,
        lead: options.lead,
    };
    if servers.contains(&Name::Ours) {
        plan.size = size(means, &plan)?;
    }
    say(&format!("fanout: messages of {} bytes", plan.size));
    let mut turns = Turns::new();
    for clients in &plan.clients {
        for round in 0..plan.rounds {
            for name in &servers {
                let turn = turn(means, *name, *clients, &plan)?;
                say(&report::line(*name, *clients, round, &turn));
                turns.entry((*clients, *name)).or_default().push(turn);
            }
        }
    }
    let mut outcomes = report::outcomes(&turns)?;
    outcomes.extend(extras::run(means, &servers, &plan)?);
    say(&report::table(&turns));
    Ok(outcomes)
}

/// The servers that can be measured; those that are missing are named.
fn there(means: &Means, options: &Options) -> Vec<Name> {
    let wanted = SERVERS.into_iter().filter(|name| match options.only.as_slice() {
        // It is far behind the others, and takes long to be done.
        [] => !(options.quick && *name == Name::SocketIo),
        only => only.contains(name),
    });
    let there = wanted.filter(|name| match means.lacks(*name) {
        Some(why) => {
            say(&format!("fanout: {} is left out: {why}", name.word()));
            false
        }
        None => true,
    });
    there.collect()
}

/// How large our event is as a message to a client: the others' have the same size.
fn size(means: &Means, plan: &Plan) -> Result<usize> {
    let server = means.start(Name::Ours)?;
    let mut load = Load::connect(&server.target, 1)?;
    measure::steady(&server, &mut load, 1, STEADY, plan)?;
    Ok(load.longest)
}

fn turn(means: &Means, name: Name, clients: usize, plan: &Plan) -> Result<Turn> {
    let server = means.start(name)?;
    let mut load = Load::connect(&server.target, clients)?;
    let count = clients as u64;
    let steady = measure::steady(&server, &mut load, count, STEADY, plan)?;
    let flooded = measure::flooded(&server, &mut load, count, plan)?;
    if let Some(end) = load.ends.first() {
        say(&format!("fanout: {} ended {} of {clients} connections: {end}", name.word(), load.ends.len()));
    }
    Ok(Turn { steady, flooded })
}

//! Resolves observations, batch by batch, into items, history, changes and commands.
//!
//! The decisions are `model`'s; [`ledger`] keeps a batch's items in memory while they are made, [`partition`] reads
//! messages, [`worker`] carries them out, [`api`] answers people.

mod api;
mod input;
pub mod ledger;
mod life;
mod mark;
mod order;
mod partition;
mod plan;
mod publication;
mod ties;
mod trace;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bus::Bus;
use model::Policy;
use runtime::access::Keys;
use runtime::config::ConfigError;
use runtime::{Process, Secret};
use serde::Deserialize;
use store::Store;
use tokio::sync::mpsc;

pub use plan::{Planned, Planner, Write};

/// The resolver's settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the HTTP API listens.
    pub listen: SocketAddr,
    /// The most messages taken into one transaction.
    pub batch: usize,
    /// The keys of which the HTTP API wants one. Without any it is open, and then the address must be a local one.
    pub api_keys: Vec<Secret>,
    /// Lets everyone who can reach the address read items and speak as an operator.
    pub allow_anonymous: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8081)), batch: 500, api_keys: vec![], allow_anonymous: false }
    }
}

impl Config {
    /// Refuses what cannot work or would be open by accident. `gateway` is the other address that serves these paths.
    pub fn check(&self, gateway: Option<SocketAddr>) -> Result<(), ConfigError> {
        if self.batch == 0 {
            return Err(ConfigError::new("resolver.batch", "must be above 0"));
        }
        let addresses = [Some(self.listen), gateway].into_iter().flatten();
        runtime::access::check("resolver", &self.api_keys, self.allow_anonymous, addresses)
    }
}

/// Starts the resolver: a task for each partition of the observations, and the HTTP API.
pub async fn run(config: Config, process: Process, bus: Bus, store: Store, policy: Arc<Policy>) -> anyhow::Result<()> {
    config.check(process.gateway())?;
    bus.keep_room(&process);
    resolve(config.batch, &process, &bus, &store, &policy).await?;
    process.spawn("mark", mark::Keeper::new(process.clone(), bus.clone(), store.clone(), &policy).run());
    let keys = Keys::new(&config.api_keys, process.http());
    if config.api_keys.is_empty() {
        runtime::access::tell_names(&process, config.listen);
    }
    let router = api::router(api::State::new(bus, store, policy, process.clone()), keys);
    process.serve(config.listen, router)?;
    Ok(())
}

/// The resolver without its HTTP API: a task that reads each partition of the observations, and one that resolves what they read.
/// `batch` is the most messages that are taken of one partition at once.
pub async fn resolve(
    batch: usize,
    process: &Process,
    bus: &Bus,
    store: &Store,
    policy: &Arc<Policy>,
) -> anyhow::Result<()> {
    store.migrate().await?;
    enter_epoch(bus, store).await?;
    let share = bus.share("observations", process).await?;
    // Room for what each reads in its turn.
    let (read, to_resolve) = mpsc::channel(usize::try_from(bus.partitions())?.max(1));
    for partition in 0..bus.partitions() {
        let reader = partition::Reader {
            partition,
            batch,
            process: process.clone(),
            bus: bus.clone(),
            store: store.clone(),
            share: share.clone(),
            read: read.clone(),
        };
        process.spawn("resolver partition", reader.run());
    }
    let worker = worker::Worker {
        batch,
        process: process.clone(),
        bus: bus.clone(),
        store: store.clone(),
        policy: policy.clone(),
        life: life::Life::of(process.instance()),
        known: store::Known::default(),
    };
    process.spawn("resolver", worker.run(to_resolve));
    process.spawn("history partitions", maintain(store.clone(), process.clone()));
    Ok(())
}

/// Notes which life of the stream of observations is read, and forgets old sequences when it is another.
pub(crate) async fn enter_epoch(bus: &Bus, store: &Store) -> anyhow::Result<()> {
    let epoch = bus.stream_epoch(bus::Stream::Observations).await?;
    store.enter_epoch("OBSERVATIONS", &epoch).await
}

/// Makes the next month's partition of the history before it is needed.
async fn maintain(store: Store, process: Process) -> anyhow::Result<()> {
    const EVERY: Duration = Duration::from_hours(6);
    // Each attempt may hold up all batches for some seconds.
    const AGAIN: Duration = Duration::from_mins(10);
    // A process that found the tables locked when it started has not looked yet.
    let mut wait = AGAIN;
    while process.shutdown().run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
        wait = EVERY;
        if let Err(error) = store.maintain_partitions().await {
            tracing::warn!(%error, "the history's partitions were not maintained; tried again in ten minutes");
            wait = AGAIN;
        }
        if let Err(error) = store.forget_lives().await {
            tracing::warn!(%error, "what was noted of resolvers of long ago was not forgotten; tried again in six hours");
        }
    }
    Ok(())
}

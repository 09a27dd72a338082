//! The one loop that runs every connector: webhooks, commands, sweeps, watches and changes, with the failure table applied.

mod attempt;
mod changes;
mod commands;
mod deliver;
mod late;
mod old_copy;
mod pace;
mod place;
mod redeliver;
mod sink;
mod sweep;
mod watch;
mod webhooks;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bus::{Bus, Outgoing, PublishError};
use model::{Lane, System};
use runtime::Process;
use serde_json::Value;

use crate::calls::asking;
use crate::{Connector, Settings};

pub use sink::{Sink, observation_id};

/// Starts a connector. Returns when it is up; its tasks go on until the process's shutdown.
pub async fn run<C: Connector>(connector: C, settings: Settings, process: Process, bus: Bus) -> anyhow::Result<Arc<C>> {
    let connector = Arc::new(connector);
    let system = System::new(C::SYSTEM).context("the connector's name")?;
    let parts = Loop { connector: Arc::clone(&connector), settings: Arc::new(settings), process, bus, system };
    let process = parts.process.clone();
    // A system that has never answered must be seen, too; where nothing is swept nobody calls it before there is something to write.
    if connector.sweeps_something().is_ok() {
        process.works_with(C::SYSTEM);
    }
    let stop = || process.shutdown().clone();
    if C::HAS_WEBHOOKS {
        let feed = parts.bus.webhooks(&parts.system).await?;
        process.spawn("webhooks", asking(Lane::High, stop(), webhooks::run(parts.clone(), feed)));
    }
    if C::HAS_COMMANDS {
        let share = parts.bus.share(&format!("commands/{}", C::SYSTEM), &process).await?;
        for partition in 0..parts.bus.partitions() {
            process.spawn("commands", commands::run(parts.clone(), share.clone(), partition));
        }
    }
    if C::HAS_CHANGES {
        // Made at the start, because it begins with what is published from then on.
        drop(parts.bus.changes(C::SYSTEM).await?);
        process.spawn("changes", changes::run(parts.clone()));
    }
    if C::HAS_SWEEP {
        if let Err(why) = connector.sweeps_something() {
            tracing::warn!(system = C::SYSTEM, "{why}");
        }
        process.spawn("sweep", asking(Lane::Low, stop(), sweep::run(parts.clone())));
    }
    if C::HAS_REDELIVERY {
        process.spawn("redeliver", asking(Lane::Normal, stop(), redeliver::run(parts.clone())));
    }
    process.spawn("watch", asking(Lane::High, stop(), watch::run(parts.clone())));
    parts.bus.keep_announcing(&process);
    Ok(connector)
}

/// What the loop's tasks share.
struct Loop<C> {
    connector: Arc<C>,
    settings: Arc<Settings>,
    process: Process,
    bus: Bus,
    system: System,
}

impl<C> Clone for Loop<C> {
    fn clone(&self) -> Self {
        Self {
            connector: Arc::clone(&self.connector),
            settings: Arc::clone(&self.settings),
            process: self.process.clone(),
            bus: self.bus.clone(),
            system: self.system.clone(),
        }
    }
}

/// How long work in hand may go on after the shutdown began.
const FINISH: Duration = Duration::from_secs(5);
/// The wait between attempts to reach the bus.
const BUS_PAUSE: Duration = Duration::from_secs(1);

impl<C: Connector> Loop<C> {
    /// Publishes until it is stored; `false` when the process ends first, or when the bus will never take it.
    async fn publish(&self, messages: Vec<Outgoing>) -> bool {
        match self.try_publish(messages).await {
            Ok(stored) => stored,
            Err(error) => {
                tracing::error!(%error, "a message cannot be published");
                false
            }
        }
    }

    /// Publishes until it is stored; `false` when the process ends first, and an error when no attempt will do better.
    async fn try_publish(&self, messages: Vec<Outgoing>) -> Result<bool, PublishError> {
        loop {
            match self.bus.publish_all(messages.clone()).await {
                Ok(_) => return Ok(true),
                Err(error @ (PublishError::TooLarge { .. } | PublishError::Overtaken { .. })) => return Err(error),
                Err(error) => tracing::warn!(%error, "the bus does not take messages; trying again"),
            }
            if !self.pause(BUS_PAUSE).await {
                return Ok(false);
            }
        }
    }

    /// Publishes what follows from a message; a dead letter of it where the bus will never take that. `false` when the process
    /// ends first.
    async fn follow_up(&self, message: &bus::Received, messages: Vec<Outgoing>) -> bool {
        match self.try_publish(messages).await {
            Ok(stored) => stored,
            Err(error) => self.bury(bus::DeadLetter::of(message, "too_large", error.to_string())).await,
        }
    }

    /// Stores a dead letter, trying until it is stored; `false` when the process ends first.
    async fn bury(&self, letter: bus::DeadLetter) -> bool {
        while let Err(error) = self.bus.dead_letter(&self.process, letter.clone()).await {
            tracing::warn!(error = format!("{error:#}"), "trying again");
            if !self.pause(BUS_PAUSE).await {
                return false;
            }
        }
        true
    }

    /// Stores a dead letter of a message, and then has done with that. Where the process ends first it comes again.
    async fn give_up(&self, message: &bus::Received, letter: bus::DeadLetter) {
        if self.bury(letter).await {
            self.done(message).await;
        }
    }

    /// Does what one process at a time may do, whenever this is the one, until the process ends.
    async fn alone<F: Future<Output = ()>>(&self, name: &str, work: impl Fn(Self) -> F) -> anyhow::Result<()> {
        let shutdown = self.process.shutdown();
        while !shutdown.is_cancelled() {
            let Some(lease) = self.bus.lease(name, &self.process).await else { break };
            // In order, so that a simulated world takes the same turns again.
            tokio::select! {
                biased;
                () = lease.lost().cancelled() => {}
                () = shutdown.cancelled() => {}
                () = work(self.clone()) => {}
            }
        }
        Ok(())
    }

    /// Where a reading that goes on from time to time has come to.
    async fn cursor(&self, name: &str) -> anyhow::Result<Option<Value>> {
        let stored = self.bus.cursor(name).await?;
        stored.map(|stored| serde_json::from_slice(&stored)).transpose().context("the stored cursor is not JSON")
    }

    /// Stores where it goes on.
    async fn store_cursor(&self, name: &str, cursor: &Value) -> anyhow::Result<()> {
        self.bus.store_cursor(name, serde_json::to_vec(cursor)?.into()).await
    }

    /// Waits; `false` when the process ends meanwhile.
    async fn pause(&self, wait: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.process.shutdown().cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    /// Says that a message is done with. When that is lost the message comes again, which does no harm.
    async fn done(&self, message: &bus::Received) {
        if let Err(error) = message.ack().await {
            tracing::debug!(%error, "an acknowledgement could not be sent");
        }
    }
}

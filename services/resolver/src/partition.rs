//! One partition of the observations: takes what is there, resolves it in one transaction, publishes, acknowledges.

use std::sync::Arc;
use std::time::Instant;

use bus::{Bus, DeadLetter, Outgoing, Received};
use model::{Backoff, Intent, Policy};
use runtime::Process;
use store::Store;
use tokio_util::sync::CancellationToken;

use crate::in_flight::{Held, InFlight};
use crate::input::{Input, Poison};
use crate::ledger::Ledger;
use crate::publication;
use crate::ties::Ties;

/// Everything one partition's task needs.
pub(crate) struct Worker {
    pub(crate) partition: u32,
    pub(crate) batch: usize,
    pub(crate) process: Process,
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    pub(crate) policy: Arc<Policy>,
    pub(crate) in_flight: InFlight,
}

/// A batch that is committed and not published yet.
struct Committed {
    outgoing: Vec<Outgoing>,
    dead: Vec<(usize, Poison)>,
    held: Held,
}

/// PostgreSQL and JetStream come back by themselves; nothing is lost by waiting for them.
const RETRY: Backoff = Backoff { first_ms: 50, max_ms: 5_000, attempts: u32::MAX };

impl Worker {
    /// Runs until shutdown. Whoever holds the partition's lease reads it; the order of a record's observations is the
    /// stream's, and the item rows' locks keep it safe whoever reads.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let shutdown = self.process.shutdown();
        let name = format!("observations-{}", self.partition);
        loop {
            let Some(lease) = shutdown.run_until_cancelled(self.bus.lease(&name, &self.process)).await else { break };
            let lease = lease?;
            if let Err(error) = self.hold(lease.lost()).await {
                let error = format!("{error:#}");
                tracing::warn!(partition = self.partition, error, "the partition is read anew");
            }
        }
        Ok(())
    }

    /// Reads the partition for as long as the lease is held and the process goes on. A batch in hand is finished.
    async fn hold(&self, lost: &CancellationToken) -> anyhow::Result<()> {
        let mut feed = self.bus.observations(self.partition).await?;
        loop {
            let batch = tokio::select! {
                batch = feed.next_batch(self.batch) => batch?,
                () = lost.cancelled() => anyhow::bail!("the lease was lost"),
                () = self.process.shutdown().cancelled() => return Ok(()),
            };
            let started = Instant::now();
            self.carry_out(batch).await;
            let stage = self.process.metrics().stage_duration_seconds.with_label_values(&["resolve"]);
            stage.observe(started.elapsed().as_secs_f64());
        }
    }

    /// Resolves, publishes and acknowledges a batch, however often that takes.
    async fn carry_out(&self, batch: Vec<Received>) {
        let inputs: Vec<Result<Input, Poison>> = batch.iter().map(Input::of).collect();
        let committed = self.commit_patiently(&inputs).await;
        for attempt in 1.. {
            match self.publish(&batch, &committed).await {
                Ok(()) => break,
                Err(error) => self.wait(attempt, "a batch was not published yet", &error).await,
            }
        }
        drop(committed.held);
        if let Err(error) = bus::ack_all(batch).await {
            // They come again, and are seen to have been taken.
            tracing::warn!(partition = self.partition, error = format!("{error:#}"), "a batch was not acknowledged");
        }
    }

    async fn commit_patiently(&self, inputs: &[Result<Input, Poison>]) -> Committed {
        let mut attempt = 1;
        loop {
            match self.commit(inputs).await {
                Ok(committed) => return committed,
                Err(error) => self.wait(attempt, "a batch was not committed yet", &error.into()).await,
            }
            attempt = attempt.saturating_add(1);
        }
    }

    async fn wait(&self, attempt: u32, what: &'static str, error: &anyhow::Error) {
        tracing::warn!(partition = self.partition, attempt, error = format!("{error:#}"), "{what}");
        tokio::time::sleep(RETRY.wait(attempt, None, runtime::jitter())).await;
    }

    /// One transaction: load and lock, decide, write.
    async fn commit(&self, inputs: &[Result<Input, Poison>]) -> sqlx::Result<Committed> {
        let mut batch = self.store.batch().await?;
        let understood = || inputs.iter().flatten();
        let ties = Ties::find(&mut batch, understood()).await?;
        let mut wanted = ties.records();
        understood().for_each(|input| input.records(&mut wanted));
        let groups = batch.load(&wanted).await?;

        let mut ledger = Ledger::new(&self.policy, groups, ties.owners, ties.waiting);
        for input in understood() {
            if let Input::Observation(observation, _) = input
                && let Intent::Rollback(version) = observation.intent
                && let Some(item) = ledger.item_of(&observation.record)
                && let Some(status) = batch.status_at(item, version).await?
            {
                ledger.remember(item, version, status);
            }
        }
        let dead = self.resolve(&mut ledger, inputs);
        let closed = ledger.close();
        batch.save(&closed.save).await?;
        let mut rows = closed.save.rows;
        if !closed.redelivered.is_empty() {
            let (items, causes): (Vec<_>, Vec<_>) = closed.redelivered.into_iter().unzip();
            rows.splice(0..0, batch.rows_caused_by(&items, &causes).await?);
        }
        let mut outgoing = publication::changes(&rows, &closed.groups);
        outgoing.extend(publication::conflicts(&closed.save.conflicts, &closed.groups));
        outgoing.extend(closed.commands.iter().map(|command| Outgoing::command(command, self.bus.partitions())));
        for conflict in &closed.save.conflicts {
            self.process.metrics().conflicts_total.with_label_values(&[conflict.strategy.code()]).inc();
        }
        let held = self.in_flight.hold(closed.groups.into_keys().collect()).await;
        batch.commit().await?;
        Ok(Committed { outgoing, dead, held })
    }

    /// Takes each message in order; says which cannot be taken, and why.
    fn resolve(&self, ledger: &mut Ledger<'_>, inputs: &[Result<Input, Poison>]) -> Vec<(usize, Poison)> {
        let mut dead = vec![];
        for (place, input) in inputs.iter().enumerate() {
            match input.as_ref().map_err(Clone::clone).and_then(|input| ledger.take(input)) {
                Ok(verdict) => {
                    self.process.metrics().observations_total.with_label_values(&[verdict.code()]).inc();
                    if let Ok(input) = input {
                        tracing::debug!(record = %input.record(), verdict = verdict.code(), "resolved");
                    }
                }
                Err(poison) => dead.push((place, poison)),
            }
        }
        dead
    }

    async fn publish(&self, batch: &[Received], committed: &Committed) -> anyhow::Result<()> {
        for (place, poison) in &committed.dead {
            let letter = DeadLetter::of(&batch[*place], poison.reason, &poison.detail);
            self.bus.dead_letter(&self.process, letter).await?;
        }
        self.bus.publish_all(committed.outgoing.clone()).await?;
        Ok(())
    }
}

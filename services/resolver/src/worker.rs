//! Resolves what was read of all partitions: one transaction for what is there, then its publication, then its acknowledgement.
//!
//! One batch is published while the next is committed. Both happen in the order of the batches, so that watchers hear of an item's
//! versions in their order, whichever partitions its records are in.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{Bus, DeadLetter, Outgoing, PublishError, Received, Stream};
use model::{Backoff, Command, Conflict, ConflictId, Intent, ItemId, Lane, Policy, Strategy};
use runtime::Process;
use store::{Known, Maker, Store, fault};
use tokio::sync::mpsc;

use crate::input::{Input, Poison};
use crate::ledger::{Closed, Ledger};
use crate::life::{Life, Unpublished};
use crate::order;
use crate::partition::{Read, Source};
use crate::publication::{self, Publication};
use crate::ties::Ties;
use crate::trace::Traces;

/// Everything the resolver's task needs.
pub(crate) struct Worker {
    /// The most messages taken into one transaction; a partition's batch more, where several are read.
    pub(crate) batch: usize,
    pub(crate) process: Process,
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    pub(crate) policy: Arc<Policy>,
    pub(crate) life: Life,
    pub(crate) known: Known,
}

/// Messages of one or more partitions, those of each in their order.
#[derive(Default)]
struct Batch {
    messages: Vec<Received>,
    from: Arc<Vec<Source>>,
}

/// A batch that is committed and not published yet.
struct Committed {
    batch: Batch,
    publication: Publication,
    dead: Vec<(usize, Poison)>,
    unpublished: Unpublished,
    at: tokio::time::Instant,
}

/// How often a batch is tried before the fault is looked for in its messages: two readers of one partition, for the moment
/// in which a lease changes hands, may also make PostgreSQL refuse.
const STORE_ATTEMPTS: u32 = 4;

/// A batch that was committed longer ago may have been published by a successor under ids that the stream has forgotten.
const FRESH: Duration = Duration::from_secs(Stream::Changes.spec().duplicate_window_s / 2);

/// How many committed batches wait while one is published. More would only be more to publish again after a crash.
const COMMITTED_MAX: usize = 1;

/// How often it is noted up to where all is published.
const NOTE: Duration = Duration::from_secs(1);

/// PostgreSQL and JetStream come back by themselves; nothing is lost by waiting for them.
pub(crate) const RETRY: Backoff = Backoff { first_ms: 50, max_ms: 5_000, attempts: u32::MAX };

impl Batch {
    /// Not all of it will be carried out: each partition that it is of must be read anew.
    fn give_up(&self) {
        self.from.iter().for_each(Source::give_up);
    }

    /// Whether it may be carried out. Where something that was read before it will not be, none of it may: what is below a record's
    /// last sequence counts as taken. Then its other partitions must be read anew as well, since they would go on behind it.
    fn may_go_on(&self) -> bool {
        let given_up = self.from.iter().any(Source::is_given_up);
        if given_up {
            self.give_up();
        }
        !given_up
    }

    fn is_lost(&self) -> bool {
        self.from.iter().any(Source::is_lost)
    }
}

impl Worker {
    /// Runs until nothing is read any more.
    pub(crate) async fn run(self, read: mpsc::Receiver<Read>) -> anyhow::Result<()> {
        let (committed, to_publish) = mpsc::channel(COMMITTED_MAX);
        tokio::join!(self.commit_all(read, committed), self.publish_all(to_publish));
        Ok(())
    }

    async fn commit_all(&self, mut read: mpsc::Receiver<Read>, committed: mpsc::Sender<Committed>) {
        while let Some(Read { mut messages, source, turn }) = read.recv().await {
            let (mut from, mut turns) = (vec![source], vec![turn]);
            // The other partitions' readers were let go on together with this one's, and are about to bring theirs.
            tokio::task::yield_now().await;
            while messages.len() < self.batch
                && let Ok(more) = read.try_recv()
            {
                messages.extend(more.messages);
                from.push(more.source);
                turns.push(more.turn);
            }
            self.carry_out(Batch { messages, from: Arc::new(from) }, &committed).await;
            drop(turns);
        }
    }

    /// Publishes and acknowledges what is committed, until there will be no more, and notes from time to time how far that is.
    /// Shutdown leaves the rest for a successor.
    async fn publish_all(&self, mut committed: mpsc::Receiver<Committed>) {
        let (mut published, mut due) = (None, tokio::time::Instant::now() + NOTE);
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(due), if published.is_some() => {
                    self.note(&mut published).await;
                    due = tokio::time::Instant::now() + NOTE;
                }
                next = committed.recv() => match next {
                    Some(next) => published = self.finish(next).await.or(published),
                    None => break,
                },
            }
        }
        self.note(&mut published).await;
    }

    /// Notes up to where all is published. What is not noted costs whoever follows a question to the bus.
    async fn note(&self, published: &mut Option<Maker>) {
        let Some(last) = published.take() else { return };
        match tokio::time::timeout(NOTE, self.store.note_published(&last)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, "what is published was not noted");
                *published = Some(last);
            }
            Err(_) => *published = Some(last),
        }
    }

    /// Resolves a batch, however often that takes. Shutdown and a lost lease leave it for a successor.
    async fn carry_out(&self, batch: Batch, committed: &mpsc::Sender<Committed>) {
        if !batch.may_go_on() {
            return;
        }
        let inputs: Vec<Result<Input, Poison>> = batch.messages.iter().map(Input::of).collect();
        let started = Instant::now();
        let mut attempt = 1;
        loop {
            match self.commit(&batch.messages, &inputs).await {
                Ok((publication, dead, unpublished)) => {
                    self.took("resolve", started);
                    let at = tokio::time::Instant::now();
                    // When nobody publishes any more, the process ends: the batch comes again.
                    let _ = committed.send(Committed { batch, publication, dead, unpublished, at }).await;
                    return;
                }
                // What was known is forgotten: the next attempt reads.
                Err(error) if fault::is_overtaken(&error) => {
                    tracing::debug!("another process wrote what this one knew");
                }
                Err(error) if attempt >= STORE_ATTEMPTS && should_narrow(&batch, &error) => {
                    return Box::pin(self.narrow_down(batch, &error, committed)).await;
                }
                Err(error) => {
                    if batch.is_lost() || !self.wait(attempt, "a batch was not committed yet", &error.into()).await {
                        return batch.give_up();
                    }
                    attempt += 1;
                }
            }
        }
    }

    /// Publishes what a batch led to, then acknowledges it. Once a lease is lost a failed attempt is the last: a successor has those
    /// messages again and publishes the same, and what came of ours later would come after what followed. Returns up to where all of
    /// this life is published, if it is.
    async fn finish(&self, committed: Committed) -> Option<Maker> {
        let started = Instant::now();
        let mut attempt = 1;
        while let Err(error) = self.publish(&committed).await {
            if committed.batch.is_lost() || !self.wait(attempt, "a batch was not published yet", &error).await {
                committed.batch.give_up();
                return None;
            }
            attempt += 1;
        }
        self.took("publish", started);
        let published = committed.unpublished.published();
        if let Err(error) = bus::ack_all(committed.batch.messages).await {
            // They come again, and are seen to have been taken.
            tracing::warn!(error = format!("{error:#}"), "a batch was not acknowledged");
        }
        published
    }

    /// PostgreSQL refuses something in this batch, or takes too long: finds the message, so that it holds up no other.
    async fn narrow_down(&self, mut batch: Batch, error: &sqlx::Error, committed: &mpsc::Sender<Committed>) {
        if batch.messages.len() == 1 {
            let detail = format!("PostgreSQL refuses it: {error}");
            let dead = vec![(0, Poison { reason: "unstorable", detail })];
            let (publication, at) = (Publication::default(), tokio::time::Instant::now());
            let unpublished = self.life.unpublished(self.life.next_batch());
            let _ = committed.send(Committed { batch, publication, dead, unpublished, at }).await;
            return;
        }
        let half = batch.messages.split_off(batch.messages.len() / 2);
        let other = Batch { messages: half, from: Arc::clone(&batch.from) };
        self.carry_out(batch, committed).await;
        self.carry_out(other, committed).await;
    }

    /// Waits before another attempt; `false` when the process ends first.
    async fn wait(&self, attempt: u32, what: &'static str, error: &anyhow::Error) -> bool {
        tracing::warn!(attempt, error = format!("{error:#}"), "{what}");
        let pause = tokio::time::sleep(RETRY.wait(attempt, None, runtime::jitter()));
        self.process.shutdown().run_until_cancelled(pause).await.is_some()
    }

    fn took(&self, stage: &str, started: Instant) {
        let stage = self.process.metrics().stage_duration_seconds.with_label_values(&[stage]);
        stage.observe(started.elapsed().as_secs_f64());
    }

    /// One transaction: load and lock, decide, write.
    async fn commit(
        &self,
        received: &[Received],
        inputs: &[Result<Input, Poison>],
    ) -> sqlx::Result<(Publication, Vec<(usize, Poison)>, Unpublished)> {
        let traces = Traces::of(received);
        let mut batch = self.store.batch(&self.known).await?;
        let understood = || inputs.iter().flatten();
        let ties = Ties::find(&mut batch, understood()).await?;
        let mut wanted = ties.records();
        understood().for_each(|input| input.records(&mut wanted));
        wanted.extend(batch.records_of(&understood().filter_map(Input::item).collect()).await?);
        let groups = batch.load(&wanted).await?;
        let open: BTreeSet<ConflictId> =
            groups.iter().filter_map(|group| group.conflict.as_ref()).map(|held| held.id).collect();

        let mut ledger = Ledger::new(&self.policy, groups, ties.owners, ties.waiting);
        ledger.watch(batch.watched(&ledger.unseen(understood())).await?);
        for input in understood() {
            if let Input::Observation(observation, _) = input
                && let Intent::Rollback(version) = observation.intent
                && let Some(item) = ledger.item_meant(observation)
                && let Some(status) = batch.status_at(item, version).await?
            {
                ledger.remember(item, version, status);
            }
        }
        ledger.have_parted(batch.parted_from().iter().map(|(item, from)| (*item, *from)));
        let dead = self.resolve(&mut ledger, inputs);
        let Closed { save, commands, groups, ended, redelivered, drift } = ledger.close();
        let (again, causes): (Vec<_>, Vec<_>) = redelivered.into_iter().unzip();
        // Of inputs that came again nobody knows whether what they led to was published: the answer to a commit may have been lost.
        let (mut rows, mut conflicts) = (Vec::new(), Vec::new());
        if !again.is_empty() {
            rows = batch.rows_caused_by(&again, &causes).await?;
            let ids: BTreeSet<ConflictId> = rows.iter().filter_map(|row| row.conflict).collect();
            conflicts = batch.conflicts_of(&ids.into_iter().collect::<Vec<_>>()).await?;
        }
        conflicts.extend(save.conflicts.iter().cloned());
        // Of an item that ended before, the one that took it over tells.
        let told_by = |id: ConflictId| rows.iter().find(|row| row.conflict == Some(id)).map(|row| row.item);
        let group_of = |conflict: &Conflict| {
            let own = groups.get(&conflict.item).or_else(|| ended.get(&conflict.item));
            own.or_else(|| groups.get(&told_by(conflict.id)?))
        };
        let mut beside = publication::conflicts(&conflicts, group_of);
        let lanes: HashMap<u64, Lane> = received.iter().map(|message| (message.sequence, message.lane)).collect();
        let told = |command: &Command| {
            // A person's edit is as urgent all the way to the other systems; so is a sweep's repair.
            let lane = lanes.get(&command.cause).copied().unwrap_or_default();
            traces.continued(Outgoing::command(command, self.bus.partitions()).in_lane(lane), command.cause)
        };
        beside.extend(commands.iter().map(told));
        // One that waits for a person is written again with each edit that joins it, and when it ends.
        let opened = save.conflicts.iter().filter(|conflict| !open.contains(&conflict.id));
        let opened: Vec<Strategy> = opened.map(|conflict| conflict.strategy).collect();
        let told_of = order::told_of(rows.iter().chain(&save.rows));
        let made_by = told_of.into_iter().map(|item| (item, batch.made_by(item).cloned())).collect();
        // What became of an item before it ended is told too, where anybody knows of it.
        let is_known = |item: &ItemId| save.new_items.iter().all(|new| new.item.id != *item);
        let mut groups = groups;
        groups.extend(ended.into_iter().filter(|(item, _)| is_known(item)));
        let maker = self.life.next_batch();
        // Before the commit: from then on it must be published, or the life ends.
        let unpublished = self.life.unpublished(maker.clone());
        match batch.commit(save, &maker).await {
            Ok(written) => rows.extend(written),
            Err(error) => {
                if fault::is_taken_back(&error) {
                    unpublished.never_was();
                }
                return Err(error);
            }
        }
        for strategy in opened {
            self.process.metrics().conflicts_total.with_label_values(&[strategy.code()]).inc();
        }
        for (system, found) in drift {
            self.process.metrics().drift_found_total.with_label_values(&[system.as_str()]).inc_by(found);
        }
        let again = again.into_iter().collect();
        Ok((Publication { rows, groups, traces, beside, made_by, again }, dead, unpublished))
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

    async fn publish(&self, committed: &Committed) -> anyhow::Result<()> {
        for (place, poison) in &committed.dead {
            let letter = DeadLetter::of(&committed.batch.messages[*place], poison.reason, &poison.detail);
            self.bus.dead_letter(&self.process, letter).await?;
        }
        // The process may be frozen at any point: what was known of others when this began is not known for long.
        let until = tokio::time::Instant::now() + FRESH / 2;
        let messages = self.messages(&committed.publication, committed.at.elapsed() > FRESH).await?;
        match self.bus.publish_in_order(&messages, until).await {
            Err(PublishError::TooLarge { .. }) => self.publish_what_fits(&messages).await,
            other => Ok(other.map(drop)?),
        }
    }

    /// What is told of a batch: also what another process committed before it and has not told yet, so that watchers hear of an
    /// item's versions in order; and nothing that was told.
    async fn messages(&self, publication: &Publication, late: bool) -> anyhow::Result<Vec<Outgoing>> {
        let life = self.life.name();
        let doubtful = publication.doubtful(&life, late, &self.published(publication.others(&life)).await?);
        if doubtful.is_empty() {
            return Ok(publication.messages(&BTreeMap::new(), &[]));
        }
        let told = self.bus.told(&doubtful).await?;
        let told: BTreeMap<_, _> = doubtful.into_iter().map(|(_, item)| item).zip(told).collect();
        let missing = self.store.changes_after(&order::missing(&told)).await?;
        Ok(publication.messages(&told, &missing))
    }

    /// What these lives published, as far as anybody noted it.
    async fn published(&self, lives: BTreeSet<String>) -> sqlx::Result<HashMap<String, u64>> {
        if lives.is_empty() {
            return Ok(HashMap::new());
        }
        self.store.published(&lives.into_iter().collect::<Vec<_>>()).await
    }

    /// One message that the bus will never take must not hold up all that comes after it.
    async fn publish_what_fits(&self, outgoing: &[Outgoing]) -> anyhow::Result<()> {
        for message in outgoing {
            match self.bus.publish(message.clone()).await {
                Err(error @ PublishError::TooLarge { .. }) => {
                    let letter = DeadLetter::unsent(message, "too_large", error.to_string(), self.process.now_ms());
                    self.bus.dead_letter(&self.process, letter).await?;
                }
                other => drop(other?),
            }
        }
        Ok(())
    }
}

/// Whether the fault is looked for in the batch's messages: what PostgreSQL refuses, or what takes it too long all at once.
fn should_narrow(batch: &Batch, error: &sqlx::Error) -> bool {
    fault::is_about_the_data(error) || (batch.messages.len() > 1 && fault::is_too_much(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_together_with_what_is_given_up_is_given_up_too() {
        let batch = Batch { messages: vec![], from: Arc::new(vec![Source::default(), Source::default()]) };
        assert!(batch.may_go_on());
        batch.from[0].give_up();
        assert!(!batch.may_go_on());
        assert!(batch.from[1].is_given_up(), "or its reader would go on behind what was dropped");
    }
}

//! Changes of items, for connectors that want to hear of them: those of one record one after another, those of different records
//! at once. One process at a time.

mod patience;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bus::{DeadLetter, Feed, Lease, Received};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use model::RecordRef;
use proto::v1;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};

use super::attempt::{End, attempts};
use super::{BUS_PAUSE, FINISH, Loop};
use crate::Connector;
use patience::Patience;

/// Changes in hand say this often that they are not forgotten.
const PROGRESS: Duration = Duration::from_secs(3);

/// Hears of changes whenever this process is the one. A bus that is away comes back: until then it is tried again.
pub(super) async fn run<C: Connector>(parts: Loop<C>) -> anyhow::Result<()> {
    let name = format!("changes/{}", C::SYSTEM);
    while let Some(lease) = parts.bus.lease(&name, &parts.process).await {
        if let Err(error) = hold(&parts, &lease).await {
            tracing::warn!(error = format!("{error:#}"), "the changes are read anew");
            drop(lease);
            parts.pause(BUS_PAUSE).await;
        }
    }
    Ok(())
}

/// Hears of changes for as long as the lease is held.
async fn hold<C: Connector>(parts: &Loop<C>, lease: &Lease) -> anyhow::Result<()> {
    let stop = lease.lost().child_token();
    let feed = parts.bus.changes(C::SYSTEM).await?;
    let telling = Telling { parts: parts.clone(), stop, held: BTreeMap::new(), records: BTreeMap::new() };
    telling.run(feed).await
}

struct Telling<C> {
    parts: Loop<C>,
    /// Cancelled when somebody else may hear of changes, or the process ends.
    stop: CancellationToken,
    /// The changes in hand, by their place in the stream.
    held: BTreeMap<u64, Held>,
    records: BTreeMap<RecordRef, Queue>,
}

/// A change in hand.
struct Held {
    heard: Arc<Heard>,
    /// How many records are still to be told. Then it is acknowledged.
    left: usize,
}

struct Heard {
    message: Received,
    change: v1::Change,
}

/// What one record is told, in order.
#[derive(Default)]
struct Queue {
    running: Option<Running>,
    waiting: VecDeque<u64>,
}

struct Running {
    sequence: u64,
    /// Cancelled when a newer change of its item makes it pointless.
    overtaken: CancellationToken,
}

/// A record that was told, and whether that is over: else the change comes again.
type Told = (RecordRef, bool);
type Work = FuturesUnordered<BoxFuture<'static, Told>>;

impl<C: Connector> Telling<C> {
    async fn run(mut self, mut feed: Feed) -> anyhow::Result<()> {
        let mut work: Work = FuturesUnordered::new();
        let mut tick = tokio::time::interval(PROGRESS);
        let shutdown = self.parts.process.shutdown().clone();
        loop {
            let room = self.held.len() < self.parts.settings.held_max;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = self.stop.cancelled() => break,
                Some(told) = work.next() => self.finished(told, &mut work).await,
                _ = tick.tick() => self.keep_waiting().await,
                message = feed.next(), if room => self.take(message?, &mut work).await,
            }
        }
        self.stop.cancel();
        // What was begun is finished; what waits is left for a successor.
        let finish = async {
            while let Some(told) = work.next().await {
                self.finished(told, &mut Work::new()).await;
            }
        };
        let _ = tokio::time::timeout(FINISH, finish).await;
        Ok(())
    }

    async fn take(&mut self, message: Received, work: &mut Work) {
        if !message.is_for(self.parts.process.service()) {
            return self.parts.done(&message).await;
        }
        if self.held.contains_key(&message.sequence) {
            // A copy of what is in hand, which answers for it.
            return;
        }
        let change: v1::Change = match message.decode() {
            Ok(change) => change,
            Err(error) => {
                let letter = DeadLetter::of(&message, "undecodable", error.to_string());
                return self.parts.give_up(&message, letter).await;
            }
        };
        let of_ours =
            |record: &String| record.parse::<RecordRef>().ok().filter(|record| record.system == self.parts.system);
        let records: Vec<RecordRef> = change.records.iter().filter_map(of_ours).collect();
        let mut told = Vec::new();
        for record in records {
            self.overtake(&record, &change, message.sequence).await;
            if self.parts.connector.is_told(&change, &record) && !told.contains(&record) {
                told.push(record);
            }
        }
        if told.is_empty() {
            return self.parts.done(&message).await;
        }
        let sequence = message.sequence;
        self.held.insert(sequence, Held { heard: Arc::new(Heard { message, change }), left: told.len() });
        for record in told {
            self.records.entry(record.clone()).or_default().waiting.push_back(sequence);
            self.begin(&record, work);
        }
    }

    /// Leaves alone what older changes of the item would tell the record: its status has moved on. What the record did itself does not
    /// count, for an agent that is waited for moves its item when it stands still.
    async fn overtake(&mut self, record: &RecordRef, change: &v1::Change, sequence: u64) {
        if change.from == change.to || change.record == record.to_string() {
            return;
        }
        let held = &self.held;
        let is_older =
            |one: &u64| *one < sequence && held.get(one).is_some_and(|one| one.heard.change.item == change.item);
        let Some(queue) = self.records.get_mut(record) else { return };
        if let Some(running) = queue.running.as_ref().filter(|running| is_older(&running.sequence)) {
            running.overtaken.cancel();
        }
        let (overtaken, waiting): (VecDeque<u64>, _) = queue.waiting.iter().partition(|one| is_older(one));
        queue.waiting = waiting;
        for one in overtaken {
            self.release(one).await;
        }
    }

    /// Tells the record what comes next, unless something is under way. Each is waited for as long as it takes, so their number is that
    /// of the records that changes in hand name.
    fn begin(&mut self, record: &RecordRef, work: &mut Work) {
        let Some(queue) = self.records.get_mut(record).filter(|queue| queue.running.is_none()) else { return };
        let next = queue.waiting.pop_front();
        let Some((sequence, held)) = next.and_then(|sequence| Some((sequence, self.held.get(&sequence)?))) else {
            self.records.remove(record);
            return;
        };
        let overtaken = self.stop.child_token();
        queue.running = Some(Running { sequence, overtaken: overtaken.clone() });
        let (parts, heard, record) = (self.parts.clone(), Arc::clone(&held.heard), record.clone());
        let stop = self.stop.clone();
        let span = info_span!("change", %record, message.id = heard.message.id());
        heard.message.continue_trace(&span);
        work.push(Box::pin(
            async move {
                let is_over = tell(&parts, &heard, &record, &overtaken, &stop).await;
                (record, is_over)
            }
            .instrument(span),
        ));
    }

    async fn finished(&mut self, (record, is_over): Told, work: &mut Work) {
        let running = self.records.get_mut(&record).and_then(|queue| queue.running.take());
        if let Some(running) = running.filter(|_| is_over) {
            self.release(running.sequence).await;
        }
        if !self.stop.is_cancelled() {
            self.begin(&record, work);
        }
    }

    /// One record less is to be told.
    async fn release(&mut self, sequence: u64) {
        let Some(held) = self.held.get_mut(&sequence) else { return };
        held.left -= 1;
        if held.left == 0
            && let Some(held) = self.held.remove(&sequence)
        {
            self.parts.done(&held.heard.message).await;
        }
    }

    async fn keep_waiting(&self) {
        for held in self.held.values() {
            // If this is lost the message comes again, and is known to be in hand.
            let _ = held.heard.message.ack_progress().await;
        }
    }
}

/// Tells one record of a change. `false` where it must come again.
async fn tell<C: Connector>(
    parts: &Loop<C>,
    heard: &Heard,
    record: &RecordRef,
    overtaken: &CancellationToken,
    stop: &CancellationToken,
) -> bool {
    let Heard { message, change } = heard;
    let patience = Patience::default();
    let act = || async {
        let told = parts.connector.on_change(change, record).await;
        patience.judge(told, record, Instant::now())
    };
    match attempts(&parts.settings.backoff, message, overtaken, act).await {
        (Ok(()), _) => true,
        (Err(End::GivenUp { reason, failure, .. }), tries) => {
            parts.bury(DeadLetter::of(message, reason, failure.advice()).after(tries.into())).await
        }
        (Err(End::Dropped), _) if stop.is_cancelled() => false,
        (Err(End::Dropped), _) => {
            tracing::info!("not told: the item has moved on");
            true
        }
    }
}

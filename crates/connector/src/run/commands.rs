//! The commands of one partition: those of one record one after another, those of different records at once, and of a record's
//! commands only the newest. The urgent go before the others, as far as the partition holds them.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::{DeadLetter, Feed, Received, Share, Stream};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use model::{Command, Lane, OLDER_COMMAND, RecordRef};
use proto::v1;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};

use super::deliver::{Job, NEWER_COMMAND, report_overtaken};
use super::writes::{Sent, Writes};
use super::{BUS_PAUSE, FINISH, Loop};
use crate::Connector;
use crate::lanes::Lanes;

/// Waiting commands say this often that they are not forgotten.
const PROGRESS: Duration = Duration::from_secs(3);

/// Carries the partition's commands out whenever it is held. A bus that is away comes back: until then it is tried again.
pub(super) async fn run<C: Connector>(parts: Loop<C>, share: Share, partition: u32) -> anyhow::Result<()> {
    while !parts.process.shutdown().is_cancelled() {
        if let Err(error) = hold(&parts, &share, partition).await {
            tracing::warn!(partition, error = format!("{error:#}"), "the commands are read anew");
            parts.pause(BUS_PAUSE).await;
        }
    }
    Ok(())
}

/// Waits for the partition, and carries its commands out for as long as it is held.
async fn hold<C: Connector>(parts: &Loop<C>, share: &Share, partition: u32) -> anyhow::Result<()> {
    let Some(lease) = share.lease(partition).await else { return Ok(()) };
    let stop = lease.lost().child_token();
    // After the lease: who held it before carries out nothing that was sent since.
    let (_, last) = parts.bus.stream_info(Stream::Observations).await?;
    let writes = Writes::after(last);
    let feed = parts.bus.commands(&parts.system, partition).await?;
    let held = Partition {
        parts: parts.clone(),
        stop,
        writes,
        records: BTreeMap::new(),
        queue: Lanes::default(),
        at_work: Vec::new(),
    };
    held.run(feed).await
}

struct Partition<C> {
    parts: Loop<C>,
    /// Cancelled when somebody else may hold the partition, or the process ends.
    stop: CancellationToken,
    writes: Writes,
    records: BTreeMap<RecordRef, Slot>,
    /// Records whose command waits for a free place. One may stand in several lanes; it goes with the first.
    queue: Lanes<(Lane, RecordRef)>,
    /// The lanes of the commands that are being carried out.
    at_work: Vec<Lane>,
}

/// What there is to do for one record.
struct Slot {
    running: Option<Running>,
    waiting: Option<(Received, Command)>,
    /// The lane of what waits: the most urgent of the commands that came to this one.
    lane: Lane,
}

/// A command that is being carried out.
struct Running {
    sequence: u64,
    sent: Sent,
    lane: Lane,
    /// Cancelled when a newer one comes.
    superseded: CancellationToken,
}

impl Slot {
    /// Whether a newer command of the same item is in hand.
    fn is_ahead_of(&self, command: &Command) -> bool {
        let running = self.running.as_ref().map(|running| running.sent);
        let waiting = self.waiting.as_ref().map(|(_, waiting)| Sent::of(waiting));
        running.into_iter().chain(waiting).any(|sent| sent.is_after(command))
    }
}

type Work = FuturesUnordered<BoxFuture<'static, RecordRef>>;

impl<C: Connector> Partition<C> {
    async fn run(mut self, mut feed: Feed) -> anyhow::Result<()> {
        let mut work: Work = FuturesUnordered::new();
        let mut tick = tokio::time::interval(PROGRESS);
        let shutdown = self.parts.process.shutdown().clone();
        loop {
            let room = self.records.len() < self.parts.settings.held_max;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = self.stop.cancelled() => break,
                Some(record) = work.next() => self.finished(&record),
                _ = tick.tick() => self.keep_waiting().await,
                message = feed.next(), if room => self.take(message?).await,
            }
            self.begin(&mut work);
        }
        self.stop.cancel();
        // What was begun is finished; what waits is left for a successor.
        let finish = async { while work.next().await.is_some() {} };
        let _ = tokio::time::timeout(FINISH, finish).await;
        Ok(())
    }

    async fn take(&mut self, message: Received) {
        let command = match decode(&message) {
            Ok(command) => command,
            Err(letter) => return self.parts.give_up(&message, *letter).await,
        };
        let (record, lane) = (command.record.clone(), message.urgency());
        let slot = self.records.entry(record.clone()).or_insert(Slot { running: None, waiting: None, lane });
        let newest = slot.waiting.as_ref().map(|(waiting, _)| waiting.sequence);
        let newest = newest.max(slot.running.as_ref().map(|running| running.sequence));
        if newest.is_some_and(|newest| newest >= message.sequence) {
            // A copy of what is in hand, or older: the one in hand answers for it.
            return;
        }
        if slot.is_ahead_of(&command) {
            // Of two resolvers the slower published last.
            return report_overtaken(&self.parts, &message, &command, OLDER_COMMAND).await;
        }
        let more_urgent = slot.waiting.is_none() || lane < slot.lane;
        if more_urgent {
            slot.lane = lane;
        }
        let is_running = slot.running.is_some();
        if let Some(running) = &slot.running {
            running.superseded.cancel();
        }
        let overtaken = slot.waiting.replace((message, command));
        if more_urgent && !is_running {
            self.queue.push(lane, (lane, record));
        }
        if let Some((message, command)) = overtaken {
            report_overtaken(&self.parts, &message, &command, NEWER_COMMAND).await;
        }
    }

    fn begin(&mut self, work: &mut Work) {
        let places = self.parts.settings.concurrency;
        while work.len() < places {
            let Some((_, record)) = self.queue.pick(|(lane, _)| has_place(*lane, &self.at_work, places)) else {
                return;
            };
            let Some(slot) = self.records.get_mut(&record).filter(|slot| slot.running.is_none()) else { continue };
            let Some((message, command)) = slot.waiting.take() else { continue };
            let superseded = CancellationToken::new();
            let (sequence, sent, lane) = (message.sequence, Sent::of(&command), slot.lane);
            slot.running = Some(Running { sequence, sent, lane, superseded: superseded.clone() });
            self.at_work.push(lane);
            let span = info_span!(
                "command",
                record = %command.record, item = %command.item, version = command.version.0, message.id = message.id()
            );
            message.continue_trace(&span);
            let (parts, stop, writes) = (self.parts.clone(), self.stop.clone(), self.writes.clone());
            let job = Job { parts, lane, message, command, writes, superseded, stop };
            let work_on_it = async move {
                job.deliver().await;
                record
            };
            work.push(Box::pin(work_on_it.instrument(span)));
        }
    }

    fn finished(&mut self, record: &RecordRef) {
        let Some(slot) = self.records.get_mut(record) else { return };
        if let Some(Running { lane, .. }) = slot.running.take()
            && let Some(at) = self.at_work.iter().position(|one| *one == lane)
        {
            self.at_work.swap_remove(at);
        }
        if slot.waiting.is_some() {
            self.queue.push(slot.lane, (slot.lane, record.clone()));
        } else {
            self.records.remove(record);
        }
    }

    async fn keep_waiting(&self) {
        for (message, _) in self.records.values().filter_map(|slot| slot.waiting.as_ref()) {
            // If this is lost the message comes again, and is known to be in hand.
            let _ = message.ack_progress().await;
        }
    }
}

/// Whether a command of this lane may be begun. Of the places, `low` commands have at most half and together with `normal` ones
/// three quarters: the rest is kept for those that a person waits for, who then need not wait until a limit has an end.
fn has_place(lane: Lane, at_work: &[Lane], places: usize) -> bool {
    let most = match lane {
        Lane::Critical | Lane::High => places,
        Lane::Normal => places * 3 / 4,
        Lane::Low => places / 2,
    };
    at_work.iter().filter(|one| **one >= lane).count() < most.max(1)
}

fn decode(message: &Received) -> Result<Command, Box<DeadLetter>> {
    let poison = |reason, why: &dyn std::fmt::Display| Box::new(DeadLetter::of(message, reason, why.to_string()));
    let command: v1::Command = message.decode().map_err(|error| poison("undecodable", &error))?;
    proto::command_from(command).map_err(|error| poison("malformed", &error))
}

//! The commands of one partition: those of one record one after another, those of different records at once, and of a record's
//! commands only the newest.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bus::{DeadLetter, Feed, Received};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use model::{Command, RecordRef};
use proto::v1;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};

use super::deliver::{deliver, report_overtaken};
use super::{FINISH, Loop};
use crate::Connector;

/// Waiting commands say this often that they are not forgotten.
const PROGRESS: Duration = Duration::from_secs(3);

pub(super) async fn run<C: Connector>(parts: Loop<C>, partition: u32) -> anyhow::Result<()> {
    let shutdown = parts.process.shutdown().clone();
    let name = format!("commands/{}/{partition}", C::SYSTEM);
    while !shutdown.is_cancelled() {
        let lease = match parts.bus.lease(&name, &parts.process).await {
            Ok(lease) => lease,
            Err(_) if shutdown.is_cancelled() => break,
            Err(error) => return Err(error),
        };
        let stop = lease.lost().child_token();
        let feed = parts.bus.commands(&parts.system, partition).await?;
        let held = Partition { parts: parts.clone(), stop, records: HashMap::new(), queue: VecDeque::new() };
        held.run(feed).await?;
    }
    Ok(())
}

struct Partition<C> {
    parts: Loop<C>,
    /// Cancelled when somebody else may hold the partition, or the process ends.
    stop: CancellationToken,
    records: HashMap<RecordRef, Slot>,
    /// Records whose command waits for a free place.
    queue: VecDeque<RecordRef>,
}

/// What there is to do for one record.
struct Slot {
    /// The sequence of the command being carried out, and its end when a newer one comes.
    running: Option<(u64, CancellationToken)>,
    waiting: Option<(Received, Command)>,
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
            Err(why) => {
                if self.parts.bury(DeadLetter::of(&message, "malformed", why)).await {
                    self.parts.done(&message).await;
                }
                return;
            }
        };
        let slot = self.records.entry(command.record.clone()).or_insert(Slot { running: None, waiting: None });
        let newest = slot.waiting.as_ref().map(|(waiting, _)| waiting.sequence);
        let newest = newest.max(slot.running.as_ref().map(|(sequence, _)| *sequence));
        if newest.is_some_and(|newest| newest >= message.sequence) {
            // A copy of what is in hand, or older: the one in hand answers for it.
            return;
        }
        if let Some((_, superseded)) = &slot.running {
            superseded.cancel();
        }
        let record = command.record.clone();
        match slot.waiting.replace((message, command)) {
            Some((message, command)) => report_overtaken(&self.parts, &message, &command).await,
            None if slot.running.is_none() => self.queue.push_back(record),
            None => {}
        }
    }

    fn begin(&mut self, work: &mut Work) {
        while work.len() < self.parts.settings.concurrency {
            let Some(record) = self.queue.pop_front() else { return };
            let Some(slot) = self.records.get_mut(&record) else { continue };
            let Some((message, command)) = slot.waiting.take() else { continue };
            let superseded = CancellationToken::new();
            slot.running = Some((message.sequence, superseded.clone()));
            let (parts, stop) = (self.parts.clone(), self.stop.clone());
            let span = info_span!(
                "command",
                record = %command.record, item = %command.item, version = command.version.0, message.id = message.id()
            );
            message.continue_trace(&span);
            work.push(Box::pin(
                async move {
                    deliver(&parts, &message, &command, &superseded, &stop).await;
                    record
                }
                .instrument(span),
            ));
        }
    }

    fn finished(&mut self, record: &RecordRef) {
        let Some(slot) = self.records.get_mut(record) else { return };
        slot.running = None;
        if slot.waiting.is_some() {
            self.queue.push_back(record.clone());
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

fn decode(message: &Received) -> Result<Command, String> {
    let command: v1::Command =
        proto::decode(message.content_type(), &message.payload).map_err(|error| error.to_string())?;
    proto::command_from(command).map_err(|error| error.to_string())
}

//! Reads a whole system, or what changed in it since a moment: page by page, with a stored place to go on from.
//!
//! The pages come from the connector's own sweep. What they mean is decided where every observation's meaning is.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, bail};
use bus::{Bus, DeadLetter, Lease, Outgoing, topology};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use model::{Backoff, Lane, System, Timestamp};
use runtime::Process;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::calls::asking;
use crate::{Action, Connector, Failure, Page, Unreadable};

/// What reads a system, for those who do not know which one it is. Waits and attempts are the failure table's.
pub trait Sweeper: Send + Sync {
    /// See [`Connector::cursor_since`].
    fn cursor_since(&self, since: Timestamp) -> Option<Value>;
    /// See [`Connector::count`].
    fn count(&self, cursor: Option<Value>) -> BoxFuture<'_, Result<Option<u64>, Failure>>;
    /// See [`Connector::sweep`].
    fn page(&self, cursor: Option<Value>, next: Option<Value>) -> BoxFuture<'_, Result<Page, Failure>>;
}

/// Any of them.
pub type BoxSweeper = Box<dyn Sweeper>;

/// A connector of which nothing is wanted but its sweep.
pub struct Swept<C> {
    /// The connector.
    pub connector: C,
    /// Attempts at one page, and the waits between them.
    pub backoff: Backoff,
}

impl<C: Connector> Sweeper for Swept<C> {
    fn cursor_since(&self, since: Timestamp) -> Option<Value> {
        self.connector.cursor_since(since)
    }

    fn count(&self, cursor: Option<Value>) -> BoxFuture<'_, Result<Option<u64>, Failure>> {
        // Once: it only serves to tell how long it takes.
        self.connector.count(cursor).boxed()
    }

    fn page(&self, cursor: Option<Value>, next: Option<Value>) -> BoxFuture<'_, Result<Page, Failure>> {
        let page = async move { patiently(&self.backoff, || self.connector.sweep(cursor.clone(), next.clone())).await };
        asking(Lane::Low, CancellationToken::new(), page).boxed()
    }
}

/// Asks until there is an answer or the failure table gives up.
pub(crate) async fn patiently<T, F, Fut>(backoff: &Backoff, ask: F) -> Result<T, Failure>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, Failure>>,
{
    let mut attempt = 1;
    loop {
        let failure = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let Action::Wait { wait, counts } = failure.action(backoff, attempt, runtime::jitter()) else {
            return Err(failure);
        };
        tracing::info!(%failure, wait_ms = wait.as_millis(), "asking again later");
        attempt += u32::from(counts);
        tokio::time::sleep(wait).await;
    }
}

/// How much of a message its headers may take.
const HEADERS_BYTES: usize = 16 * 1024;

/// What a reading of pages is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Looks {
    /// What changed since the last one. What was told a moment ago vanishes on the bus as a copy.
    On,
    /// Each record, whatever was told of it: what it was taken for then may not be true any more.
    Again,
}

/// What was seen on a page as messages, and what cannot be one with all else that cannot be read.
pub(crate) fn parcels(bus: &Bus, page: &Page, looks: Looks) -> (Vec<Outgoing>, Vec<Unreadable>) {
    let once = runtime::unique().simple();
    let (mut messages, mut unreadable) = (Vec::with_capacity(page.observations.len()), page.unreadable.clone());
    let bytes_max = bus.message_bytes_max().saturating_sub(HEADERS_BYTES);
    for seen in &page.observations {
        let mut message = Outgoing::observation(Lane::Low, seen);
        if looks == Looks::Again {
            message.id = format!("{}~{once}", message.id);
        }
        if message.payload.len() <= bytes_max {
            messages.push(message);
            continue;
        }
        let why = format!("what is seen of it takes {} bytes, and the bus takes {bytes_max}", message.payload.len());
        unreadable.push(Unreadable { name: seen.record.to_string(), content: Bytes::new(), code: "too_large", why });
    }
    (messages, unreadable)
}

/// The dead letter for what a sweep could not read: it was on no stream, and the next sweep or backfill reads it again.
pub(crate) fn buried(system: &System, unreadable: &Unreadable, now_ms: i64) -> DeadLetter {
    DeadLetter {
        reason: unreadable.code,
        detail: format!(
            "a sweep cannot read {}: {}; mend it in {system}, or the decoder, and run `lockstep sync {system}`",
            unreadable.name, unreadable.why
        ),
        subject: topology::swept(system, &unreadable.name),
        sequence: 0,
        attempts: 1,
        earlier: 0,
        first_at_ms: now_ms,
        headers: Vec::new(),
        payload: unreadable.content.clone(),
    }
}

/// What a backfill is to read.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// What changed since then; everything without it.
    pub since: Option<Timestamp>,
    /// How that was said: an unfinished backfill of the same words is gone on with.
    pub words: String,
    /// Begins at the beginning, whatever was left unfinished.
    pub fresh: bool,
}

/// How far a backfill has come. Stored after every page.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    words: String,
    cursor: Option<Value>,
    next: Option<Value>,
    /// The records that were read and published.
    pub seen: u64,
    /// Those that could not be read, and are dead letters.
    pub unreadable: u64,
    /// How many there are, where the system can say so.
    pub total: Option<u64>,
}

/// What one step of a backfill did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Read a page, and there are more.
    Read,
    /// Waited: so many messages are still to be resolved.
    Waited(u64),
    /// Read the last page.
    Ended,
}

/// A backfill under way. There is at most one of each system.
pub struct Backfill {
    bus: Bus,
    process: Process,
    system: System,
    sweeper: BoxSweeper,
    progress: Progress,
    resumed: bool,
    lease: Lease,
}

/// How long the holder of the lease may be one that died.
const LEASE_WAIT: Duration = Duration::from_secs(10);
/// A backfill waits while the resolver has more than this before it: the stream's room is for what happens meanwhile.
const BEHIND_MAX: u64 = 20_000;
const BEHIND_PAUSE: Duration = Duration::from_secs(1);
/// Attempts to store what was read.
const STORE: Backoff = Backoff { first_ms: 500, max_ms: 10_000, attempts: 6 };

impl Backfill {
    /// Begins, or goes on with what an earlier one left unfinished.
    pub async fn begin(
        sweeper: BoxSweeper,
        system: System,
        order: Order,
        process: Process,
        bus: Bus,
    ) -> anyhow::Result<Self> {
        let lease = tokio::time::timeout(LEASE_WAIT, bus.lease(&name(&system), &process)).await;
        let lease = lease.map_err(|_| anyhow::anyhow!("another sync of {system} runs, or NATS gives no lease"))?;
        let lease = lease.context("stopped while it waited for its lease")?;
        let left = bus.cursor(&name(&system)).await?.filter(|stored| !stored.is_empty());
        let left = left.and_then(|stored| serde_json::from_slice::<Progress>(&stored).ok());
        let left = left.filter(|left| !order.fresh && left.words == order.words);
        let resumed = left.is_some();
        let progress = if let Some(left) = left {
            left
        } else {
            let cursor = order.since.map(|since| beginning(sweeper.as_ref(), &system, since)).transpose()?;
            let total = sweeper.count(cursor.clone()).await.unwrap_or_else(|failure| {
                tracing::info!(%failure, "it is not known how many records there are");
                None
            });
            Progress { words: order.words, cursor, total, ..Progress::default() }
        };
        Ok(Self { bus, process, system, sweeper, progress, resumed, lease })
    }

    /// How far it has come, what earlier runs did included.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether an earlier run began it.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Reads and publishes the next page, or waits for the resolver. An error leaves the place where it was.
    pub async fn step(&mut self) -> anyhow::Result<Step> {
        if self.lease.lost().is_cancelled() {
            bail!("the lease was lost: NATS was away, or another sync of {} runs; run it again to go on", self.system);
        }
        let behind = self.behind().await?;
        if behind > BEHIND_MAX {
            tokio::time::sleep(BEHIND_PAUSE).await;
            return Ok(Step::Waited(behind));
        }
        let page = self.sweeper.page(self.progress.cursor.clone(), self.progress.next.clone()).await?;
        let (messages, unreadable) = parcels(&self.bus, &page, Looks::Again);
        for unreadable in &unreadable {
            let letter = buried(&self.system, unreadable, self.process.now_ms());
            self.bus.dead_letter(&self.process, letter).await?;
        }
        let (seen, unread) = (messages.len() as u64, unreadable.len() as u64);
        self.publish(messages).await?;
        self.progress.seen += seen;
        self.progress.unreadable += unread;
        self.progress.next = page.next;
        let ended = self.progress.next.is_none();
        // Empty stands for none: nothing is left to go on with.
        let place = if ended { Vec::new() } else { serde_json::to_vec(&self.progress)? };
        self.bus.store_cursor(&name(&self.system), place.into()).await?;
        Ok(if ended { Step::Ended } else { Step::Read })
    }

    async fn publish(&self, messages: Vec<Outgoing>) -> anyhow::Result<()> {
        let mut attempt = 1;
        while let Err(error) = self.bus.publish_all(messages.clone()).await {
            if STORE.is_last(attempt) {
                return Err(error).context("the bus does not take what was read; run it again to go on");
            }
            tokio::time::sleep(STORE.wait(attempt, None, runtime::jitter())).await;
            attempt += 1;
        }
        Ok(())
    }

    /// How many observations the resolver has before it in the lane of sweeps.
    async fn behind(&self) -> anyhow::Result<u64> {
        let partitions = 0..self.bus.partitions();
        let lanes: BTreeSet<String> =
            partitions.map(|partition| topology::lane_consumer(partition, Lane::Low)).collect();
        let lags = self.bus.consumer_lag().await?;
        Ok(lags.iter().filter(|lag| lanes.contains(&lag.consumer)).map(|lag| lag.pending + lag.ack_pending).sum())
    }
}

/// The cursor from which a sweep sees what changed since a moment.
pub fn beginning(sweeper: &dyn Sweeper, system: &System, since: Timestamp) -> anyhow::Result<Value> {
    sweeper.cursor_since(since).with_context(|| format!("{system} can only be read whole: leave --since out"))
}

fn name(system: &System) -> String {
    format!("sync/{system}")
}

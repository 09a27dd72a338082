//! Brings what happens from the bus to the history, which tells it to everyone.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bus::{Received, Stream, Tail};
use futures_util::future::join_all;
use intake::telemetry::{self, Telemetry};
use proto::v1;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::Shared;
use crate::event::Draft;
use crate::message::Message;
use crate::position::{self, Feed, Place};

/// How many messages are taken at once.
const BATCH: usize = 500;
/// The kind of telemetry that is told in batches.
const METRIC: &str = "performance_metric";
/// The kind of telemetry that is kept elsewhere.
const ALERT: &str = "system_alert";

/// How long a feed may take to bring what was there when it began.
const LOADS: Duration = Duration::from_secs(10);

/// Starts following everything: what happens after this returns is told, and of what happened before as much as is remembered.
/// What it returns says when the latter is there.
pub async fn start(shared: &Arc<Shared>) -> anyhow::Result<Loading> {
    let streams: [(&[Feed], Stream, &[&str]); 4] = [
        // The whole stream: a filter, even one that lets all through, makes the server look for the next message of each.
        (&[Feed::Changes], Stream::Changes, &[]),
        (&[Feed::Deliveries], Stream::Observations, &["lockstep.delivery.>"]),
        (&[Feed::Alerts], Stream::Alerts, &["lockstep.alert.>"]),
        // In one, so that the place in neither grows old while only the other one has something to tell.
        (&[Feed::Live, Feed::Metrics], Stream::Live, &[]),
    ];
    let mut begun = Vec::new();
    for (feeds, stream, subjects) in streams {
        let subjects: Vec<String> = subjects.iter().map(|&subject| subject.to_owned()).collect();
        let last = shared.bus.stream_info(stream).await?.1;
        let remembered = shared.config.history_max as u64;
        let wanted = if stream == Stream::Alerts { 0 } else { last.saturating_sub(remembered) };
        let tail = shared.bus.tail(stream, &subjects, Tail::Sequence(wanted + 1)).await?;
        let gone = tail.gone().context("a tail knows what it could not read")?;
        let before = if stream == Stream::Alerts { 0 } else { wanted.max(*gone.borrow()) };
        let epoch = position::epoch(tail.stream_epoch().unwrap_or_default());
        let read = Place { epoch, sequence: before };
        for feed in feeds {
            shared.history.begin(*feed, read);
        }
        let there = last_of(shared, stream, &subjects).await?.filter(|there| *there > before);
        begun.push((Source { feeds, tail, gone, read }, there));
    }
    // Not before each feed has its place: an event's position names all of them, and who was told one without goes on from nowhere.
    let mut loading = Vec::new();
    let turns = Turns::new(begun.iter().map(|(_, there)| there.is_some()));
    for (index, (source, there)) in begun.into_iter().enumerate() {
        let (loaded, loads) = oneshot::channel();
        loading.push(loads);
        let turn = Turn { turns: turns.clone(), index, until: Instant::now() + LOADS / 2 };
        let load = there.map(|there| Load { there, loaded, turn });
        shared.process.spawn("feed", follow(Arc::clone(shared), source, load));
    }
    Ok(Loading(loading))
}

/// A stream that is followed.
struct Source {
    /// What is told of it.
    feeds: &'static [Feed],
    tail: bus::Feed,
    /// Up to which sequence the stream has thrown messages away unread.
    gone: watch::Receiver<u64>,
    /// How far it is read.
    read: Place,
}

/// The sequence of the last message on any of these subjects; on all of the stream's, when there are none.
async fn last_of(shared: &Shared, stream: Stream, subjects: &[String]) -> anyhow::Result<Option<u64>> {
    let all = ["lockstep.>".to_owned()];
    let subjects = if subjects.is_empty() { &all } else { subjects };
    let mut last = None;
    for subject in subjects {
        last = last.max(shared.bus.last_message(stream, subject).await?.map(|message| message.sequence));
    }
    Ok(last)
}

/// Feeds that bring what was there when they began.
pub struct Loading(Vec<oneshot::Receiver<()>>);

impl Loading {
    /// Waits until all of it is told: whoever comes earlier would be told old events as if they happened now. What was thrown away
    /// meanwhile never comes, so it is not waited for without end.
    pub async fn done(self, shared: &Shared) {
        let told = async {
            // A feed that has nothing to bring, or is over, has dropped its end.
            join_all(self.0).await;
            let all = shared.history.last();
            shared.hub.have_read(shared, || all).await
        };
        if tokio::time::timeout(LOADS, told).await.is_err() {
            tracing::warn!("not all that is on the bus was told before clients are let in");
        }
    }
}

/// What a feed brings before clients are let in.
struct Load {
    /// Up to this sequence.
    there: u64,
    loaded: oneshot::Sender<()>,
    turn: Turn,
}

/// By source when what it brings next was stored, while all bring what was there. It is told in that order: what is remembered is one list,
/// and a source that is quick must not be pushed out of it by what is older.
#[derive(Clone)]
struct Turns(Arc<watch::Sender<Vec<i64>>>);

/// It is not known yet what a source brings next.
const READS: i64 = i64::MIN;
/// A source brings nothing more that was there.
const DONE: i64 = i64::MAX;

impl Turns {
    fn new(brings: impl Iterator<Item = bool>) -> Self {
        let stored = brings.map(|brings| if brings { READS } else { DONE }).collect();
        Self(Arc::new(watch::Sender::new(stored)))
    }
}

/// One source's turn.
struct Turn {
    turns: Turns,
    index: usize,
    /// One that is stuck keeps the others until then, which leaves them time to be told before clients are let in.
    until: Instant,
}

impl Turn {
    /// Waits until nothing that was stored earlier is still to come.
    async fn comes(&self, at_ms: i64) {
        self.set(at_ms);
        let mut turns = self.turns.0.subscribe();
        let is_next = |all: &Vec<i64>| all.iter().zip(0..).all(|(other, index)| (at_ms, self.index) <= (*other, index));
        // The sender lives as long as this does.
        let _ = tokio::time::timeout_at(self.until, turns.wait_for(is_next)).await;
    }

    fn set(&self, at_ms: i64) {
        self.turns.0.send_modify(|all| all[self.index] = at_ms);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.set(DONE);
    }
}

async fn follow(shared: Arc<Shared>, mut source: Source, mut load: Option<Load>) -> anyhow::Result<()> {
    let mut metrics = Metrics::default();
    loop {
        tokio::select! {
            // Clients are told what happens for as long as they are here.
            () = shared.drained.cancelled() => return Ok(()),
            () = sleep_until(metrics.due), if metrics.waits() => metrics.tell(&shared).await,
            changed = source.gone.changed() => {
                changed.context("the feed is over")?;
                source.lose(&shared, &mut metrics).await;
                load = load.filter(|load| source.read.sequence < load.there);
            }
            batch = source.tail.next_batch(BATCH) => {
                let batch = batch?;
                if let (Some(load), Some(first)) = (&load, batch.first()) {
                    load.turn.comes(first.published_at_ms).await;
                }
                // Before what comes after it.
                source.lose(&shared, &mut metrics).await;
                source.tell(&shared, batch, &mut metrics).await;
                if let Some(load) = load.take_if(|load| source.read.sequence >= load.there) {
                    metrics.tell(&shared).await;
                    // Who waited for it may have gone on without.
                    let _ = load.loaded.send(());
                } else if let Some(load) = &load {
                    load.turn.set(READS);
                }
            }
        }
    }
}

impl Source {
    fn epoch(&self) -> u32 {
        position::epoch(self.tail.stream_epoch().unwrap_or_default())
    }

    /// What the stream threw away while it could not be read is not told, and whoever was told nothing after it cannot go on from there.
    async fn lose(&mut self, shared: &Shared, metrics: &mut Metrics) {
        let place = Place { epoch: self.epoch(), sequence: *self.gone.borrow_and_update() };
        let is_new = place.epoch != self.read.epoch || place.sequence > self.read.sequence;
        // Of an alert the stream keeps the newest only, which says all; it throws away others at any time.
        if place.sequence == 0 || !is_new || self.feeds == [Feed::Alerts] {
            return;
        }
        metrics.tell(shared).await;
        self.read = place;
        for feed in self.feeds {
            shared.history.lose(*feed, place);
        }
    }

    async fn tell(&mut self, shared: &Shared, batch: Vec<Received>, metrics: &mut Metrics) {
        let Some(last) = batch.last() else { return };
        self.read = Place { epoch: self.epoch(), sequence: last.sequence };
        if self.feeds.contains(&Feed::Metrics) {
            let (some, others): (Vec<_>, Vec<_>) = batch.into_iter().partition(|received| kind(received) == METRIC);
            if some.is_empty() {
                // What follows comes with a place among the measurements that is new.
                metrics.take(shared, &some, self.read).await;
            }
            tell(shared, Feed::Live, &others, self.read).await;
            if !some.is_empty() {
                metrics.take(shared, &some, self.read).await;
            }
        } else if let [feed] = self.feeds {
            tell(shared, *feed, &batch, self.read).await;
        }
    }
}

/// Of telemetry: its kind.
fn kind(received: &Received) -> &str {
    received.subject.split('.').nth(2).unwrap_or_default()
}

/// Tells what a batch has of a feed that is read up to a place with it.
async fn tell(shared: &Shared, feed: Feed, batch: &[Received], upto: Place) {
    let draft = |received: &Received| {
        let message = message(shared, feed, received)?;
        let place = Place { sequence: received.sequence, ..upto };
        let trace = received.header("traceparent").map(str::to_owned);
        Some(Draft { message, feed, place, trace, at_ms: received.published_at_ms })
    };
    let drafts = batch.iter().filter_map(draft).collect();
    shared.hub.tell(shared, drafts, feed, Some(upto)).await;
}

/// What a message of the bus says. One that cannot be read is logged, counted and passed over: whoever owns the stream deals with it.
fn message(shared: &Shared, feed: Feed, received: &Received) -> Option<Message> {
    if !received.is_for("broadcaster") {
        return None;
    }
    if feed == Feed::Live && (kind(received) == ALERT || !telemetry::KINDS.contains(&kind(received))) {
        // Nothing that is told, and alerts have a stream of their own.
        return None;
    }
    let read = match feed {
        Feed::Changes => received.decode().map(Message::Change).map_err(|error| error.to_string()),
        Feed::Deliveries => received.decode().map(Message::Delivery).map_err(|error| error.to_string()),
        Feed::Alerts | Feed::Live | Feed::Metrics => telemetry_of(shared, received),
    };
    match read {
        Ok(message) => Some(message),
        Err(error) => {
            let stream = Stream::of_subject(&received.subject).map_or("unknown", Stream::name);
            shared.counts.unreadable.with_label_values(&[stream]).inc();
            tracing::warn!(
                subject = received.subject,
                sequence = received.sequence,
                error,
                "a message cannot be shown"
            );
            None
        }
    }
}

fn telemetry_of(shared: &Shared, received: &Received) -> Result<Message, String> {
    let (subject, stored) = (&received.subject, received.published_at_ms);
    let read =
        telemetry::from_bus(subject, received.content_type(), &received.payload, stored, &shared.policy.lifecycles);
    Ok(match read.map_err(|error| error.to_string())? {
        Telemetry::AgentState(state) => Message::AgentState(state),
        Telemetry::PerformanceMetric(metric) => {
            Message::Metrics(metric.category.clone(), vec![(received.sequence, metric)])
        }
        Telemetry::WorkflowExecution(execution) => Message::WorkflowExecution(execution),
        Telemetry::MemoryTimeline(event) => Message::MemoryTimeline(event),
        Telemetry::SystemAlert(alert) => Message::SystemAlert(alert),
        Telemetry::HealthChanged(health) => Message::HealthChanged(health),
        Telemetry::OperationStep(step) => Message::OperationStep(step),
    })
}

/// Measurements that wait to be told together, in the order of the bus.
struct Metrics {
    waiting: Vec<(u64, v1::PerformanceMetric)>,
    /// How far their feed is read.
    read: Place,
    due: Instant,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { waiting: Vec::new(), read: Place::default(), due: Instant::now() }
    }
}

impl Metrics {
    fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes what a batch has of them, with which the feed is read up to a place.
    async fn take(&mut self, shared: &Shared, batch: &[Received], upto: Place) {
        if upto.epoch != self.read.epoch {
            self.tell(shared).await;
        }
        for received in batch {
            let Some(Message::Metrics(_, metrics)) = message(shared, Feed::Metrics, received) else { continue };
            if !self.waits() {
                self.due = Instant::now() + Duration::from_millis(shared.config.metrics_wait_ms);
            }
            self.waiting.extend(metrics);
            self.read = Place { sequence: received.sequence, ..upto };
            if self.waiting.len() >= shared.config.metrics_batch {
                self.tell(shared).await;
            }
        }
        self.read = upto;
        if !self.waits() {
            shared.hub.tell(shared, Vec::new(), Feed::Metrics, Some(upto)).await;
        }
    }

    async fn tell(&mut self, shared: &Shared) {
        let Some((sequence, last)) = self.waiting.last() else { return };
        // A batch is of one category or of several; then it is sorted under none. One for each would not do: whoever has read the first
        // of them would be at a place that those of the others are behind, and go on without them.
        let one = self.waiting.iter().all(|(_, metric)| metric.category == last.category);
        let category = if one { last.category.clone() } else { String::new() };
        let place = Place { sequence: *sequence, ..self.read };
        let message = Message::Metrics(category, std::mem::take(&mut self.waiting));
        let draft = Draft { message, feed: Feed::Metrics, place, trace: None, at_ms: shared.process.now_ms() };
        shared.hub.tell(shared, vec![draft], Feed::Metrics, Some(self.read)).await;
    }
}

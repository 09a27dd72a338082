//! A system in memory, and its connector.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use connector::{
    Connector, Decoded, Failure, Page, Parts, Reading, Redelivered, Sink, Unreadable, Webhook, Written, observation_id,
};
use model::{Actor, Command, Kind, Native, Observation, Origin, Position, RecordRef, Source, System, Timestamp};
use proto::v1;
use serde_json::Value;
use tokio::sync::watch;

/// What can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Learn,
    Read,
    Keep,
    Write,
    Sweep,
    Change,
    Redeliver,
}

/// The connector; a successor shares the system.
#[derive(Default)]
pub struct Fake {
    system: Arc<Mutex<Inside>>,
    /// Counts what happens, for those who wait.
    happened: watch::Sender<u64>,
    stick: std::sync::atomic::AtomicBool,
    held: watch::Sender<bool>,
}

#[derive(Default)]
struct Inside {
    records: BTreeMap<String, (String, u64)>,
    writes: Vec<String>,
    failures: BTreeMap<Part, VecDeque<Failure>>,
    failed: usize,
    writing: BTreeSet<String>,
    most_writing: usize,
    doubled: usize,
    pages: VecDeque<Page>,
    /// What is met behind the last page that was laid down.
    behind_pages: Option<Failure>,
    sweeps: Vec<(Option<String>, Option<String>)>,
    stream: VecDeque<String>,
    changes: Vec<String>,
    /// What cannot be told a change, and why.
    deaf: BTreeMap<String, Failure>,
    /// Attempts at those.
    unheard: BTreeMap<String, u64>,
    asked_again: Vec<u64>,
    reads: Vec<String>,
    webhook: Option<Webhook>,
    /// The words that it has learned.
    words: BTreeSet<String>,
}

pub fn record(id: &str) -> RecordRef {
    RecordRef::new(System::new("fake").unwrap(), Kind::new("thing").unwrap(), id).unwrap()
}

pub fn seen(id: &str, native: &str, position: u64) -> Observation {
    let (record, native) = (record(id), Native::new(native).unwrap());
    Observation {
        position: Some(Position(position)),
        ..Observation::new(observation_id(&record, &native, position), record, native, Source::Poll, Timestamp(1))
    }
}

impl Fake {
    pub fn set(&self, id: &str, native: &str) {
        self.inside().records.insert(id.into(), (native.into(), 1));
    }

    pub fn set_at(&self, id: &str, native: &str, position: u64) {
        self.inside().records.insert(id.into(), (native.into(), position));
    }

    /// How often a record was looked at.
    pub fn read_count(&self, id: &str) -> usize {
        self.inside().reads.iter().filter(|read| *read == id).count()
    }

    pub fn remove(&self, id: &str) {
        self.inside().records.remove(id);
    }

    pub fn fail(&self, part: Part, failure: Failure) {
        self.inside().failures.entry(part).or_default().push_back(failure);
    }

    /// The next write never returns.
    pub fn stick_after_write(&self) {
        self.stick.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    pub fn hold_writes(&self) {
        self.held.send_replace(true);
    }

    pub fn release_writes(&self) {
        self.held.send_replace(false);
    }

    pub fn page(&self, seen_there: &[(&str, &str)], next: Option<&str>, cursor: Option<&str>) {
        let mut inside = self.inside();
        let position = 10 + inside.pages.len() as u64;
        for (id, native) in seen_there {
            inside.records.insert((*id).into(), ((*native).into(), position));
        }
        let observations = seen_there.iter().map(|(id, native)| seen(id, native, position)).collect();
        let (next, cursor) = (next.map(Value::from), cursor.map(Value::from));
        inside.pages.push_back(Page { observations, next, cursor, ..Page::default() });
    }

    /// There is no page behind those that were laid down, but a failure; or an empty one again.
    pub fn fail_behind_pages(&self, failure: Option<Failure>) {
        self.inside().behind_pages = failure;
    }

    /// What a record of the last page that was laid down shows is to be kept shown.
    pub fn keep(&self, id: &str, native: &str) {
        let reading = Reading { observation: seen(id, native, 10), extra: Value::Null };
        self.inside().pages.back_mut().unwrap().keeps.push(reading);
    }

    /// The last page that was laid down has something on it that cannot be read.
    pub fn unreadable(&self, name: &str) {
        let unreadable =
            Unreadable { name: name.into(), content: "{".into(), code: "malformed", why: "it is cut off".into() };
        self.inside().pages.back_mut().unwrap().unreadable.push(unreadable);
    }

    pub fn stream(&self, words: &[&str]) {
        self.happen(|inside| inside.stream = words.iter().map(|&word| word.to_owned()).collect());
    }

    pub fn successor(&self) -> Self {
        Self { system: Arc::clone(&self.system), ..Self::default() }
    }

    pub fn writes(&self) -> Vec<String> {
        self.inside().writes.clone()
    }

    pub fn changes(&self) -> Vec<String> {
        self.inside().changes.clone()
    }

    pub fn sweeps(&self) -> Vec<(Option<String>, Option<String>)> {
        self.inside().sweeps.clone()
    }

    /// The cursors with which it was asked to send webhooks again, once there are so many.
    pub async fn asked_again(&self, count: usize) -> Vec<u64> {
        self.until(|inside| inside.asked_again.len() >= count).await;
        self.inside().asked_again.clone()
    }

    pub fn last_webhook(&self) -> Option<Webhook> {
        self.inside().webhook.clone()
    }

    /// The most records written at once, and how often one record was written twice at once.
    pub fn overlaps(&self) -> (usize, usize) {
        let inside = self.inside();
        (inside.most_writing, inside.doubled)
    }

    pub fn is_writing(&self, id: &str) -> bool {
        self.inside().writing.contains(id)
    }

    pub async fn written(&self) {
        self.until(|inside| !inside.writes.is_empty()).await;
    }

    pub async fn failed(&self) {
        self.failed_times(1).await;
    }

    pub async fn failed_times(&self, count: usize) {
        self.until(|inside| inside.failed >= count).await;
    }

    pub async fn writing(&self, count: usize) {
        self.until(|inside| inside.writing.len() >= count).await;
    }

    pub async fn asked(&self, count: usize) {
        self.until(|inside| inside.sweeps.len() >= count).await;
    }

    pub async fn told(&self) {
        self.told_of(1).await;
    }

    pub async fn told_of(&self, count: usize) {
        self.until(|inside| inside.changes.len() >= count).await;
    }

    /// From now on `id` cannot be told a change, or can again.
    pub fn deafen(&self, id: &str, failure: Option<Failure>) {
        let deaf = &mut self.inside().deaf;
        deaf.remove(id);
        deaf.extend(failure.map(|failure| (id.to_owned(), failure)));
    }

    /// That many attempts to tell it something have failed.
    pub async fn unheard(&self, id: &str, count: u64) {
        self.until(|inside| inside.unheard.get(id).is_some_and(|unheard| *unheard >= count)).await;
    }

    async fn until(&self, done: impl Fn(&Inside) -> bool) {
        let mut happened = self.happened.subscribe();
        while !done(&self.inside()) {
            happened.changed().await.unwrap();
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.system.lock().unwrap()
    }

    fn happen<T>(&self, change: impl FnOnce(&mut Inside) -> T) -> T {
        let done = change(&mut self.inside());
        self.happened.send_modify(|count| *count += 1);
        done
    }

    fn may(&self, part: Part) -> Result<(), Failure> {
        self.happen(|inside| {
            let failure = inside.failures.get_mut(&part).and_then(VecDeque::pop_front);
            inside.failed += usize::from(failure.is_some());
            failure.map_or(Ok(()), Err)
        })
    }
}

impl Connector for Fake {
    const SYSTEM: &'static str = "fake";
    const HAS_WEBHOOKS: bool = true;
    const HAS_SWEEP: bool = true;
    const GOES_ON: bool = true;
    const HAS_COMMANDS: bool = true;
    const HAS_CHANGES: bool = true;
    const HAS_REDELIVERY: bool = true;
    type Config = BTreeMap<String, String>;

    fn new(_config: Self::Config, _parts: Parts) -> Result<Self, String> {
        Ok(Self::default())
    }

    fn sweep_every(&self) -> Duration {
        Duration::from_millis(5)
    }

    fn decode(&self, webhook: &Webhook) -> Result<Decoded, Failure> {
        self.happen(|inside| inside.webhook = Some(webhook.clone()));
        let body = String::from_utf8_lossy(&webhook.body).into_owned();
        match body.split(' ').collect::<Vec<_>>()[..] {
            ["see", id, native] => Ok(Decoded::Observations(vec![seen(id, native, 1)])),
            ["see", id, native, position] => {
                Ok(Decoded::Observations(vec![seen(id, native, position.parse().unwrap())]))
            }
            ["late", id, native, position] => {
                let actor = Some(Actor { name: "ada".into(), id: None, automation: false });
                let seen = seen(id, native, position.parse().unwrap());
                Ok(Decoded::Late(vec![Observation { actor, origin: Origin::Other, ..seen }]))
            }
            ["word", id, native] if self.inside().words.contains(native) => {
                Ok(Decoded::Observations(vec![seen(id, native, 1)]))
            }
            ["word", id, native] => Ok(Decoded::Unlearned { what: native.to_owned(), records: vec![record(id)] }),
            ["read", id] => Ok(Decoded::Incomplete(vec![record(id)])),
            ["ignore"] => Ok(Decoded::Ignored("not_ours")),
            _ => Err(Failure::refused("malformed", "no such word")),
        }
    }

    async fn learn(&self, what: &str) -> Result<(), Failure> {
        self.may(Part::Learn)?;
        self.happen(|inside| inside.words.insert(what.to_owned()));
        Ok(())
    }

    async fn read(&self, record: &RecordRef) -> Result<Reading, Failure> {
        self.may(Part::Read)?;
        self.happen(|inside| inside.reads.push(record.id().to_owned()));
        let shown = self.inside().records.get(record.id()).cloned();
        let (native, position) = shown.ok_or_else(|| Failure::gone(format!("{record} is not there")))?;
        Ok(Reading { observation: seen(record.id(), &native, position), extra: Value::Null })
    }

    async fn write(&self, command: &Command, reading: &Reading) -> Result<Written, Failure> {
        self.may(Part::Write)?;
        let id = command.record.id().to_owned();
        self.happen(|inside| {
            inside.doubled += usize::from(!inside.writing.insert(id.clone()));
            inside.most_writing = inside.most_writing.max(inside.writing.len());
        });
        let mut held = self.held.subscribe();
        held.wait_for(|held| !held).await.unwrap();
        let position = reading.observation.position.unwrap().0 + 1;
        self.happen(|inside| {
            inside.writing.remove(&id);
            inside.records.insert(id.clone(), (command.native.to_string(), position));
            inside.writes.push(format!("{id}={}", command.native));
        });
        if self.stick.load(std::sync::atomic::Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(Written { native: command.native.clone(), position: Some(Position(position)) })
    }

    async fn show(&self, command: &Command, _reading: &Reading) -> Result<(), Failure> {
        self.happen(|inside| inside.writes.push(format!("{} shows {}", command.record.id(), command.status)));
        Ok(())
    }

    async fn keep_shown(&self, reading: &Reading) -> Result<(), Failure> {
        self.may(Part::Keep)?;
        self.happen(|inside| inside.writes.push(format!("{} keeps it", reading.observation.record.id())));
        Ok(())
    }

    async fn sweep(&self, cursor: Option<Value>, next: Option<Value>) -> Result<Page, Failure> {
        let word = |value: Option<Value>| value.and_then(|value| value.as_str().map(str::to_owned));
        let asked = (word(cursor), word(next));
        self.happen(|inside| inside.sweeps.push(asked));
        self.may(Part::Sweep)?;
        self.happen(|inside| match (inside.pages.pop_front(), &inside.behind_pages) {
            (None, Some(failure)) => {
                inside.failed += 1;
                Err(failure.clone())
            }
            (page, _) => Ok(page.unwrap_or_default()),
        })
    }

    fn cursor_since(&self, since: Timestamp) -> Option<Value> {
        Some(Value::from(format!("since {}", since.0)))
    }

    async fn count(&self, _cursor: Option<Value>) -> Result<Option<u64>, Failure> {
        Ok(Some(self.inside().pages.iter().map(|page| page.observations.len() as u64).sum()))
    }

    fn redeliver_every(&self) -> Duration {
        Duration::from_millis(5)
    }

    async fn redeliver(&self, cursor: Option<Value>) -> Result<Redelivered, Failure> {
        let asked = cursor.and_then(|cursor| cursor.as_u64()).unwrap_or(0);
        self.happen(|inside| inside.asked_again.push(asked));
        self.may(Part::Redeliver)?;
        Ok(Redelivered { asked: u64::from(asked < 3), cursor: Some(Value::from(asked + 1)) })
    }

    async fn watch(&self, sink: Sink) -> Result<(), Failure> {
        loop {
            let word = self.inside().stream.pop_front();
            match word.as_deref().map(|word| word.split_once('=')) {
                None => self.until(|inside| !inside.stream.is_empty()).await,
                Some(None) => return Err(Failure::unavailable("the stream broke")),
                Some(Some((id, native))) => {
                    let stored = sink.observe(seen(id, native, 1)).await;
                    self.happen(|inside| inside.failed += usize::from(stored.is_err()));
                    stored?;
                }
            }
        }
    }

    async fn on_change(&self, change: &v1::Change, record: &RecordRef) -> Result<(), Failure> {
        self.may(Part::Change)?;
        self.happen(|inside| {
            if let Some(failure) = inside.deaf.get(record.id()).cloned() {
                *inside.unheard.entry(record.id().to_owned()).or_default() += 1;
                return Err(failure);
            }
            inside.changes.push(format!("{} {record}", change.version));
            Ok(())
        })
    }
}

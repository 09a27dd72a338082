//! The connectors of the simulated systems: thin, as the real ones are, over calls that take time, fail, and lie.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connector::{Connector, Decoded, Failure, Page, Parts, Reading, Sink, Webhook, Written};
use connector_github::sights::Sights;
use model::{Command, Observation, Origin, RecordRef, Source};
use proto::v1;
use runtime::Process;
use runtime::simulation::{below, lag, note};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::land::{Author, Land};
use crate::settings::Broken;
use crate::table::Clock;

/// What differs between the systems.
pub trait Kind: Send + Sync + 'static {
    const NAME: &'static str;
    const WEBHOOKS: bool;
    const SWEEP: bool;
    const COMMANDS: bool;
    const ALONE: bool;
}

macro_rules! kinds {
    ($($name:ident = $text:literal, webhooks $webhooks:literal, sweep $sweep:literal, commands $commands:literal,
        alone $alone:literal;)*) => {
        $(pub struct $name;
        impl Kind for $name {
            const NAME: &'static str = $text;
            const WEBHOOKS: bool = $webhooks;
            const SWEEP: bool = $sweep;
            const COMMANDS: bool = $commands;
            const ALONE: bool = $alone;
        })*
    };
}
kinds! {
    Linear = "linear", webhooks true, sweep true, commands true, alone false;
    Github = "github", webhooks true, sweep true, commands true, alone false;
    Postgres = "postgres", webhooks false, sweep true, commands true, alone false;
    Agentapi = "agentapi", webhooks false, sweep false, commands false, alone true;
}

pub struct Simulated<K> {
    land: Arc<Land>,
    process: Process,
    /// Whether the system can be reached from here.
    reachable: watch::Receiver<bool>,
    sights: Mutex<Sights>,
    point: AtomicU64,
    kind: PhantomData<K>,
}

/// How long a call to a system that does not answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How many records are on a page.
const PAGE: usize = 2;

impl<K: Kind> Simulated<K> {
    pub fn over(land: Arc<Land>, process: Process, reachable: watch::Receiver<bool>) -> Self {
        let now = process.now_ms();
        Self {
            land,
            process,
            reachable,
            sights: Mutex::new(Sights::new(now)),
            // As if no two processes had begun in the same millisecond: the same numbers would be taken for copies.
            point: AtomicU64::new(u64::try_from(now).unwrap() * 1_000_000 + below(1_000_000)),
            kind: PhantomData,
        }
    }

    /// One call's way to the system.
    async fn call(&self) -> Result<(), Failure> {
        let settings = &self.land.settings;
        lag(settings.lag_ms).await;
        if !*self.reachable.borrow() {
            tokio::time::sleep(TIMEOUT).await;
            return Err(Failure::unavailable("no answer in time"));
        }
        if self.land.look().down.get(K::NAME) == Some(&true) || self.land.fails(settings.system_errors) {
            return Err(Failure::unavailable("503"));
        }
        if self.land.fails(settings.system_limits) {
            let retry_after = Duration::from_millis(below(10_000));
            return Err(Failure::Limited { why: "429".into(), retry_after });
        }
        Ok(())
    }

    /// Names what was seen as the real connector does.
    fn named(&self, place: usize, revision: usize, mut seen: Observation) -> Observation {
        if self.land.look().remotes[place].table.clock == Clock::Seconds {
            self.sights.lock().unwrap().name(&mut seen, self.process.now_ms());
        }
        if self.is_broken(Broken::OneIdForAll) {
            seen.id = seen.record.to_string();
        }
        self.land.look().seen_as.insert(seen.id.clone(), (place, revision));
        seen
    }

    fn is_broken(&self, broken: Broken) -> bool {
        self.land.look().broken == Some(broken)
    }

    fn newest(&self, record: &RecordRef, source: Source) -> (usize, usize, Observation) {
        let (place, revision, seen) = {
            let mut inside = self.land.look();
            let place = inside.place_of(record);
            let revision = inside.remotes[place].newest();
            (place, revision, inside.observation(place, revision, source))
        };
        (place, revision, seen)
    }

    /// The write takes effect.
    fn apply(land: &Land, place: usize, command: &Command) -> Written {
        let (differs, origin) = {
            let inside = land.look();
            let remote = &inside.remotes[place];
            (remote.now().native != command.native, remote.own_origin(command.version))
        };
        if differs {
            let by = Author::Us { version: command.version, item: command.item };
            let revision = land.change(place, &command.native, by, origin);
            crate::people::send_webhook_of_ours(land, place, revision);
        }
        let inside = land.look();
        let now = inside.remotes[place].now();
        Written { native: now.native.clone(), position: now.position }
    }
}

/// What the loop calls an edit that came late, but for the webhook that told of it.
fn below_its_second(seen: &Observation) -> String {
    connector::observation_id(&seen.record, &seen.native, seen.position.map_or(0, |position| position.0 - 1))
}

impl<K: Kind> Connector for Simulated<K> {
    const SYSTEM: &'static str = K::NAME;
    const HAS_WEBHOOKS: bool = K::WEBHOOKS;
    const HAS_SWEEP: bool = K::SWEEP;
    const HAS_COMMANDS: bool = K::COMMANDS;
    const WATCHES_ALONE: bool = K::ALONE;
    type Config = ();

    fn new((): (), _: Parts) -> Result<Self, String> {
        Err("it needs a land: Simulated::over".into())
    }

    fn sweep_every(&self) -> Duration {
        Duration::from_secs(self.land.settings.sweep_s)
    }

    fn decode(&self, webhook: &Webhook) -> Result<Decoded, Failure> {
        let malformed = || Failure::refused("malformed", "not what this system sends");
        let body: Value = serde_json::from_slice(&webhook.body).map_err(|_| malformed())?;
        let (place, revision) = (body["place"].as_u64(), body["revision"].as_u64());
        let (Some(place), Some(revision)) = (place, revision) else { return Err(malformed()) };
        let (place, revision) = (place as usize, revision as usize);
        let seen = self.land.look().observation(place, revision, Source::Webhook);
        if body["incomplete"] == json!(true) {
            let seconds = self.land.look().remotes[place].table.clock == Clock::Seconds;
            if seconds && !matches!(seen.origin, Origin::Own(_)) {
                self.land.look().seen_as.insert(below_its_second(&seen), (place, revision));
                return Ok(Decoded::Late(vec![seen]));
            }
            return Ok(Decoded::Incomplete(vec![seen.record]));
        }
        Ok(Decoded::Observations(vec![self.named(place, revision, seen)]))
    }

    async fn read(&self, record: &RecordRef) -> Result<Reading, Failure> {
        self.call().await?;
        let (place, mut revision, mut seen) = self.newest(record, Source::Poll);
        if self.is_broken(Broken::CachedRead) {
            revision = revision.saturating_sub(1);
            seen = self.land.look().observation(place, revision, Source::Poll);
        }
        let observation = self.named(place, revision, seen);
        lag(self.land.settings.lag_ms).await;
        Ok(Reading { observation, extra: json!(revision) })
    }

    async fn write(&self, command: &Command, reading: &Reading) -> Result<Written, Failure> {
        let place = self.land.look().place_of(&command.record);
        let _writing = Writing::begin(&self.land, place);
        self.call().await?;
        if self.land.fails(self.land.settings.refusals) {
            self.land.look().remotes[place].refused = true;
            return Err(Failure::refused("unauthorized", "the token was revoked"));
        }
        let conditional = self.land.look().remotes[place].table.clock == Clock::Rows;
        if conditional && reading.extra != json!(self.land.look().remotes[place].newest()) {
            return Err(Failure::unavailable("it changed between reading and writing"));
        }
        if !conditional && self.land.fails(self.land.settings.late_writes) {
            let (land, command) = (Arc::clone(&self.land), command.clone());
            {
                let mut inside = land.look();
                inside.under_way += 1;
                inside.remotes[place].overlapped = true;
            }
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(below(15_000))).await;
                note(|| format!("a write of {} lands late", command.record));
                Self::apply(&land, place, &command);
                land.look().under_way -= 1;
            });
            tokio::time::sleep(TIMEOUT).await;
            return Err(Failure::unavailable("no answer in time"));
        }
        if self.is_broken(Broken::UnwrittenWrite) && below(4) == 0 {
            return Ok(Written { native: command.native.clone(), position: reading.observation.position });
        }
        let written = Self::apply(&self.land, place, command);
        lag(self.land.settings.lag_ms).await;
        if self.land.fails(self.land.settings.lost_writes) {
            tokio::time::sleep(TIMEOUT).await;
            return Err(Failure::unavailable("no answer in time"));
        }
        Ok(written)
    }

    async fn show(&self, command: &Command, _: &Reading) -> Result<(), Failure> {
        self.call().await?;
        let place = self.land.look().place_of(&command.record);
        note(|| format!("{} is shown {}", command.record, command.status));
        self.land.look().remotes[place].shown = Some(command.status.to_string());
        Ok(())
    }

    async fn sweep(&self, _: Option<Value>, next: Option<Value>) -> Result<Page, Failure> {
        if next.is_none() {
            *self.land.look().sweeps.entry(K::NAME).or_default() += 1;
        }
        self.call().await?;
        let first = next.and_then(|next| next.as_u64()).unwrap_or(0) as usize;
        let records: Vec<RecordRef> = {
            let inside = self.land.look();
            let own = inside.remotes.iter().filter(|remote| remote.system() == K::NAME);
            own.map(|remote| remote.record.clone()).collect()
        };
        let page: Vec<_> =
            records.iter().skip(first).take(PAGE).map(|record| self.newest(record, Source::Sweep)).collect();
        lag(self.land.settings.lag_ms).await;
        let now = self.process.now_ms();
        let mut observations = Vec::new();
        for (place, revision, seen) in page {
            let seconds = self.land.look().remotes[place].table.clock == Clock::Seconds;
            if seconds && self.sights.lock().unwrap().is_better_known(&seen, now) {
                continue;
            }
            observations.push(self.named(place, revision, seen));
        }
        if self.is_broken(Broken::BlindSweep) {
            observations.clear();
        }
        let rest = first + PAGE < records.len();
        Ok(Page {
            observations,
            next: rest.then(|| json!(first + PAGE)),
            cursor: (!rest).then(|| json!(now)),
            ..Page::default()
        })
    }

    async fn watch(&self, sink: Sink) -> Result<(), Failure> {
        match K::NAME {
            "postgres" => self.relay(sink).await,
            "agentapi" => self.listen(sink).await,
            _ => std::future::pending().await,
        }
    }

    async fn on_change(&self, _: &v1::Change, _: &RecordRef) -> Result<(), Failure> {
        Ok(())
    }
}

impl<K: Kind> Simulated<K> {
    /// Passes the outbox on, one process at a time, and forgets an entry only when it is stored.
    async fn relay(&self, sink: Sink) -> Result<(), Failure> {
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            self.call().await?;
            let Some(_alone) = Relaying::begin(&self.land) else { continue };
            let waiting: Vec<(usize, usize)> = {
                let inside = self.land.look();
                let own = inside.remotes.iter().enumerate().filter(|(_, remote)| remote.system() == K::NAME);
                own.flat_map(|(place, remote)| (remote.passed_on..remote.revisions.len()).map(move |one| (place, one)))
                    .collect()
            };
            let mut seen = Vec::new();
            for (place, revision) in &waiting {
                let one = self.land.look().observation(*place, *revision, Source::Stream);
                seen.push(self.named(*place, *revision, one));
            }
            if !seen.is_empty() {
                sink.observe_all(seen).await?;
            }
            self.call().await?;
            for (place, revision) in waiting {
                self.land.look().remotes[place].passed_on = revision + 1;
            }
        }
    }

    /// Hears what each agent does now and from now on, and says it again from time to time: what a process sent that was cut off may
    /// come after what its successor said.
    async fn listen(&self, sink: Sink) -> Result<(), Failure> {
        let mut moved = self.land.moved.watch();
        let mut told: Vec<Option<usize>> = Vec::new();
        let mut again = tokio::time::Instant::now() + self.sweep_every();
        loop {
            self.call().await?;
            let own: Vec<(usize, usize)> = {
                let inside = self.land.look();
                let own = inside.remotes.iter().enumerate().filter(|(_, remote)| remote.system() == K::NAME);
                own.map(|(place, remote)| (place, remote.newest())).collect()
            };
            told.resize(own.len(), None);
            for (number, (place, newest)) in own.into_iter().enumerate() {
                let from = told[number].map_or(newest, |told| told + 1);
                for revision in from..=newest {
                    let mut seen = self.land.look().observation(place, revision, Source::Stream);
                    // An agent has no positions of its own.
                    let point = self.point.fetch_add(1, Ordering::Relaxed);
                    seen.id = connector::observation_id(&seen.record, &seen.native, point);
                    self.land.look().seen_as.insert(seen.id.clone(), (place, revision));
                    lag(self.land.settings.lag_ms).await;
                    sink.observe(seen).await?;
                    told[number] = Some(revision);
                    let remote = &mut self.land.look().remotes[place];
                    remote.passed_on = remote.passed_on.max(revision + 1);
                }
            }
            match tokio::time::timeout_at(again, moved.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(()),
                Err(_) => {
                    again += self.sweep_every();
                    told.clear();
                }
            }
        }
    }
}

/// A write that is under way.
struct Writing<'a>(&'a Land, usize);

impl<'a> Writing<'a> {
    fn begin(land: &'a Land, place: usize) -> Self {
        let mut inside = land.look();
        let remote = &mut inside.remotes[place];
        remote.writing += 1;
        remote.overlapped |= remote.writing > 1;
        drop(inside);
        Self(land, place)
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.look().remotes[self.1].writing -= 1;
    }
}

/// The outbox is claimed.
struct Relaying<'a>(&'a Land);

impl<'a> Relaying<'a> {
    fn begin(land: &'a Land) -> Option<Self> {
        let mut inside = land.look();
        if inside.relaying {
            return None;
        }
        inside.relaying = true;
        drop(inside);
        Some(Self(land))
    }
}

impl Drop for Relaying<'_> {
    fn drop(&mut self) {
        self.0.look().relaying = false;
    }
}

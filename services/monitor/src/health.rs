//! Judges health from what was seen: signs of life, probes, and when systems last answered. Pure: the time is an argument.

use std::collections::BTreeMap;

use bus::topology::{AS_SYSTEM, WEBHOOKS_OF};
use bus::{Lag, Stream};
use proto::v1;
use serde::Serialize;

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It works.
    Healthy,
    /// It works in part, or may not work.
    Degraded,
    /// It does not work.
    Unhealthy,
}

/// What is known of one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    /// How well it is.
    pub status: Health,
    /// What is wrong, where something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How long ago the last sign of life or success was, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<i64>,
    /// How many instances of a service are alive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<usize>,
    /// Since when a service has been as it is, in milliseconds since 1970, where that is not well.
    #[serde(skip)]
    pub since: Option<i64>,
}

/// Everything, as `GET /health` answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How well the whole is.
    pub status: Health,
    /// When it was judged, in milliseconds since 1970.
    pub at: i64,
    /// By what and name: `services`, `servers` (NATS and PostgreSQL), `systems`, and `streams` that must be read on and on.
    pub components: BTreeMap<&'static str, BTreeMap<String, Component>>,
}

/// By what it is judged.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The services that must be there.
    pub expect: Vec<String>,
    /// A service that was silent for longer is down.
    pub silent_ms: u64,
    /// A system that did not answer for longer is in doubt.
    pub stale_ms: u64,
}

/// All that was seen.
#[derive(Debug, Default)]
pub struct Seen {
    services: BTreeMap<String, BTreeMap<String, Sign>>,
    /// When the last instance of a service left.
    left: BTreeMap<String, i64>,
    /// When it was judged for the first time.
    began: Option<i64>,
    systems: BTreeMap<String, System>,
    servers: BTreeMap<&'static str, Result<(), String>>,
    /// When NATS, which carries the signs of life, last did not answer.
    blind: Option<i64>,
    readers: BTreeMap<(&'static str, String), Reader>,
}

/// How far somebody who reads a stream has come.
#[derive(Debug)]
struct Reader {
    acked: u64,
    /// The same of what it was given, where that counts.
    given: u64,
    /// How much waits for it.
    behind: u64,
    /// Since when it has come no further, though something waits.
    since: i64,
}

#[derive(Debug)]
struct Sign {
    /// By the monitor's own clock: other machines' may differ.
    at: i64,
    ready: bool,
    reason: String,
    /// Since when it has been ready, or not.
    since: i64,
}

/// What is known of a system.
#[derive(Debug)]
struct System {
    /// When it was first named.
    since: i64,
    /// When a call to it last succeeded; 0 for never.
    succeeded: i64,
    /// Why one did not, after that.
    failing: Option<Failing>,
}

/// That calls to a system fail.
#[derive(Debug)]
struct Failing {
    why: String,
    /// When that was heard first, and last.
    since: i64,
    heard: i64,
}

impl Reader {
    fn at(lag: &Lag, now: i64) -> Self {
        // A webhook that waits for a limit was read and comes again later. It keeps what is acknowledged where it is, and waits for nobody.
        let (given, behind) = if lag.stream == Stream::Webhooks.spec().name {
            (lag.given, lag.pending)
        } else {
            (0, lag.pending.saturating_add(lag.ack_pending))
        };
        Self { acked: lag.acked, given, behind, since: now }
    }

    /// Whether it has come no further by then, though something waits.
    fn stands(&self, later: &Self) -> bool {
        (self.acked, self.given) == (later.acked, later.given) && self.behind > 0 && later.behind > 0
    }
}

impl Failing {
    /// Who said so last may have nothing more to say.
    fn is_heard(&self, now: i64) -> bool {
        !is_over(self.heard, FAILING_MS, now)
    }

    /// That nothing was heard since may mean that nobody called it: what was heard counts, not what time it is.
    fn lasts(&self, most_ms: u64) -> bool {
        is_over(self.since, most_ms, self.heard)
    }
}

/// How long a system may take to answer for the first time.
const FIRST_MS: u64 = 60_000;
/// How long a call to a system may fail, and each after it, before the system is in doubt. Of a single one is told for less.
const FAILING_MS: u64 = 60_000;
/// How long a reader may come no further while something waits for it. A batch is tried for less.
const STALLED_MS: u64 = 60_000;
/// The streams of which something is read as soon as it is there, whatever systems do; and how the whole is without one's readers.
const READ_ON: [(&str, Health); 2] =
    [(Stream::Observations.spec().name, Health::Unhealthy), (Stream::Webhooks.spec().name, Health::Degraded)];
/// A silent instance is forgotten after this many times the limit, if it was not its service's last: its successor is there. What was
/// scaled away said so.
const FORGOTTEN: i64 = 60;
/// How many names are kept of each: signs of life come from whoever can publish.
const NAMES_MAX: usize = 1_000;

impl Seen {
    /// Notes a sign of life.
    pub fn sign(&mut self, heartbeat: v1::Heartbeat, now: i64) {
        let mut failing = heartbeat.failing;
        for (name, at) in heartbeat.last_success {
            if self.systems.len() < NAMES_MAX || self.systems.contains_key(&name) {
                let why = failing.remove(&name);
                let system = self.systems.entry(name).or_insert(System { since: now, succeeded: 0, failing: None });
                // A clock that runs ahead must not make a system look well for longer.
                let at = at.min(now);
                if at > system.succeeded {
                    (system.succeeded, system.failing) = (at, None);
                }
                let before = system.failing.take().filter(|before| before.is_heard(now));
                let since = before.as_ref().map_or(now, |before| before.since);
                system.failing = why.map(|why| Failing { why, since, heard: now }).or(before);
            }
        }
        if heartbeat.leaving {
            return self.leave(heartbeat.service, &heartbeat.instance, now);
        }
        if self.services.len() >= NAMES_MAX && !self.services.contains_key(&heartbeat.service) {
            return;
        }
        self.left.remove(&heartbeat.service);
        let instances = self.services.entry(heartbeat.service).or_default();
        if instances.len() < NAMES_MAX || instances.contains_key(&heartbeat.instance) {
            let ready = heartbeat.ready;
            let before = instances.get(&heartbeat.instance).filter(|before| before.ready == ready);
            let since = before.map_or(now, |before| before.since);
            instances.insert(heartbeat.instance, Sign { at: now, ready, reason: heartbeat.reason, since });
        }
    }

    fn leave(&mut self, service: String, instance: &str, now: i64) {
        let Some(instances) = self.services.get_mut(&service) else { return };
        instances.remove(instance);
        if instances.is_empty() {
            self.services.remove(&service);
            if self.left.len() < NAMES_MAX || self.left.contains_key(&service) {
                self.left.insert(service, now);
            }
        }
    }

    /// Notes whether a server answered.
    pub fn probed(&mut self, server: &'static str, answer: Result<(), String>, now: i64) {
        if server == "nats" && answer.is_err() {
            self.blind = Some(now);
        }
        self.servers.insert(server, answer);
    }

    /// Notes how far all readers have come.
    pub fn read(&mut self, lags: &[Lag], now: i64) {
        let mut before = std::mem::take(&mut self.readers);
        for lag in lags {
            let name = (lag.stream, lag.consumer.clone());
            let reader = Reader::at(lag, now);
            let since = before.remove(&name).filter(|before| before.stands(&reader)).map_or(now, |before| before.since);
            self.readers.insert(name, Reader { since, ..reader });
        }
    }

    /// Judges everything at `now`, and forgets what is long gone.
    pub fn judge(&mut self, limits: &Limits, now: i64) -> Report {
        let silent = i64::try_from(limits.silent_ms).unwrap_or(i64::MAX);
        let began = *self.began.get_or_insert(now);
        for instances in self.services.values_mut() {
            let last = instances.values().map(|sign| sign.at).max();
            instances.retain(|_, sign| Some(sign.at) == last || now - sign.at <= silent.saturating_mul(FORGOTTEN));
        }
        let mut services: BTreeMap<String, Component> =
            self.services.iter().map(|(name, instances)| (name.clone(), service(instances, now, silent))).collect();
        for name in &limits.expect {
            services.entry(name.clone()).or_insert_with(|| {
                let left = self.left.get(name);
                let why = if left.is_some() { "it was stopped" } else { "no sign of life yet" };
                let since = Some(*left.unwrap_or(&began));
                // A restart takes a while, and is nothing that anybody must look at.
                let restarts = left.is_some_and(|left| now - left <= silent);
                let status = if restarts { Health::Degraded } else { Health::Unhealthy };
                Component { instances: Some(0), since, ..wrong(status, why, None) }
            });
        }
        // Whoever is silent may live: nobody is heard while NATS is away, and each takes a moment to be heard again.
        if self.blind.is_some_and(|blind| now - blind <= silent) {
            let silent = services
                .iter_mut()
                .filter(|(name, service)| service.instances == Some(0) && !self.left.contains_key(*name));
            for (_, service) in silent {
                let unseen = wrong(
                    Health::Degraded,
                    "not known: NATS, which carries the signs of life, is away",
                    service.age_ms,
                );
                *service = Component { instances: None, ..unseen };
            }
        }
        let servers: BTreeMap<String, Component> = ["nats", "postgres"]
            .into_iter()
            .map(|name| {
                let component = match self.servers.get(name) {
                    Some(Ok(())) => well(None),
                    Some(Err(reason)) => wrong(Health::Unhealthy, reason, None),
                    None => wrong(Health::Degraded, "not looked at yet", None),
                };
                (name.to_owned(), component)
            })
            .collect();
        let systems: BTreeMap<String, Component> =
            self.systems.iter().map(|(name, seen)| (name.clone(), system(name, seen, limits.stale_ms, now))).collect();
        let streams: BTreeMap<String, Component> =
            READ_ON.iter().map(|(name, worst)| ((*name).to_owned(), self.stream(name, *worst, now))).collect();
        let must =
            services.iter().filter(|(name, _)| limits.expect.contains(name)).map(|(_, component)| component.status);
        let must = must.chain(servers.values().chain(streams.values()).map(|component| component.status)).max();
        // Work goes on without one connector, or one system: that is not the end of the whole.
        let may =
            services.values().chain(systems.values()).map(|component| component.status.min(Health::Degraded)).max();
        Report {
            status: must.max(may).unwrap_or(Health::Healthy),
            at: now,
            components: BTreeMap::from([
                ("services", services),
                ("servers", servers),
                ("systems", systems),
                ("streams", streams),
            ]),
        }
    }

    /// A stream is as well as its worst reader.
    fn stream(&self, name: &str, worst: Health, now: i64) -> Component {
        let readers = self.readers.iter().filter(|((stream, _), reader)| *stream == name && reader.behind > 0);
        let standing = readers.filter(|(_, reader)| is_over(reader.since, STALLED_MS, now));
        match standing.min_by_key(|(_, reader)| reader.since) {
            None => well(None),
            Some(((_, consumer), reader)) => {
                let (stood, behind) = ((now - reader.since) / 1_000, reader.behind);
                wrong(worst, format!("{consumer} has read nothing for {stood} s, and {behind} messages wait"), None)
            }
        }
    }
}

fn well(age_ms: Option<i64>) -> Component {
    Component { status: Health::Healthy, reason: None, age_ms, instances: None, since: None }
}

fn wrong(status: Health, reason: impl Into<String>, age_ms: Option<i64>) -> Component {
    Component { status, reason: Some(reason.into()), age_ms, instances: None, since: None }
}

/// A service is as well as its best instance.
fn service(instances: &BTreeMap<String, Sign>, now: i64, silent: i64) -> Component {
    let alive: Vec<&Sign> = instances.values().filter(|sign| now - sign.at <= silent).collect();
    let last = instances.values().map(|sign| sign.at).max();
    let age = last.map(|last| now - last);
    let (judged, since) = match (alive.iter().find(|sign| sign.ready), alive.iter().min_by_key(|sign| sign.since)) {
        (Some(_), _) => (well(age), None),
        (None, Some(sign)) => (wrong(Health::Degraded, format!("not ready: {}", sign.reason), age), Some(sign.since)),
        (None, None) => (wrong(Health::Unhealthy, "no sign of life any more", age), last),
    };
    Component { instances: Some(alive.len()), since, ..judged }
}

fn is_over(since: i64, most_ms: u64, now: i64) -> bool {
    u64::try_from(now - since).unwrap_or(0) > most_ms
}

fn system(name: &str, seen: &System, stale_ms: u64, now: i64) -> Component {
    let failing = seen.failing.as_ref().filter(|failing| failing.is_heard(now));
    let is_webhooks = name.starts_with(WEBHOOKS_OF);
    // Who takes webhooks has judged already whether they are refused for long.
    let fails_for_long = failing.is_some_and(|failing| is_webhooks || failing.lasts(stale_ms.min(FAILING_MS)));
    let failing = failing.map(|failing| &failing.why);
    let because = |what: &str| match failing {
        Some(why) if is_webhooks => format!("refused: {why}"),
        Some(why) => format!("{what}: {why}"),
        None => what.to_owned(),
    };
    // A stream may be quiet, and so may who sends webhooks.
    if !fails_for_long && (is_webhooks || name.starts_with(AS_SYSTEM)) {
        return well((seen.succeeded > 0).then_some(now - seen.succeeded));
    }
    if seen.succeeded == 0 {
        let is_late = fails_for_long || is_over(seen.since, stale_ms.min(FIRST_MS), now);
        let status = if is_late { Health::Degraded } else { Health::Healthy };
        return wrong(status, because("no call to it has succeeded yet"), None);
    }
    let age = Some(now - seen.succeeded);
    if is_over(seen.succeeded, stale_ms, now) {
        wrong(Health::Degraded, because("no call to it succeeded for a while"), age)
    } else if fails_for_long {
        wrong(Health::Degraded, because("calls to it fail"), age)
    } else {
        well(age)
    }
}

#[cfg(test)]
mod tests;

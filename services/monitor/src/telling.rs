//! Tells whoever watches what the monitor judges: alerts as `system_alert`, levels of health as `health_changed`.
//!
//! What is due is decided purely, by what is open and what was told. Alerts that were told are read from the bus: they are then known to
//! the next monitor, and to another beside this one.

use std::collections::{BTreeMap, BTreeSet};

use bus::{Outgoing, PublishError, Received, Stream, topology};
use model::Timestamp;
use proto::v1;
use tokio::time::timeout;

use crate::Monitor;
use crate::alerts::{self, Alert, Severity, Stored};
use crate::health::{Health, Report};

/// What the ids of our alerts begin with.
const OURS: &str = "lockstep:";
/// Who has seen to an alert that is over: its cause is gone.
const BY: &str = "monitor";
/// How many alerts are known, and how many are told at once: the others have their turn at the next look.
const KNOWN_MAX: usize = 2_000;
const AT_ONCE: usize = 100;
/// How long an id may be, in bytes.
const ID_MAX: usize = 256;
/// How long after the start what is not seen yet is neither told as ill nor, as an alert, as over.
const SETTLES_MS: i64 = 120_000;
/// How often the words of an open alert are told anew where they are others.
const WORDS_MS: i64 = 600_000;
/// How often an open alert and a level are told again: a stream keeps neither for ever.
const ALERT_AGAIN_MS: i64 = 24 * 3_600_000;
const HEALTH_AGAIN_MS: i64 = 300_000;

/// An alert as the bus has it.
#[derive(Debug, Clone)]
pub struct Kept {
    sequence: u64,
    alert: v1::SystemAlert,
}

/// By severity and id what was told of our alerts, and which of them were open while this monitor ran.
#[derive(Debug, Default)]
pub struct Told {
    kept: BTreeMap<(String, String), Kept>,
    open: BTreeSet<(String, String)>,
    health: BTreeMap<String, (Health, i64)>,
    began: Option<i64>,
    /// Since when it is not known which alerts are open.
    blind: Option<i64>,
}

impl Told {
    /// Notes whether it could be seen which alerts are open. Whether it could not for so long that somebody must know.
    fn looked(&mut self, is_seen: bool, now: i64) -> bool {
        let since = if is_seen { None } else { Some(self.blind.unwrap_or(now)) };
        self.blind = since;
        since.is_some_and(|since| now - since > alerts::LASTING_MS)
    }

    /// Notes an alert that the bus has, if it is one of ours.
    pub fn keep(&mut self, sequence: u64, alert: v1::SystemAlert) {
        let name = (alert.severity.clone(), alert.id.clone());
        let is_known = self.kept.contains_key(&name);
        if !alert.id.starts_with(OURS) || (self.kept.len() >= KNOWN_MAX && !is_known) {
            return;
        }
        if self.kept.get(&name).is_none_or(|before| before.sequence < sequence) {
            self.kept.insert(name, Kept { sequence, alert });
        }
    }

    /// Notes what the bus has of an alert, whatever was known of it: a stream throws away what is old, and may be made anew.
    fn find(&mut self, about: &v1::SystemAlert, found: Option<(u64, v1::SystemAlert)>) {
        self.kept.remove(&(about.severity.clone(), about.id.clone()));
        if let Some((sequence, alert)) = found {
            self.keep(sequence, alert);
        }
    }

    /// The alerts to tell, each with the sequence of the one whose place it takes. Where not all that are open are known, none is over.
    fn alerts(&mut self, open: &[Alert], is_whole: bool, now: i64) -> Vec<(v1::SystemAlert, Option<u64>)> {
        let began = *self.began.get_or_insert(now);
        let raised: BTreeMap<_, _> = open
            .iter()
            .map(|alert| told(alert, now))
            .filter(|alert| alert.id.len() <= ID_MAX)
            .map(|alert| ((alert.severity.clone(), alert.id.clone()), alert))
            .collect();
        let over: Vec<_> = self
            .kept
            .iter()
            .filter(|(name, kept)| is_whole && !kept.alert.is_over() && !raised.contains_key(*name))
            .filter(|(name, _)| self.open.contains(*name) || now - began > SETTLES_MS)
            .map(|(_, kept)| (cleared(&kept.alert, now), Some(kept.sequence)))
            .collect();
        if is_whole {
            self.open.clear();
        }
        self.open.extend(raised.keys().cloned());
        let due = |name: &(String, String), alert: &v1::SystemAlert| {
            self.kept.get(name).is_none_or(|kept| {
                let (age, is_seen) = (now - kept.alert.at, !kept.alert.acknowledged_by.is_empty());
                let says_more = kept.alert.message != alert.message && age > WORDS_MS;
                kept.alert.is_over() || (says_more && !is_seen) || age > ALERT_AGAIN_MS
            })
        };
        let raised = raised.into_iter().filter(|(name, alert)| due(name, alert)).map(|(name, mut alert)| {
            let kept = self.kept.get(&name);
            // Told again, so that it is kept, one that somebody has seen to stays so.
            if let Some(seen) = kept.filter(|kept| !kept.alert.is_over()) {
                alert.acknowledged_by.clone_from(&seen.alert.acknowledged_by);
                alert.acknowledged_at = seen.alert.acknowledged_at;
            }
            (alert, kept.map(|kept| kept.sequence))
        });
        over.into_iter().chain(raised).take(AT_ONCE).collect()
    }

    /// The levels to tell.
    fn health(&mut self, report: &Report) -> Vec<v1::HealthChanged> {
        let now = report.at;
        let began = *self.began.get_or_insert(now);
        let whole = [("lockstep".to_owned(), report.status, None)];
        let parts = report.components.iter().flat_map(|(kind, parts)| {
            let kind = kind.strip_suffix('s').unwrap_or(kind);
            parts.iter().map(move |(name, part)| (format!("{kind}/{name}"), part.status, part.reason.clone()))
        });
        let mut due = Vec::new();
        for (target, level, reason) in whole.into_iter().chain(parts).filter(|(target, ..)| target.len() <= ID_MAX) {
            let before = self.health.get(&target);
            let is_due = match before {
                Some((known, at)) => *known != level || now - at > HEALTH_AGAIN_MS,
                None => level == Health::Healthy || now - began > SETTLES_MS,
            };
            if is_due && due.len() < AT_ONCE {
                let previous = before.map(|(known, _)| word(*known).to_owned()).unwrap_or_default();
                let health = word(level).to_owned();
                due.push(v1::HealthChanged { target, health, previous, reason: reason.unwrap_or_default(), at: now });
            }
        }
        // Names come from whoever can publish.
        self.health.retain(|target, _| {
            let (kind, name) = target.split_once('/').unwrap_or((target, ""));
            let parts = report.components.iter().find(|(parts, _)| parts.strip_suffix('s').unwrap_or(parts) == kind);
            name.is_empty() || parts.is_some_and(|(_, parts)| parts.contains_key(name))
        });
        due
    }

    /// Notes that a level was told.
    fn has_told(&mut self, health: &v1::HealthChanged) {
        let level =
            [Health::Healthy, Health::Degraded, Health::Unhealthy].into_iter().find(|one| word(*one) == health.health);
        if let Some(level) = level {
            self.health.insert(health.target.clone(), (level, health.at));
        }
    }
}

fn word(health: Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Degraded => "degraded",
        Health::Unhealthy => "unhealthy",
    }
}

/// An alert as watchers are told of it.
fn told(alert: &Alert, now: i64) -> v1::SystemAlert {
    let severity = match alert.severity {
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    };
    let about = alert.held.as_ref().map_or_else(|| alert.component.clone(), |held| held.conflict.to_string());
    let mut metadata = BTreeMap::from([("code".to_owned(), alert.code.to_owned())]);
    metadata.extend(alert.held.as_ref().map(|held| ("item".to_owned(), held.item.to_string())));
    let mut told = v1::SystemAlert {
        id: format!("{OURS}{}:{about}", alert.code),
        severity: severity.to_owned(),
        component: cut(&alert.component, ID_MAX),
        message: cut(&alert.message, 4_000),
        action: cut(&alert.action, 4_000),
        at: now,
        metadata,
        ..v1::SystemAlert::default()
    };
    told.set_over(false);
    told
}

/// The same once its cause is gone.
fn cleared(alert: &v1::SystemAlert, now: i64) -> v1::SystemAlert {
    let mut over = alert.clone();
    over.set_over(true);
    v1::SystemAlert { at: now, acknowledged_by: BY.to_owned(), acknowledged_at: now, ..over }
}

/// The beginning of a text, at most so many bytes.
fn cut(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}

impl Monitor {
    /// Notes the alerts that the bus has.
    pub(crate) fn alerts_told(&self, batch: &[Received]) {
        for message in batch {
            // What is no alert is nobody's of ours.
            if let Ok(alert) = message.decode::<v1::SystemAlert>() {
                self.told().keep(message.sequence, alert);
            }
        }
    }

    /// Tells what is due, alerts and levels by one judgement. What is not stored now is due again at the next look.
    pub(crate) async fn tell(&self) {
        let stored = self.stored().await;
        let report = self.judge();
        let is_blind = self.told().looked(stored.is_ok(), report.at);
        let (open, is_whole) = match &stored {
            Ok(stored) => (self.opened(stored, &report), true),
            // What services say of themselves is known all the same.
            Err(why) => {
                let open = alerts::open(&Stored::default(), &report);
                (if is_blind { alerts::as_of(Timestamp(report.at), &open, why) } else { open }, false)
            }
        };
        self.in_time(self.tell_alerts(&open, is_whole, report.at)).await;
        self.in_time(self.tell_health(&report)).await;
    }

    async fn in_time(&self, telling: impl Future<Output = Result<(), PublishError>>) {
        let wait = self.0.config.probe_wait();
        match timeout(wait, telling).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "not all that is due was told"),
            Err(_) => tracing::debug!(wait_ms = wait.as_millis(), "not all that is due was told in time"),
        }
    }

    async fn tell_health(&self, report: &Report) -> Result<(), PublishError> {
        let due = self.told().health(report);
        for health in due {
            let id = format!("{BY}:{}:{}:{}", self.0.process.instance(), health.target, health.at);
            let outgoing = Outgoing::live("health_changed", &health.target, id, proto::encode(&health));
            self.0.bus.publish(outgoing).await?;
            self.told().has_told(&health);
        }
        Ok(())
    }

    async fn tell_alerts(&self, open: &[Alert], is_whole: bool, now: i64) -> Result<(), PublishError> {
        let due = self.told().alerts(open, is_whole, now);
        for (alert, after) in due {
            let id = format!("{BY}:{}:{}:{}", alert.severity, alert.id, alert.at);
            let subject = topology::alert(&alert.severity, &alert.id);
            let outgoing = Outgoing::alert(&alert.severity, &alert.id, id, proto::encode(&alert));
            let outgoing = if let Some(sequence) = after {
                outgoing.only_after(sequence)
            } else {
                // Of what is not known the bus may have something: an alert that was acknowledged before this monitor began.
                if let Ok(Some(kept)) = self.0.bus.last_message(Stream::Alerts, &subject).await {
                    self.alerts_told(&[kept]);
                    continue;
                }
                outgoing
            };
            match self.0.bus.publish(outgoing).await {
                Ok(sequence) => self.told().keep(sequence, alert),
                // Somebody acknowledged it just now, another monitor was faster, or what was kept is gone: it is judged again by what is there.
                Err(PublishError::Overtaken { .. }) => {
                    if let Ok(found) = self.0.bus.last_message(Stream::Alerts, &subject).await {
                        let found = found.and_then(|kept| Some((kept.sequence, kept.decode().ok()?)));
                        self.told().find(&alert, found);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

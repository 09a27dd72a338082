//! Judges how far one stored status has spread: which records show it, as their systems confirmed. Pure.
//!
//! Three sources tell: events, which come at once; the item as `GET /v1/items` shows it, which is complete; and of a status that
//! changed nothing the item's history.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Stored;
use crate::{Change, Delivery, Item, Message, Record};

/// How many deliveries that came before the change they belong to are kept.
const EARLY_MAX: usize = 1_000;
/// The step of a record that shows what no mapping knows.
const UNMAPPED: &str = "unmapped";
/// Why a change is told to the record itself as well: it was asked for what it does not show yet.
const ASKED: [&str; 2] = ["asked", "already_there"];
/// Lines that tell which records belong to the item, not what became of a status.
const TIES: [&str; 2] = ["linked", "unlinked"];

/// What became of a status, or of the write to one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its system confirmed that it shows the status.
    Applied,
    /// Nothing had to be written: it showed it already.
    Unchanged,
    /// An edit that is newer, or that wins, counts instead.
    Superseded,
    /// A newer version of the item came to the record first.
    Overtaken,
    /// Refused for good.
    Rejected,
    /// All attempts were used up.
    Failed,
    /// It cannot be told: `read_only`, `as_close`, `unmapped` or `deleted`.
    NotTold,
    /// None of these yet.
    Pending,
}

/// How one record stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecordOutcome {
    /// `system/kind/id`.
    pub record: String,
    /// What the write came to.
    pub outcome: Outcome,
    /// Why, in words; empty where there is nothing to say.
    pub reason: String,
}

/// How one status stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StatusOutcome {
    /// The record that it was said of.
    pub record: String,
    /// The status's id.
    pub id: String,
    /// Whether the item took it: `applied`, or what came of it instead.
    pub outcome: Outcome,
    /// Why, in words; empty where there is nothing to say.
    pub reason: String,
    /// The item, once it is known.
    pub item: Option<String>,
    /// The version that has the status, once it is known.
    pub version: Option<u64>,
    /// The item's other records; and this one, where it was asked for what its system has to be told like theirs.
    pub records: Vec<RecordOutcome>,
}

impl StatusOutcome {
    /// Whether the item took the status, had it, or lets it change nothing, and each record that can be told shows it.
    pub fn is_complete(&self) -> bool {
        use Outcome::{Applied, NotTold, Unchanged};
        let own = matches!(self.outcome, Applied | Unchanged);
        own && self.records.iter().all(|record| matches!(record.outcome, Applied | Unchanged | NotTold))
    }

    /// Whether nothing more is to come.
    pub fn is_settled(&self) -> bool {
        self.outcome != Outcome::Pending && self.records.iter().all(|record| record.outcome != Outcome::Pending)
    }
}

/// One line of an item's history.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HistoryLine {
    pub(crate) kind: String,
    pub(crate) reason: String,
    pub(crate) record: String,
    pub(crate) native: String,
    pub(crate) version: u64,
    pub(crate) conflict: Option<String>,
    pub(crate) cause: Cause,
}

/// What caused a line.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Cause {
    pub(crate) sequence: u64,
}

type Verdict = (Outcome, String);

/// One stored status.
#[derive(Debug)]
pub(crate) struct Spread {
    stored: Stored,
    told: StatusOutcome,
    /// Records that the item showed in step while no delivery had told why.
    quiet: BTreeSet<String>,
    /// What was delivered before the item was known, oldest first.
    early: Vec<Delivery>,
}

impl Spread {
    pub(crate) fn new(stored: Stored) -> Self {
        let told = StatusOutcome {
            record: stored.record.clone(),
            id: stored.id.clone(),
            outcome: Outcome::Pending,
            reason: "its turn has not come".into(),
            item: None,
            version: None,
            records: Vec::new(),
        };
        Self { stored, told, quiet: BTreeSet::new(), early: Vec::new() }
    }

    /// The record that the status was said of.
    pub(crate) fn record(&self) -> &str {
        &self.stored.record
    }

    /// Its place on the stream of observations.
    pub(crate) fn sequence(&self) -> u64 {
        self.stored.sequence
    }

    /// The item, once it is known.
    pub(crate) fn item(&self) -> Option<&str> {
        self.told.item.as_deref()
    }

    /// Whether nothing is pending any more.
    pub(crate) fn is_settled(&self) -> bool {
        self.told.is_settled()
    }

    pub(crate) fn outcome(&self) -> StatusOutcome {
        self.told.clone()
    }

    /// Something was told.
    pub(crate) fn hear(&mut self, message: &Message) {
        match message {
            Message::StatusChanged(change) if change.cause == self.stored.sequence => self.changed(change),
            Message::ConflictOpened(change) if change.cause == self.stored.sequence => {
                self.told.item = Some(change.item.clone());
                self.own((Outcome::Pending, format!("held: conflict {}", change.conflict)));
            }
            Message::Linked(change) | Message::Unlinked(change) | Message::ConflictResolved(change)
                if change.cause == self.stored.sequence =>
            {
                self.told.item = Some(change.item.clone());
            }
            Message::Delivery(delivery) => self.delivered(delivery),
            _ => {}
        }
    }

    fn changed(&mut self, change: &Change) {
        self.told.item = Some(change.item.clone());
        self.told.version = Some(change.version);
        self.own(if change.record != self.stored.record {
            // In a conflict that is decided at once, the change can be to what another record says.
            (Outcome::Superseded, format!("{} wins: {}", change.record, change.reason))
        } else if change.reason == "first_seen" {
            // Of a record's first status the item tells whether any mapping knows it.
            (Outcome::Pending, String::new())
        } else {
            (Outcome::Applied, String::new())
        });
        if ASKED.contains(&change.reason.as_str()) {
            self.awaits(&self.stored.record.clone());
        }
        for record in &change.records {
            if *record != self.stored.record {
                self.awaits(record);
            }
        }
        self.early_count();
    }

    fn delivered(&mut self, delivery: &Delivery) {
        let Some(version) = self.told.version else {
            if self.early.len() < EARLY_MAX {
                self.early.push(delivery.clone());
            }
            return;
        };
        let is_concerned = delivery.record != self.stored.record || self.known(&delivery.record).is_some();
        if self.told.item.as_ref() != Some(&delivery.item) || delivery.version < version || !is_concerned {
            return;
        }
        let known = self.known(&delivery.record).unwrap_or(Outcome::Pending);
        if known == Outcome::Applied {
            return;
        }
        if delivery.version == version {
            if let Some(verdict) = delivery_verdict(delivery) {
                self.set(&delivery.record, verdict);
            }
        } else if let Some(verdict) = newer_verdict(delivery, known) {
            self.set(&delivery.record, verdict);
        }
    }

    /// Whether the item has taken the status, and no change told of it: its history says what came of it.
    pub(crate) fn is_unexplained(&self, item: &Item) -> bool {
        self.told.outcome == Outcome::Pending && self.is_taken(item)
    }

    /// The item as it stands now, read after the status was stored, and the newest lines of its history where they are asked for.
    pub(crate) fn stands(&mut self, item: &Item, history: &[HistoryLine]) {
        let Some(own) = item.records.iter().find(|shown| shown.record == self.stored.record) else { return };
        if !self.is_taken(item) {
            return;
        }
        self.told.item = Some(item.id.clone());
        let line = history.iter().find(|line| {
            let ours = line.cause.sequence == self.stored.sequence && line.record == self.stored.record;
            ours && !TIES.contains(&line.kind.as_str())
        });
        // No change told of it: it changed nothing, or something that is lost in time. The version now has what came of it.
        let changed = line.filter(|line| line.kind == "changed").map(|line| line.version);
        let version = *self.told.version.get_or_insert(changed.unwrap_or(item.version));
        if self.told.outcome == Outcome::Pending {
            let verdict = line.and_then(line_verdict).unwrap_or_else(|| own_verdict(own, &self.stored.status));
            self.own(verdict);
        }
        // Be it its first, which makes an item all the same.
        if own.step == UNMAPPED && own.native == self.stored.status {
            self.own(rejected(&self.stored.status));
        }
        if line.is_some_and(|line| ASKED.contains(&line.reason.as_str())) {
            self.awaits(&self.stored.record.clone());
        }
        self.early_count();
        for record in &item.records {
            let known = self.known(&record.record);
            let is_own = record.record == self.stored.record && known.is_none();
            if is_own || known.is_some_and(|known| known != Outcome::Pending) {
                continue;
            }
            // The delivery's own word may be on its way to us: it gets one more look to arrive.
            let early = record.step == "in_step" && self.quiet.insert(record.record.clone());
            let pending = (Outcome::Pending, String::new());
            let verdict = if early { pending } else { step_verdict(record, item.version, version) };
            self.set(&record.record, verdict);
        }
    }

    /// No record of this name is known.
    pub(crate) fn unseen(&mut self) {
        if self.told.outcome == Outcome::Pending && self.told.item.is_none() {
            let why = "no record of this name was seen yet; what is asked of one that its system does not have is a dead letter";
            self.own((Outcome::Pending, why.into()));
        }
    }

    fn own(&mut self, (outcome, reason): Verdict) {
        (self.told.outcome, self.told.reason) = (outcome, reason);
    }

    fn known(&self, record: &str) -> Option<Outcome> {
        self.told.records.iter().find(|known| known.record == record).map(|known| known.outcome)
    }

    fn awaits(&mut self, record: &str) {
        if self.known(record).is_none() {
            self.set(record, (Outcome::Pending, String::new()));
        }
    }

    fn set(&mut self, record: &str, (outcome, reason): Verdict) {
        let outcome = RecordOutcome { record: record.to_owned(), outcome, reason };
        match self.told.records.iter_mut().find(|known| known.record == record) {
            Some(known) => *known = outcome,
            None => self.told.records.push(outcome),
        }
    }

    fn early_count(&mut self) {
        for delivery in std::mem::take(&mut self.early) {
            self.delivered(&delivery);
        }
    }

    fn is_taken(&self, item: &Item) -> bool {
        let own = item.records.iter().find(|shown| shown.record == self.stored.record);
        let taken = own.and_then(|own| own.taken.get(&self.stored.lane)).copied().unwrap_or_default();
        self.told.version.is_some() || taken >= self.stored.sequence
    }
}

/// What a delivery of the status's own version says; nothing where a newer command of the same version will.
fn delivery_verdict(delivery: &Delivery) -> Option<Verdict> {
    let outcome = match delivery.outcome.as_str() {
        "overtaken" => return None,
        "applied" => Outcome::Applied,
        "unchanged" => Outcome::Unchanged,
        "superseded" => Outcome::Superseded,
        "rejected" => Outcome::Rejected,
        "failed" => Outcome::Failed,
        newer => return Some((Outcome::Pending, format!("{newer}: {}", delivery.reason))),
    };
    Some((outcome, delivery.reason.clone()))
}

/// What a delivery of a newer version says of a record of which this is known: with the newer one nothing else is told of ours, and
/// what came of ours before stays what came of it.
fn newer_verdict(delivery: &Delivery, known: Outcome) -> Option<Verdict> {
    let version = delivery.version;
    match (delivery_verdict(delivery)?, known) {
        ((Outcome::Applied | Outcome::Unchanged, _), Outcome::Pending | Outcome::NotTold) => Some(overtaken(version)),
        ((outcome, reason), Outcome::Pending) => {
            Some((outcome, format!("version {version} of the item, which is newer, was to be told instead: {reason}")))
        }
        _ => None,
    }
}

fn overtaken(version: u64) -> Verdict {
    (Outcome::Overtaken, format!("version {version} of the item, which is newer, came first"))
}

/// What the step of another record says, of an item that has a version by now; `version` is the status's own.
fn step_verdict(record: &Record, now: u64, version: u64) -> Verdict {
    match record.step.as_str() {
        "in_step" if now > version => overtaken(now),
        "in_step" => (Outcome::Unchanged, String::new()),
        "as_close" | "read_only" | "unmapped" | "deleted" => (Outcome::NotTold, record.step.clone()),
        "failed" => (Outcome::Failed, record.last_error.clone().unwrap_or_default()),
        "pending" => (Outcome::Pending, String::new()),
        other => (Outcome::Pending, other.to_owned()),
    }
}

fn rejected(status: &str) -> Verdict {
    (Outcome::Rejected, format!("no mapping knows {status:?}"))
}

/// What a line of the item's history says of the status that caused it.
fn line_verdict(line: &HistoryLine) -> Option<Verdict> {
    let reason = line.reason.clone();
    Some(match line.kind.as_str() {
        "changed" => (Outcome::Applied, String::new()),
        "ignored" | "folded" => (Outcome::Unchanged, reason),
        "stale" | "lost" => (Outcome::Superseded, reason),
        "unmapped" if reason == "unmapped_status" => rejected(&line.native),
        "unmapped" | "refused" | "invalid" => (Outcome::Rejected, reason),
        "candidate" => (Outcome::Pending, format!("held: conflict {}", line.conflict.as_deref().unwrap_or_default())),
        _ => return None,
    })
}

/// What became of the status at its own record, where neither a change nor the history told it.
fn own_verdict(own: &Record, status: &str) -> Verdict {
    match own.step.as_str() {
        "held" => (Outcome::Pending, "held".into()),
        UNMAPPED => rejected(status),
        _ if own.native != status => (Outcome::Superseded, format!("it shows {:?} since", own.native)),
        "pending" => (Outcome::Superseded, format!("it is told {:?}", own.want.as_deref().unwrap_or_default())),
        // So it is of a status that tied its record to the item: that alone moves nothing.
        "read_only" => {
            let want = own.want.as_deref().unwrap_or_default();
            (Outcome::Superseded, format!("its item stays what it is, which would be {want:?} here"))
        }
        _ => (Outcome::Unchanged, String::new()),
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Superseded => "superseded",
            Self::Overtaken => "overtaken",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::NotTold => "not_told",
            Self::Pending => "pending",
        })
    }
}

#[cfg(test)]
mod tests;

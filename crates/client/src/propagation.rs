//! What a status that was stored came to in the other records of its item. [`Propagation`] is pure: it is told what was heard.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout_at};

use crate::{Accepted, Change, Client, Delivery, Error, Item, Message, Snapshot, Status, Watch};

/// How many deliveries that came before the change they belong to are kept.
const EARLY_MAX: usize = 1_000;
/// How often the history is asked, while no change was heard, whether there is none to come.
const LOOK: Duration = Duration::from_secs(1);
/// Why an item changed: a record of a system was asked for it through the API.
const ASKED: &str = "asked";
/// Why an item changed: a record's first status made it.
const FIRST_SEEN: &str = "first_seen";
/// The step of a record whose status no mapping knows, and the word of the history for that.
const UNMAPPED: &str = "unmapped";
/// How many of an item's newest edits are looked at.
const LINES: u32 = 50;

/// What the write to one record came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its system confirmed the write.
    Applied,
    /// It showed what it should already.
    Unchanged,
    /// Somebody edited the record meanwhile, and that counts.
    Superseded,
    /// A newer command for the record came first.
    Overtaken,
    /// Its system refused.
    Rejected,
    /// It could not be done.
    Failed,
    /// It cannot be told this status: the reason is its step, such as `read_only` or `unmapped`.
    NotTold,
    /// Nothing is known yet.
    Pending,
}

/// One record of the item, other than the one whose status it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordReport {
    /// `system/kind/id`.
    pub record: String,
    /// What the write came to.
    pub outcome: Outcome,
    /// What it shows, where that is known.
    pub native: String,
    /// Why, where it was not done.
    pub reason: String,
}

/// What a status came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The status as it was stored.
    pub accepted: Accepted,
    /// The item, once it is known.
    pub item: Option<String>,
    /// The version that the item took because of it; `None` while it is not known, and when it changed nothing.
    pub version: Option<u64>,
    /// Why it changed nothing: `same`, when the record showed it before and shows it still, or a word of the item's history: `stale`,
    /// `lost`, `refused`, `ignored`, `folded`, …
    pub no_change: Option<String>,
    /// The other records of the item; and the one whose status it is, where it was asked for it and has to be told like the others.
    pub records: Vec<RecordReport>,
}

impl Report {
    /// Whether the item took the status, and each record that can be told is known to show it. One that was overtaken or superseded
    /// is not; `complete` of the TypeScript client counts it, because nothing more is to come of it.
    pub fn is_propagated(&self) -> bool {
        use Outcome::{Applied, NotTold, Unchanged};
        let shows = |record: &RecordReport| matches!(record.outcome, Applied | Unchanged | NotTold);
        self.version.is_some() && self.records.iter().all(shows)
    }

    /// Whether nothing more is to come.
    pub fn is_done(&self) -> bool {
        let known = self.version.is_some() || self.no_change.is_some();
        known && self.records.iter().all(|record| record.outcome != Outcome::Pending)
    }
}

/// Follows one accepted status to the records of its item. Pure.
#[derive(Debug, Clone)]
pub struct Propagation {
    report: Report,
    /// What records showed before.
    before: BTreeMap<String, String>,
    /// Deliveries that were heard before the change.
    early: VecDeque<Delivery>,
    /// It is the record's first status.
    first: bool,
}

impl Propagation {
    /// Of a status that was stored. What is heard must come from a room of its record, `record:<system>/<kind>/<id>`, and from one of
    /// the item, once that is known, for what comes of the writes to its other records.
    pub fn of(accepted: Accepted) -> Self {
        let report = Report { accepted, item: None, version: None, no_change: None, records: Vec::new() };
        Self { report, before: BTreeMap::new(), early: VecDeque::new(), first: false }
    }

    /// Takes in what was heard.
    pub fn hear(&mut self, message: &Message) {
        match message {
            Message::StatusChanged(change) if change.cause == self.report.accepted.sequence => self.changed(change),
            Message::Delivery(delivery) if self.report.version.is_some() => self.delivered(delivery),
            Message::Delivery(delivery) => {
                if self.early.len() == EARLY_MAX {
                    self.early.pop_front();
                }
                self.early.push_back((*delivery.event).clone());
            }
            Message::Snapshot(snapshot) => {
                let records = snapshot.items.iter().flat_map(|item| &item.records);
                self.before.extend(records.map(|record| (record.record.clone(), record.native.clone())));
            }
            _ => {}
        }
    }

    fn changed(&mut self, change: &Change) {
        self.report.item = Some(change.item.clone());
        self.report.version = Some(change.version);
        self.first = change.reason == FIRST_SEEN;
        // A record that tells of itself shows it. One that was asked for it has to be told like the others.
        let asked = change.reason == ASKED;
        let told = change.records.iter().filter(|record| asked || **record != self.report.accepted.record);
        self.report.records = told.map(|record| pending(record)).collect();
        for delivery in std::mem::take(&mut self.early) {
            self.delivered(&delivery);
        }
    }

    fn delivered(&mut self, delivery: &Delivery) {
        let Some(version) = self.report.version else { return };
        if self.report.item.as_ref() != Some(&delivery.item) || delivery.version < version {
            return;
        }
        let Some(record) = self.report.records.iter_mut().find(|known| known.record == delivery.record) else { return };
        let outcome = if delivery.version > version {
            // The record is told of a later version: ours will not come any more, unless it had.
            Outcome::Overtaken
        } else {
            match delivery.outcome.as_str() {
                "applied" => Outcome::Applied,
                "unchanged" => Outcome::Unchanged,
                "superseded" => Outcome::Superseded,
                "overtaken" => Outcome::Overtaken,
                "rejected" => Outcome::Rejected,
                _ => Outcome::Failed,
            }
        };
        if outcome == Outcome::Overtaken && !matches!(record.outcome, Outcome::Pending | Outcome::NotTold) {
            return;
        }
        record.outcome = outcome;
        record.native.clone_from(&delivery.native);
        record.reason.clone_from(&delivery.reason);
    }

    /// Takes in how the item stands, after its change was heard: that tells of records that get no write. `last` says that no
    /// delivery is waited for any more.
    pub fn stands(&mut self, item: &Item, last: bool) {
        // Of a later version it tells nothing of ours, and of an earlier one nothing yet.
        if self.report.version != Some(item.version) {
            return;
        }
        let own = item.records.iter().find(|shown| shown.record == self.report.accepted.record);
        if own.is_some_and(|own| own.step == UNMAPPED && self.first) {
            // A first status makes an item, even if no mapping knows it.
            (self.report.version, self.report.no_change) = (None, Some(UNMAPPED.to_owned()));
            return;
        }
        for record in &mut self.report.records {
            let shown = item.records.iter().find(|shown| shown.record == record.record);
            let (Outcome::Pending, Some(shown)) = (record.outcome, shown) else { continue };
            record.outcome = match shown.step.as_str() {
                "in_step" if self.before.get(&shown.record) == Some(&shown.native) => Outcome::Unchanged,
                "in_step" => Outcome::Applied,
                "as_close" | "read_only" | "unmapped" | "deleted" => Outcome::NotTold,
                // Its delivery says whether it was refused; where none is heard, it failed all the same.
                "failed" if last => Outcome::Failed,
                _ => continue,
            };
            record.native.clone_from(&shown.native);
            record.reason = match record.outcome {
                Outcome::NotTold => shown.step.clone(),
                _ => shown.last_error.clone().unwrap_or_default(),
            };
        }
    }

    /// Takes in that the status changed nothing, and why.
    pub fn changed_nothing(&mut self, why: &str) {
        if self.report.version.is_none() {
            self.report.no_change = Some(why.to_owned());
        }
    }

    /// What is known so far.
    pub fn report(&self) -> &Report {
        &self.report
    }
}

fn pending(record: &str) -> RecordReport {
    let (native, reason) = (String::new(), String::new());
    RecordReport { record: record.to_owned(), outcome: Outcome::Pending, native, reason }
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

#[derive(Deserialize)]
struct History {
    history: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    kind: String,
    cause: Cause,
}

#[derive(Deserialize)]
struct Cause {
    sequence: u64,
}

/// Stores a status and follows it until nothing more is to come, or until the deadline.
pub(crate) async fn propagate(client: &Client, status: &Status, deadline: Duration) -> Result<Report, Error> {
    let until = Instant::now() + deadline;
    let late =
        |_| Error::unavailable("how the record stands was not told before the deadline; the status was not sent");
    let open = client.watch().rooms([format!("record:{}", status.record)]).open();
    let mut watch = timeout_at(until, open).await.map_err(late)??;
    let (before, position) = timeout_at(until, stands(&mut watch)).await.map_err(late)??;
    let unanswered = |_| Error::unavailable("no answer came before the deadline: the status may be stored");
    let accepted = timeout_at(until, watch.update_status(std::slice::from_ref(status))).await.map_err(unanswered)??;
    let none = || Error::Unexpected { why: "no status was accepted, and none refused".into() };
    let mut propagation = Propagation::of(accepted.into_iter().next().ok_or_else(none)?);
    propagation.hear(&before);
    let mut look = interval_at(Instant::now() + LOOK, LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !propagation.report().is_done() {
        let heard = timeout_at(until, async {
            tokio::select! {
                message = watch.next() => message.map(Some),
                _ = look.tick() => Ok(None),
            }
        });
        let Ok(heard) = heard.await else { break };
        let known = propagation.report().version;
        let heard = heard?;
        if let Some(message) = &heard {
            propagation.hear(message);
        }
        if let (None, Some(_), Some(item)) = (known, propagation.report().version, &propagation.report().item) {
            // Deliveries to the other records are told in the room of the item; some may have come by now.
            let joining = watch.join_from([format!("item:{item}")], &position);
            let Ok(joined) = timeout_at(until, joining).await else { break };
            joined?;
        }
        if heard.is_none() || propagation.report().version != known {
            // Without an answer what is heard says enough, only later.
            let _ = timeout_at(until, look_up(client, status, &mut propagation, false)).await;
        }
    }
    if !propagation.report().is_done() {
        let _ = timeout_at(Instant::now() + LOOK, look_up(client, status, &mut propagation, true)).await;
    }
    Ok(propagation.report().clone())
}

/// How the record's item stands before, whole, and where on the stream that is.
async fn stands(watch: &mut Watch) -> Result<(Message, String), Error> {
    let mut items = Vec::new();
    loop {
        if let Message::Snapshot(page) = watch.next().await? {
            items.extend(page.items);
            if !page.more {
                let snapshot = Snapshot { items, position: page.position.clone(), ..Snapshot::default() };
                return Ok((Message::Snapshot(snapshot), page.position));
            }
        }
    }
}

/// Asks how the item stands, or, while its change is not known, whether there is none.
async fn look_up(client: &Client, status: &Status, propagation: &mut Propagation, last: bool) -> Result<(), Error> {
    let Accepted { record, sequence, .. } = &propagation.report().accepted.clone();
    if let Some(item) = &propagation.report().item {
        let item = client.item(item).await?;
        propagation.stands(&item, last);
        return Ok(());
    }
    let history = client.json(&["v1", "items", record, "history"], &[("limit", LINES)]).await?;
    let history: History =
        serde_json::from_value(history).map_err(|error| Error::Unexpected { why: error.to_string() })?;
    let line = history.history.into_iter().find(|line| line.cause.sequence == *sequence);
    match line {
        Some(line) if matches!(line.kind.as_str(), "changed" | "linked" | "unlinked") => {}
        Some(line) => propagation.changed_nothing(&line.kind),
        // What a record shows anyway leaves no line.
        None if propagation.before.get(record) == Some(&status.status) => {
            let item = client.item(record).await?;
            if item.records.iter().any(|shown| shown.record == *record && shown.native == status.status) {
                propagation.changed_nothing("same");
            }
        }
        None => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests;

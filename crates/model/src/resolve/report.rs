//! A connector's report on a command.

use super::{Resolved, Turn, resolve, rules};
use crate::{
    CommandMode, DeliveryOutcome, Group, ItemId, Link, Native, Observation, Origin, Policy, Position, Receipt,
    RecordRef, Sent, Source, Status, Timestamp, Verdict, Version, commands_due,
};

/// What a connector says became of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The publisher's id for this message.
    pub id: String,
    /// Which record.
    pub record: RecordRef,
    /// Of which item the command was; `None` where that is not told.
    pub item: Option<ItemId>,
    /// Which version's command.
    pub version: Version,
    /// The stream sequence of what caused the command: of one version several may have gone out. `None` from an older release.
    pub cause: Option<u64>,
    /// What became of it.
    pub outcome: DeliveryOutcome,
    /// Told or shown.
    pub mode: CommandMode,
    /// What the record shows now, where that is known.
    pub native: Option<Native>,
    /// Where that is on its time line.
    pub position: Option<Position>,
    /// When it was done.
    pub at: Timestamp,
    /// Why it was not done.
    pub reason: Option<String>,
}

/// Why a command was not carried out that came after a newer one of its item, from a resolver that was slower.
pub const OLDER_COMMAND: &str = "older_command";

/// Resolves a connector's report: what it wrote is an observation of our own write, what it could not write is noted on
/// the link.
pub fn report(mut group: Group, report: &Report, receipt: Receipt, policy: &Policy) -> Resolved {
    let Some(place) = group.index_of(&report.record) else { return Resolved::invalid(group) };
    let report = &report.as_seen_by(group.item.id);
    let observation = as_observation(report);
    let news = !group.links[place].has_taken(receipt);
    if report.outcome == DeliveryOutcome::Overtaken {
        if news {
            group.links[place].take(receipt);
        }
        // Answering it with a command would overtake the one that overtook it, and so on without end. Not so where the older one came
        // last: it took the newer one's place on the bus, which nobody would bring back.
        let took_its_place = report.reason.as_deref() == Some(OLDER_COMMAND);
        let commands = match (took_its_place, news) {
            (true, true) => group.again(place, policy, receipt).into_iter().collect(),
            (true, false) => commands_due(&group, policy),
            (false, _) => vec![],
        };
        let verdict = if news { Verdict::Reported } else { Verdict::Redelivered };
        return Resolved { group, verdict, rows: vec![], commands, conflicts: vec![] };
    }
    // One that failed may have been written all the same: an answer that came too late is no refusal.
    let over = report.outcome != DeliveryOutcome::Failed;
    let wrote = matches!(report.outcome, DeliveryOutcome::Applied | DeliveryOutcome::Unchanged);
    let looks_again = news && wrote && must_look_again(&group, place, report);
    if looks_again {
        group.links[place].resent += 1;
    } else if news && over && report.version <= group.item.version {
        // Of the current version all commands are done: what is owed then is sent anew, and is known as ours.
        let one = report.cause.filter(|_| report.version < group.item.version);
        group.links[place].land(report.version, report.mode, one);
    }
    let mut resolved = if wrote && report.mode == CommandMode::Tell && report.native.is_some() {
        resolve(group, &observation, receipt, policy)
    } else {
        let mut turn = match Turn::new(group, &observation, receipt, policy) {
            Ok(turn) => turn,
            Err(group) => return Resolved::invalid(group),
        };
        let verdict = rules::redelivered(&mut turn).unwrap_or_else(|| turn.note_outcome(report));
        turn.done(verdict)
    };
    if resolved.verdict != Verdict::Redelivered && resolved.commands.is_empty() {
        let group = &resolved.group;
        let newest = group.links[place].sent.last();
        // The older one, or another item's, may have taken the newest one's place on the bus.
        let other = |newest: &Sent| newest.version > report.version || newest.mode != report.mode;
        let overtaken = newest.is_some_and(other) || report.version > group.item.version || looks_again;
        let again = overtaken.then(|| resolved.group.again(place, policy, receipt)).flatten();
        resolved.commands.extend(again);
    }
    resolved
}

/// Whether the newest command was carried out by somebody who saw the record before others saw it further along. What it shows there may
/// have been left to that command: a write of ours that landed late.
fn must_look_again(group: &Group, place: usize, report: &Report) -> bool {
    let link = &group.links[place];
    let newest = report.mode == CommandMode::Tell && report.version == group.item.version;
    let seen_since = matches!((report.position, link.position), (Some(looked), Some(seen)) if looked < seen);
    newest && seen_since && link.resent < Link::RESENT_MAX
}

impl Report {
    /// What is left of the report for this item. The commands of another, to which the record was tied before, are [void](Link::void) here:
    /// its versions say nothing of this one's.
    fn as_seen_by(&self, item: ItemId) -> Self {
        let is_ours = self.item.is_none_or(|theirs| theirs == item);
        Self { version: if is_ours { self.version } else { Version(0) }, ..self.clone() }
    }
}

impl Turn<'_> {
    /// A report that tells nothing of what the record shows.
    fn note_outcome(&mut self, report: &Report) -> Verdict {
        let is_void = report.version == Version(0);
        let newer = is_void || self.link().sent.iter().any(|sent| sent.version > report.version);
        match report.outcome {
            // A newer command is on its way, and may fare better; and what another item wanted is nothing to this one.
            DeliveryOutcome::Rejected | DeliveryOutcome::Failed if newer => {}
            DeliveryOutcome::Rejected | DeliveryOutcome::Failed => {
                self.link_mut().last_error.clone_from(&report.reason);
            }
            DeliveryOutcome::Applied | DeliveryOutcome::Unchanged => self.link_mut().last_error = None,
            // In strict mode what it shows is a dead letter, and the shadow tells nothing of it. Commands that meet it would be sent again
            // and again.
            DeliveryOutcome::Superseded if self.policy.strict => {
                let unknown = report.native.as_ref().filter(|native| !self.lens.knows(native));
                if let Some(native) = unknown {
                    self.link_mut().last_error = Some(format!("it shows {native:?}, which no mapping knows"));
                }
            }
            DeliveryOutcome::Superseded | DeliveryOutcome::Overtaken => {}
        }
        let other = report.version != self.group.item.version;
        if other && report.mode == CommandMode::Show && self.link().sent.is_empty() {
            // An older status, or another item's, was shown over the current one.
            self.link_mut().shown = Some(Status::none());
            self.settle_own();
        }
        self.mend();
        if matches!(report.outcome, DeliveryOutcome::Rejected | DeliveryOutcome::Failed) {
            self.overrule_those_that_waited();
        }
        Verdict::Reported
    }
}

fn as_observation(report: &Report) -> Observation {
    Observation {
        position: report.position,
        origin: Origin::Own(Some(report.version)),
        ..Observation::new(
            report.id.clone(),
            report.record.clone(),
            report.native.clone().unwrap_or_else(Native::none),
            Source::Delivery,
            report.at,
        )
    }
}

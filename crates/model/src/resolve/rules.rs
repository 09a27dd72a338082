//! The rules of the sync model, in order. Each either decides or leaves the observation to the next.

use super::Turn;
use crate::{CommandMode, Intent, Irregular, Link, Origin, Reason, RowKind, Source, Verdict, Version, commands_due};

/// One rule: its verdict, or `None` to pass the observation on.
pub(super) type Rule = fn(&mut Turn) -> Option<Verdict>;

/// All rules by name, in the order in which they are asked.
pub(super) const RULES: &[(&str, Rule)] = &[
    ("redelivered", redelivered),
    ("operator", operator),
    ("went_back", went_back),
    ("stale", stale),
    ("asked", asked),
    ("own_write", own_write),
    ("unmapped", unmapped),
    ("silent", silent),
    ("agreement", agreement),
    ("late_echo", late_echo),
    ("no_news", no_news),
    ("held", held),
    ("read_only_reopen", read_only_reopen),
    ("irregular", irregular),
    ("fast_forward", fast_forward),
    ("conflict", conflict),
];

/// Rule 1. Taken before: publish again what the item's current state implies.
pub(super) fn redelivered(turn: &mut Turn) -> Option<Verdict> {
    if turn.group.take(&turn.observation.record, turn.receipt) {
        return None;
    }
    turn.commands = commands_due(&turn.group, turn.policy);
    Some(Verdict::Redelivered)
}

/// An operator's word comes before what records show.
pub(super) fn operator(turn: &mut Turn) -> Option<Verdict> {
    match turn.observation.intent.clone() {
        Intent::Status => None,
        Intent::Force(status) => Some(turn.force(&status, Reason::Forced)),
        Intent::Pick(conflict, candidate) => Some(turn.pick(conflict, candidate)),
        // These need more than one item, or the history: `adopt`, `part` and `roll_back` carry them out.
        Intent::Rollback(_) | Intent::Link(_) | Intent::Unlink => Some(turn.invalid()),
    }
}

/// An old copy of its system was brought back, and the record with it. What it shows is nobody's edit: it is told once more what its
/// item has become. Were it another's late look after all, whoever carries that out would see what the record really shows.
pub(super) fn went_back(turn: &mut Turn) -> Option<Verdict> {
    if !turn.has_gone_back() {
        return None;
    }
    turn.note();
    if turn.link().native != turn.observation.native {
        turn.row_of_item(RowKind::Ignored, Reason::WentBack);
    }
    let link = turn.link_mut();
    link.position = None;
    link.resent = 0;
    turn.see_nobodys(None);
    Some(Verdict::WentBack)
}

/// Rule 2. Older than what is known. Equal positions count as newer: GitHub's `updated_at` has whole seconds, and two
/// edits can share one. Without positions the bus's order counts, so one that was replayed keeps its first place there; but to see
/// a record for the first time is not to decide against what was asked of it before.
pub(super) fn stale(turn: &mut Turn) -> Option<Verdict> {
    let is_undecided = turn.is_asked() && turn.group.item.version == Version(1);
    if !turn.is_older() && (!turn.late || is_undecided) {
        turn.note();
        return None;
    }
    if turn.is_overtaken() {
        turn.note_what_is_missing();
    }
    if matches!(turn.observation.origin, Origin::Own(_)) {
        // Our own write, and the record has changed since: what was given up meanwhile may take now.
        turn.link_mut().last_error = None;
    } else {
        let status = turn.group.item.status.clone();
        let meant = turn.lens.put(turn.lifecycle, &status, &turn.observation.native, None);
        turn.row(RowKind::Stale, None, &meant.unwrap_or(status), Reason::OlderPosition);
    }
    // It has changed since, to what was taken for no news, and nothing may be on its way.
    turn.mend();
    Some(Verdict::Stale)
}

/// A status that was asked for through our API: the item takes it, and the record is told it like all others. If it were taken for
/// a sight of the record, nobody would tell the record.
pub(super) fn asked(turn: &mut Turn) -> Option<Verdict> {
    if !turn.is_asked() {
        return None;
    }
    let native = &turn.observation.native;
    let status = turn.group.item.status.clone();
    if turn.lens.is_silent(native) {
        turn.row_of_item(RowKind::Ignored, Reason::SilentStatus);
        return Some(Verdict::Ignored);
    }
    if turn.lens.normal(native).is_none() {
        turn.row_of_item(RowKind::Unmapped, Reason::UnmappedStatus);
        return Some(Verdict::Unmapped);
    }
    let there = turn.lens.shows_status(native, &status);
    if let Some(verdict) = held(turn) {
        return Some(verdict);
    }
    if there {
        turn.row_of_item(RowKind::Ignored, Reason::AlreadyThere);
        // Whoever asks again wants another attempt.
        let link = turn.link_mut();
        link.last_error = None;
        link.resent = 0;
        turn.mend();
        return Some(Verdict::Ignored);
    }
    let meant = turn.meant();
    if let Some(reason) = turn.keeps_from_telling(&meant) {
        turn.row_of_edit(RowKind::Refused, &meant, reason);
        return Some(Verdict::Refused);
    }
    if let Some(verdict) = irregular(turn) {
        return Some(verdict);
    }
    if turn.takes_back(&meant) && turn.escalates() {
        turn.hold(&meant, Reason::FlipFlop, true);
        return Some(Verdict::FlipFlop);
    }
    turn.change(&meant, Reason::Asked);
    Some(Verdict::Asked)
}

/// Rule 3. Our own write never changes the item. If it is not what the record should show now, it landed late, and the
/// current command goes out again.
pub(super) fn own_write(turn: &mut Turn) -> Option<Verdict> {
    let Origin::Own(version) = turn.observation.origin else { return None };
    let (native, position) = (&turn.observation.native, turn.observation.position);
    let link = turn.link();
    if version.is_none() && position.is_some() && position == link.position && link.native != *native {
        // Writes of ours that share a position, and who told of this one does not know which of them came last: the reports do.
        return Some(Verdict::OwnWrite);
    }
    turn.see_nobodys(version);
    Some(Verdict::OwnWrite)
}

/// A status that no mapping knows is kept and shown, and changes nothing.
pub(super) fn unmapped(turn: &mut Turn) -> Option<Verdict> {
    let native = &turn.observation.native;
    if turn.lens.knows(native) {
        turn.link_mut().unmapped = false;
        // Where the item is as it was when the record was deleted, what it shows now is what somebody made of it.
        let moved_on = turn.link().agreed != turn.group.item.version;
        return (turn.link().native.is_deleted() && moved_on).then(|| turn.bring_back());
    }
    let news = turn.link().native != *native;
    turn.show();
    turn.link_mut().unmapped = true;
    if news {
        let reason = if native.is_deleted() { Reason::Deleted } else { Reason::UnmappedStatus };
        turn.row_of_item(RowKind::Unmapped, reason);
    }
    Some(Verdict::Unmapped)
}

/// A status that the mapping knows and lets change nothing.
pub(super) fn silent(turn: &mut Turn) -> Option<Verdict> {
    let native = &turn.observation.native;
    if !turn.lens.is_silent(native) {
        return None;
    }
    let news = turn.link().native != *native;
    turn.show();
    if news {
        turn.row_of_item(RowKind::Ignored, Reason::SilentStatus);
    }
    Some(Verdict::Ignored)
}

/// Rule 4. It shows what it should: an echo of our own write, or people who had the same idea. Or it changes nothing of what it says
/// together with others of its kind that cannot be told the item's status either: who closes one of two drafts that are left over does
/// not reopen what is done.
pub(super) fn agreement(turn: &mut Turn) -> Option<Verdict> {
    let native = &turn.observation.native;
    if !turn.group.shows(turn.index, native, &turn.lens, turn.scope()) && !turn.keeps_the_fold() {
        return None;
    }
    let (status, version) = (turn.group.item.status.clone(), turn.group.item.version);
    let news = turn.link().native != *native;
    if news && turn.is_candidate() && turn.lens.shows_status(native, &status) {
        // What the record wanted in the conflict it wants no more.
        turn.join(&status);
        return Some(Verdict::JoinedHold);
    }
    let folded = news && !turn.lens.shows_status(native, &status);
    turn.show();
    let link = turn.link_mut();
    link.last_error = None;
    link.agree(version);
    if folded {
        // The others of its kind still speak for the item; the edit is not lost, it waits for them.
        turn.row_of_item(RowKind::Folded, Reason::Folded);
    }
    turn.settle_shown();
    Some(Verdict::Agreed)
}

/// Rule 5. Our own write seen late, when the item has moved on.
pub(super) fn late_echo(turn: &mut Turn) -> Option<Verdict> {
    let (native, position) = (&turn.observation.native, turn.observation.position);
    let origin = turn.observation.origin;
    let link = &mut turn.group.links[turn.index];
    if link.native == *native {
        return None;
    }
    let version = link.late_echo(native, origin, &turn.lens)?;
    let newest = link.sent.iter().filter(|sent| sent.mode == CommandMode::Tell).map(|sent| sent.version).max();
    if newest.is_some_and(|newest| newest > version && newest > link.agreed) {
        // Who carries out the newer command looks first, and knows whether this one was ever carried out or a person did the same.
        link.position = link.position.max(position);
        if link.last_error.take().is_some() {
            // It was given up: without another attempt nobody would look.
            let again = turn.group.again(turn.index, turn.policy, turn.receipt);
            turn.commands.extend(again);
        }
        return Some(Verdict::LateEcho);
    }
    if newest.is_none_or(|newest| newest <= version) {
        // No newer write will be reported.
        link.land(version, CommandMode::Tell, None);
    }
    link.show(native, position);
    link.agree(version.max(link.agreed));
    Some(Verdict::LateEcho)
}

/// Rule 6. The record still shows what it showed before: a command is, or will be, on its way.
pub(super) fn no_news(turn: &mut Turn) -> Option<Verdict> {
    let native = &turn.observation.native;
    let reworded = turn.link().native != *native;
    if reworded && !turn.lens.same(native, &turn.link().native) {
        return None;
    }
    turn.show();
    if reworded && turn.link().is_told() {
        // The command that is on its way expects the other word, and would be taken for overtaken.
        turn.settle_own();
    }
    let is_swept = turn.observation.source == Source::Sweep;
    let link = turn.link_mut();
    if is_swept && link.resent >= Link::RESENT_MAX {
        // What did not take in a crowd of edits may take now; a sweep comes seldom enough to try once more.
        link.resent = Link::RESENT_MAX - 1;
        link.last_error = None;
    }
    turn.mend();
    Some(Verdict::NoNews)
}

/// A held item waits for a person: whatever comes joins the conflict.
pub(super) fn held(turn: &mut Turn) -> Option<Verdict> {
    turn.group.item.held?;
    let meant = turn.meant();
    turn.join(&meant);
    Some(Verdict::JoinedHold)
}

/// A record that can be told nothing does not take an item out of a terminal status against the table: an agent that
/// starts typing does not reopen a canceled issue.
pub(super) fn read_only_reopen(turn: &mut Turn) -> Option<Verdict> {
    let meant = turn.meant();
    let status = turn.group.item.status.clone();
    let reopens = turn.lifecycle.is_terminal(&status) && !turn.lifecycle.allows(&status, &meant);
    if !(turn.lens.is_read_only() && reopens) {
        return None;
    }
    turn.see();
    turn.row_of_edit(RowKind::Ignored, &meant, Reason::ReadOnlyReopen);
    Some(Verdict::Ignored)
}

/// What the lifecycle says of a step that is not in its table.
pub(super) fn irregular(turn: &mut Turn) -> Option<Verdict> {
    let meant = turn.meant();
    let status = turn.group.item.status.clone();
    if turn.lifecycle.allows(&status, &meant) {
        return None;
    }
    match turn.lifecycle.irregular(&turn.observation.record.system) {
        Irregular::Accept => None,
        // A program that is told the item's status, and sets it once more, would be told for ever.
        Irregular::Reject if !turn.is_asked() && !turn.is_by_a_person() && turn.escalates() => {
            turn.hold(&meant, Reason::FlipFlop, true);
            Some(Verdict::FlipFlop)
        }
        Irregular::Reject => {
            turn.see();
            turn.row_of_edit(RowKind::Refused, &meant, Reason::IrregularTransition);
            if !turn.is_asked() {
                turn.settle_own();
            }
            Some(Verdict::Refused)
        }
        Irregular::Hold => {
            turn.hold(&meant, Reason::IrregularTransition, false);
            Some(Verdict::HeldIrregular)
        }
    }
}

/// Rule 7. The record changed, and the item has not changed since they last agreed.
pub(super) fn fast_forward(turn: &mut Turn) -> Option<Verdict> {
    if turn.link().agreed != turn.group.item.version {
        return None;
    }
    let meant = turn.meant();
    if turn.takes_back(&meant) && turn.escalates() {
        turn.hold(&meant, Reason::FlipFlop, true);
        return Some(Verdict::FlipFlop);
    }
    turn.follow(&meant, Reason::Edited);
    Some(Verdict::FastForward)
}

/// Rules 8 and 9. The record changed, and so did the item.
#[expect(clippy::unnecessary_wraps, reason = "a rule like the others; the last one always decides")]
pub(super) fn conflict(turn: &mut Turn) -> Option<Verdict> {
    Some(turn.clash())
}

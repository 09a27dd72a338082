//! Edits: each has its effect or its place in the history, nothing else has an effect, and writes are few.

use std::collections::BTreeMap;

use model::{HistoryRow, ItemId, Origin, Reason, RowKind};

use super::{Evidence, Verdict, base, is_changed, is_old_copy, is_person, same_meaning};
use crate::land::{Author, Remote, Revision};

/// No change is born of our own writes, echoes, redeliveries or sweeps.
pub(super) fn every_change_has_an_edit(evidence: &Evidence) -> Verdict {
    let mut changes: BTreeMap<(ItemId, usize, usize), usize> = BTreeMap::new();
    let mut effective: BTreeMap<usize, (model::Position, u64)> = BTreeMap::new();
    for row in evidence.rows.iter().filter(|row| is_changed(row)) {
        let said = || {
            format!(
                "{:?} -> {} ({:?}) by {} {} of {}",
                row.from, row.to, row.reason, row.record, row.native, row.cause.id
            )
        };
        let Some(from) = &row.from else { continue };
        if *from == row.to {
            return Err(format!("nobody but they: a change to the same status: {}", said()));
        }
        if matches!(
            row.reason,
            Reason::Asked | Reason::Forced | Reason::RolledBack | Reason::Picked | Reason::Adopted | Reason::Parted
        ) {
            continue;
        }
        let Some((place, revision, origin)) = evidence.seen.get(&row.cause.id).copied() else {
            return Err(format!("nobody but they: nothing that was seen made this: {}", said()));
        };
        let remote = &evidence.land.remotes[place];
        let edit = base(remote, revision);
        let tainted = evidence.is_tainted(place);
        if !is_person(&remote.revisions[edit]) && !tainted {
            let mistaken = origin == Origin::Unknown && evidence.is_confused(place);
            if !mistaken {
                return Err(format!("nobody but they: no person made this: {}", said()));
            }
        }
        let count = changes.entry((row.item, place, edit)).or_default();
        *count += 1;
        if *count > 1 && !tainted {
            return Err(format!("nobody but they: one edit changed the item twice: {}", said()));
        }
        let native = row.native.as_str();
        let alone = alone_of_its_kind(evidence, remote);
        if alone && remote.table.normal(native) == Some(remote.table.get(from.as_str())) {
            return Err(format!("fine grain survives: an echo moved the item: {}", said()));
        }
        let meant = remote.table.put(from.as_str(), native, last_open(evidence, row));
        if alone && meant.as_deref() != Some(row.to.as_str()) {
            return Err(format!("nobody but they: {native} means {meant:?}: {}", said()));
        }
        if let Some(position) = row.position {
            let (highest, by) = effective.get(&place).copied().unwrap_or((position, 0));
            if position < highest {
                return Err(format!("order: {} took effect after {highest:?} (#{by})", said()));
            }
            effective.insert(place, (position, row.cause.sequence));
        }
    }
    Ok(())
}

/// The last status before this row that did not end its item.
fn last_open<'a>(evidence: &'a Evidence, row: &HistoryRow) -> Option<&'a str> {
    let before = evidence.tables.history.iter().filter(|other| other.item == row.item && other.version < row.version);
    let statuses = before.filter(|other| is_changed(other)).map(|other| other.to.as_str());
    statuses.rev().find(|status| !crate::table::terminal(status))
}

fn alone_of_its_kind(evidence: &Evidence, remote: &Remote) -> bool {
    let alike =
        |other: &&Remote| other.record.kind == remote.record.kind && other.record.system == remote.record.system;
    evidence.land.remotes.iter().filter(alike).count() == 1
}

/// A row tells when its message was stored; how much later it was committed, after crashes and cuts, it does not tell.
const COMMITTED_WITHIN_MS: i64 = 60_000;

/// Every edit that was told of is in the history, or changed nothing, or was overtaken by another of its record.
pub(super) fn nothing_is_lost(evidence: &Evidence, place: usize) -> Verdict {
    let remote = &evidence.land.remotes[place];
    for revision in 0..remote.revisions.len() {
        if is_person(&remote.revisions[revision]) && !is_accounted_for(evidence, place, revision) {
            return Err(format!(
                "no silent loss: {} was set to {} (revision {revision}), and nothing tells of it",
                remote.record, remote.revisions[revision].native
            ));
        }
    }
    Ok(())
}

fn is_accounted_for(evidence: &Evidence, place: usize, revision: usize) -> bool {
    let remote = &evidence.land.remotes[place];
    let one = &remote.revisions[revision];
    let tells = |seen: usize| base(remote, seen) == revision;
    let told = told_of(evidence, place, revision);
    // In the history, whatever the history says of it.
    if rows_of(evidence, place, revision).next().is_some() {
        return true;
    }
    // Nobody was told, and a later edit of a person covers it.
    let later = (revision + 1..remote.revisions.len()).find(|later| !tells(*later));
    if told.is_empty() && later.is_some() {
        return true;
    }
    // It said what the item's status was already, at some moment from then on; or what the record was known to show.
    let meant = |status: &str| remote.table.normal(one.native.as_str()) == Some(remote.table.get(status));
    let statuses: Vec<&HistoryRow> =
        evidence.tables.history.iter().filter(|row| is_changed(row) || row.kind == RowKind::Linked).collect();
    let over = |row: usize| {
        let next = statuses[row + 1..].iter().find(|next| next.item == statuses[row].item);
        next.is_some_and(|next| next.recorded_at.0 + COMMITTED_WITHIN_MS < one.true_ms)
    };
    let agreed = (0..statuses.len()).any(|row| !over(row) && meant(statuses[row].to.as_str()));
    // Somebody undid what nobody was told of.
    let before = remote.revisions[..revision].iter().rev().filter(|before| before.by != Author::Touch);
    let was = before.take(3).any(|before| same_meaning(remote.table, &before.native, &one.native));
    // Of several edits in one second nobody knows the order: this one says what another of them says, which is accounted for.
    let is_twin = |(number, other): (usize, &Revision)| {
        (number > revision || (number < revision && rows_of(evidence, place, number).next().is_some()))
            && is_person(other)
            && other.position.is_some()
            && other.position == one.position
            && same_meaning(remote.table, &other.native, &one.native)
    };
    let was = was || remote.revisions.iter().enumerate().any(is_twin) || is_said_already(evidence, place, revision);
    // It looks like our own write: a connector found it there when it came to write the same.
    let asked = evidence
        .asked
        .get(&place)
        .is_some_and(|asked| asked.iter().any(|told| super::means_same(remote.table, told, one.native.as_str())));
    agreed || was || asked
}

/// Whether the history tells of the same before, and of nothing in between but what came too late.
fn is_said_already(evidence: &Evidence, place: usize, revision: usize) -> bool {
    let remote = &evidence.land.remotes[place];
    let one = &remote.revisions[revision].native;
    for before in (0..revision).rev().filter(|before| base(remote, *before) == *before) {
        let rows: Vec<&HistoryRow> =
            rows_of(evidence, place, before).filter(|row| row.kind != RowKind::Stale).collect();
        if !rows.is_empty() {
            return same_meaning(remote.table, &remote.revisions[before].native, one);
        }
    }
    false
}

/// The ids of the observations that told of a revision.
fn told_of<'a>(evidence: &'a Evidence<'_>, place: usize, revision: usize) -> Vec<&'a String> {
    let remote = &evidence.land.remotes[place];
    let is_it = |of: usize, seen: usize| of == place && base(remote, seen) == revision;
    evidence.seen.iter().filter(|(_, (of, seen, _))| is_it(*of, *seen)).map(|(id, _)| id).collect()
}

/// What the history tells of a revision.
fn rows_of<'a>(evidence: &'a Evidence<'_>, place: usize, revision: usize) -> impl Iterator<Item = &'a HistoryRow> {
    let told = told_of(evidence, place, revision);
    let record = &evidence.land.remotes[place].record;
    evidence.tables.history.iter().filter(move |row| row.record == *record && told.contains(&&row.cause.id))
}

/// A version is written once, unless a person changed the record meanwhile.
pub(super) fn writes_are_few(evidence: &Evidence, place: usize) -> Verdict {
    let remote = &evidence.land.remotes[place];
    let doubtful = evidence.is_confused(place) || evidence.world.has_links() || evidence.is_tainted(place);
    let writes: Vec<(usize, ItemId, u64)> = remote
        .revisions
        .iter()
        .enumerate()
        .filter_map(|(number, revision)| match revision.by {
            Author::Us { version, item } => Some((number, item, version.0)),
            _ => None,
        })
        .collect();
    let settings = &evidence.world.land.settings;
    // A lease changes hands when its holder dies or is not heard; only then may two write at once.
    let handed_over = settings.lost_requests + settings.lost_answers + settings.late_writes > 0;
    if remote.overlapped && !handed_over && !settings.crashes && !settings.cuts && !settings.server_restarts {
        return Err(format!("one at a time: two connectors wrote {} at once", remote.record));
    }
    for pair in writes.windows(2) {
        let [(first, of, version), (second, again_of, again)] = pair else { continue };
        let others = |one: &Revision| is_person(one) || is_old_copy(one);
        let edited = (first + 1..*second).any(|revision| others(&remote.revisions[revision]));
        if !doubtful && !edited && of == again_of && again <= version {
            return Err(format!("no loops: {} was written for version {version}, then for {again}", remote.record));
        }
    }
    let moved = |row: &&HistoryRow| matches!(row.kind, RowKind::Changed | RowKind::Linked | RowKind::Unlinked);
    let changes = evidence.tables.history.iter().filter(moved).count();
    let edits = remote.revisions.iter().filter(|one| is_person(one) || is_old_copy(one)).count();
    let bound = if doubtful { 2 * (changes + edits) } else { changes + edits };
    if writes.len() > bound {
        return Err(format!("no loops: {} was written {} times for {changes} changes", remote.record, writes.len()));
    }
    Ok(())
}

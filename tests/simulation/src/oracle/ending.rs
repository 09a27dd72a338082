//! How things must stand at the end.

use std::collections::{BTreeMap, BTreeSet};

use bus::Stream;
use model::{Link, RowKind};
use proto::v1;

use super::{Evidence, Verdict, base, is_changed, is_person};
use crate::land::Remote;
use crate::table::{self, Table};

/// Every record of an item that is not held shows its status, or it is said why not.
pub(super) fn converged(evidence: &Evidence) -> Verdict {
    for (place, remote) in evidence.land.remotes.iter().enumerate() {
        let Some((id, link)) = evidence.tables.records.get(&remote.record) else {
            return Err(format!("convergence: {} was never seen", remote.record));
        };
        let item = evidence.tables.items.get(id).ok_or_else(|| format!("{id} has ended, but has {}", remote.record))?;
        let native = &remote.now().native;
        if link.native != *native {
            return Err(format!("convergence: {} shows {native}, the shadow is {}", remote.record, link.native));
        }
        match item.held {
            None => in_step(evidence, place, link, item.status.as_str())?,
            Some(conflict) => {
                let open = evidence.tables.conflicts.get(&conflict);
                if open.is_none_or(|conflict| conflict.resolved_at.is_some()) {
                    return Err(format!("convergence: {id} is held by no open conflict"));
                }
            }
        }
    }
    Ok(())
}

fn in_step(evidence: &Evidence, place: usize, link: &Link, status: &str) -> Verdict {
    let remote = &evidence.land.remotes[place];
    let table = remote.table;
    let wanted = table.get(status);
    let native = remote.now().native.as_str();
    let odd = table.normal(native).is_none() && is_person(&remote.revisions[base(remote, remote.newest())]);
    let least = least_advanced(table, kin(evidence, remote));
    let failed = link.last_error.is_some();
    if table.is_read_only() || odd || failed || table.normal(native) == Some(wanted) || least == Some(wanted) {
        return Ok(());
    }
    if !table.can_tell(wanted) || native == "merged" {
        let shown = remote.shown.as_deref();
        let doubtful = evidence.is_confused(place) || evidence.world.has_links() || remote.refused;
        if table.shows && shown != Some(status) && !doubtful {
            return Err(format!(
                "convergence: {} cannot be told {status}, and {shown:?} is shown beside it",
                remote.record
            ));
        }
        return Ok(());
    }
    Err(format!("convergence: {} shows {native}, the item is {status}, which is {wanted} there", remote.record))
}

/// What the records of one kind of an item show.
fn kin<'a>(evidence: &'a Evidence, remote: &'a Remote) -> impl Iterator<Item = &'a str> {
    let item = evidence.tables.records.get(&remote.record).map(|(item, _)| *item);
    evidence.land.remotes.iter().filter_map(move |other| {
        let (of, _) = evidence.tables.records.get(&other.record)?;
        let alike = other.record.kind == remote.record.kind && other.record.system == remote.record.system;
        (Some(*of) == item && alike).then(|| other.now().native.as_str())
    })
}

/// What several records of one kind say together, where all must be done.
fn least_advanced<'a>(table: &Table, natives: impl Iterator<Item = &'a str>) -> Option<&'static str> {
    let known = natives
        .filter(|native| !table.is_silent(native))
        .filter_map(|native| Some((table.preferred(native)?, table.normal(native)?)));
    let rank = |status: &str| table::STATUSES.iter().position(|one| *one == status);
    known.min_by_key(|(status, _)| rank(status)).map(|(_, native)| native)
}

pub(super) fn versions_are_gapless(evidence: &Evidence) -> Verdict {
    let mut last = BTreeMap::new();
    for row in evidence.tables.history.iter().filter(|row| is_changed(row)) {
        let before = last.insert(row.item, row.version.0).unwrap_or(0);
        if row.version.0 != before + 1 {
            return Err(format!("order: item {} went from version {before} to {}", row.item, row.version));
        }
    }
    for (id, item) in &evidence.tables.items {
        if last.get(id) != Some(&item.version.0) {
            return Err(format!("order: item {id} has a version without a row"));
        }
    }
    Ok(())
}

pub(super) fn rows_stand_once(evidence: &Evidence) -> Verdict {
    let mut rows = BTreeSet::new();
    for row in &evidence.tables.history {
        if !rows.insert((row.cause.sequence, row.kind.code(), row.record.to_string(), row.item)) {
            return Err(format!("effectively once: a row stands twice: {row:?}"));
        }
    }
    Ok(())
}

/// Whoever reads the changes hears each version of an item once, and after the one before it.
pub(super) fn versions_are_told_in_order(evidence: &Evidence) -> Verdict {
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for stored in evidence.world.jetstream.stored(Stream::Changes) {
        let change: v1::Change = proto::decode(None, &stored.payload).map_err(|error| error.to_string())?;
        if change.kind != "status_changed" {
            continue;
        }
        let before = last.insert(change.item.clone(), change.version).unwrap_or(0);
        if change.version != before + 1 {
            return Err(format!(
                "order: of item {} version {} was told after version {before}",
                change.item, change.version
            ));
        }
    }
    Ok(())
}

/// Every change was told.
pub(super) fn all_is_published(evidence: &Evidence) -> Verdict {
    let stored = evidence.world.jetstream.stored(Stream::Changes);
    let ids: BTreeSet<&str> = stored.iter().map(bus::simulation::Stored::id).collect();
    // Of an item that ended nobody is told but that its records belong to another.
    let lives = |row: &&model::HistoryRow| evidence.tables.items.contains_key(&row.item);
    for row in evidence.tables.history.iter().filter(|row| is_changed(row)).filter(lives) {
        let id = format!("{}:{}", row.item, row.version);
        if !ids.contains(id.as_str()) {
            return Err(format!("no silent loss: the change {id} to {} was never published", row.to));
        }
    }
    for conflict in evidence.tables.conflicts.keys() {
        let kinds = ["opened", "resolved"].map(|kind| format!("{conflict}:conflict_{kind}"));
        if !kinds.iter().any(|id| ids.contains(id.as_str()))
            && evidence.tables.conflicts[conflict].resolved_at.is_none()
        {
            return Err(format!("no silent loss: the conflict {conflict} was never published"));
        }
    }
    Ok(())
}

pub(super) fn dead_letters_are_explained(evidence: &Evidence) -> Verdict {
    for letter in evidence.world.jetstream.stored(Stream::DeadLetters) {
        let reason = letter.subject.rsplit('.').next().unwrap_or_default();
        let settings = &evidence.world.land.settings;
        let fine = match reason {
            "unauthorized" => settings.refusals > 0,
            "attempts_exhausted" => settings.outages || settings.database_cuts || settings.system_errors > 0,
            // An operator's word about something that is not there (any more).
            "no_such_thing" => settings.links || settings.operators,
            _ => false,
        };
        if !fine {
            return Err(format!("nothing is dropped: a dead letter {} of {:?}", letter.subject, letter.headers));
        }
    }
    let names = |row: &&model::HistoryRow| matches!(row.kind, RowKind::Lost | RowKind::Candidate);
    for row in evidence.rows.iter().filter(names) {
        if !row.conflict.is_some_and(|id| evidence.tables.conflicts.contains_key(&id)) {
            return Err(format!("no silent loss: {row:?} names no recorded conflict"));
        }
    }
    Ok(())
}

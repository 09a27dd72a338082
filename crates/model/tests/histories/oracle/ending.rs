//! What must hold once everything is delivered.

use std::collections::{BTreeMap, BTreeSet};

use model::{Group, RowKind, Verdict};

use super::super::remote::{Author, Remote, Revision};
use super::super::store::Store;
use super::super::table::{self, Table};
use super::super::world::{Broken, World};
use super::{Oracle, base, is_old_copy, means_same, same_meaning};

impl Oracle {
    /// Every record of an item that is not held shows its status, or is as close as it can be.
    pub fn converged(world: &World, when: &str) -> Result<(), Broken> {
        for group in world.store.groups.values() {
            for link in &group.links {
                let place = world.place_of(&link.record);
                let remote = &world.remotes[place];
                let native = &remote.now().native;
                // A write that was cut short before its report needs a sweep where no command comes again: the record can no
                // longer be told, or a second connector answered for it.
                let can = remote.table.can_tell(remote.table.get(group.item.status.as_str()));
                if when != "at the end" && (!can || world.had_overlaps(place)) {
                    continue;
                }
                if link.native != *native && !remote.failed {
                    return Err(format!(
                        "convergence {when}: {} shows {native}, the shadow is {}",
                        link.record, link.native
                    ));
                }
                if group.item.held.is_none() {
                    in_step(world, group, remote).map_err(|why| format!("convergence {when}: {why}"))?;
                } else if group.conflict.as_ref().is_none_or(|conflict| conflict.winner.is_some()) {
                    return Err(format!("{} is held by no open conflict", group.item.id));
                }
            }
        }
        Ok(())
    }

    /// Everything is delivered.
    pub fn judge(&mut self, world: &World) -> Result<(), Broken> {
        Self::converged(world, "at the end")?;
        versions_are_gapless(&world.store)?;
        for (place, remote) in world.remotes.iter().enumerate() {
            for (revision, _) in remote.revisions.iter().enumerate().filter(|(_, one)| one.by == Author::Person) {
                self.not_lost(world, place, revision)?;
            }
            self.writes_are_few(world, place)?;
        }
        let mut rows = BTreeSet::new();
        for row in &world.store.rows {
            if !rows.insert((row.cause.sequence, row.kind.code(), row.record.to_string(), row.item)) {
                return Err(format!("effectively once: a row stands twice: {row:?}"));
            }
        }
        deterministic(world)
    }

    pub(super) fn not_lost(&mut self, world: &World, place: usize, revision: usize) -> Result<(), Broken> {
        let remote = &world.remotes[place];
        let one = &remote.revisions[revision];
        let same = |other: &usize| base(remote, *other) == revision;
        let verdicts: Vec<Verdict> = (revision..remote.revisions.len())
            .take_while(same)
            .flat_map(|seen| self.verdicts.get(&(place, seen)).cloned().unwrap_or_default())
            .collect();
        let kept = |verdict: &Verdict| {
            use Verdict as V;
            matches!(
                verdict,
                V::FastForward
                    | V::Conflict
                    | V::FlipFlop
                    | V::JoinedHold
                    | V::Refused
                    | V::HeldIrregular
                    | V::Ignored
                    | V::Unmapped
                    | V::Agreed
            )
        };
        let covers = |later| base(remote, later) > revision || is_old_copy(&remote.revisions[later]);
        let later = (revision + 1..remote.revisions.len()).any(covers);
        let asked = self
            .asked
            .get(&place)
            .is_some_and(|asked| asked.iter().any(|told| means_same(remote.table, told, one.native.as_str())));
        let was = remote.revisions[..revision].iter().any(|before| same_meaning(remote.table, before, one));
        let fine = verdicts.iter().any(kept)
            // A later change of the same record covers one that came late, or that nobody saw.
            || (later && verdicts.iter().all(|verdict| matches!(verdict, Verdict::Stale | Verdict::NoNews | Verdict::LateEcho)));
        // Whoever carries out the commands knows what it wrote; who takes over from another does not know what that one wrote.
        let wrote = remote
            .revisions
            .iter()
            .any(|other| matches!(other.by, Author::Us(_)) && same_meaning(remote.table, other, one));
        let doubtful = wrote || remote.holds.len() > 1;
        // Under a personal token our own write and a person's look alike; and a person may set again what was there.
        let absorbed = verdicts.iter().any(|verdict| match verdict {
            Verdict::LateEcho => asked && doubtful,
            // A connector found it there already when it came to write the same.
            Verdict::OwnWrite => asked,
            Verdict::NoNews => was || asked,
            _ => false,
        });
        if !fine && absorbed {
            self.absorbed += 1;
        }
        if fine || absorbed {
            return Ok(());
        }
        Err(format!("no silent loss: {} revision {revision} ({}) ended as {verdicts:?}", remote.record, one.native))
    }

    /// A version is written once, unless a person changed the record meanwhile.
    pub(super) fn writes_are_few(&self, world: &World, place: usize) -> Result<(), Broken> {
        let exempt = world.had_overlaps(place) || world.had_links() || self.tainted.contains(&place);
        let remote = &world.remotes[place];
        let writes = self.writes.get(&place).map_or(&[][..], Vec::as_slice);
        for pair in writes.windows(2) {
            let [(first, version), (second, again)] = pair else { continue };
            let others = |one: &Revision| one.by == Author::Person || is_old_copy(one);
            let edited = (first + 2..=*second).any(|revision| others(&remote.revisions[revision]));
            if !exempt && !edited && again <= version {
                return Err(format!("no loops: {} was written for version {version}, then for {again}", remote.record));
            }
        }
        let changes = world
            .store
            .rows
            .iter()
            .filter(|row| matches!(row.kind, RowKind::Changed | RowKind::Linked | RowKind::Unlinked))
            .count();
        let others = remote.revisions.iter().filter(|one| one.by == Author::Person || is_old_copy(one)).count();
        let bound = 2 * (changes + others);
        if writes.len() > bound {
            return Err(format!(
                "no loops: {} was written {} times for {changes} changes",
                remote.record,
                writes.len()
            ));
        }
        Ok(())
    }
}

fn in_step(world: &World, group: &Group, remote: &Remote) -> Result<(), Broken> {
    let table = remote.table;
    let status = group.item.status.as_str();
    let wanted = table.get(status);
    let native = remote.now().native.as_str();
    let odd =
        table.normal(native).is_none() && matches!(remote.revisions[base(remote, remote.newest())].by, Author::Person);
    let alike = || {
        group
            .links
            .iter()
            .map(|link| &world.remotes[world.place_of(&link.record)])
            .filter(|other| std::ptr::eq(other.table, table))
    };
    let least = least_advanced(table, alike().map(|other| other.now().native.as_str()));
    if table.is_read_only() || odd || remote.failed || table.normal(native) == Some(wanted) || least == Some(wanted) {
        return Ok(());
    }
    if !table.can_tell(wanted) {
        let shown = remote.shown.as_deref();
        // Of two connectors that show at once the wrong one may be the last.
        let doubtful = world.had_overlaps(world.place_of(&remote.record)) || world.had_links();
        let known = !doubtful && !remote.failed;
        if table.shows && shown != Some(status) && known {
            return Err(format!("{} cannot be told {status}, and {shown:?} is shown beside it", remote.record));
        }
        return Ok(());
    }
    Err(format!("{} shows {native}, the item is {status}, which is {wanted} there", remote.record))
}

/// What several records of one kind say together, where all must be done.
fn least_advanced<'a>(table: &Table, natives: impl Iterator<Item = &'a str>) -> Option<&'static str> {
    let known = natives
        .filter(|native| !table.is_silent(native))
        .filter_map(|native| Some((table.preferred(native)?, table.normal(native)?)));
    let rank = |status: &str| table::STATUSES.iter().position(|one| *one == status);
    known.min_by_key(|(status, _)| rank(status)).map(|(_, native)| native)
}

fn versions_are_gapless(store: &Store) -> Result<(), Broken> {
    let mut last = BTreeMap::new();
    for row in store.rows.iter().filter(|row| row.kind == RowKind::Changed) {
        let before = last.insert(row.item, row.version.0).unwrap_or(0);
        if row.version.0 != before + 1 {
            return Err(format!("order: item {} went from version {before} to {}", row.item, row.version));
        }
    }
    for group in store.groups.values() {
        if last.get(&group.item.id) != Some(&group.item.version.0) {
            return Err(format!("order: item {} has a version without a row", group.item.id));
        }
    }
    Ok(())
}

/// The same messages in the same order give the same history.
fn deterministic(world: &World) -> Result<(), Broken> {
    let mut again = Store::default();
    for message in &world.committed {
        again.apply(message, &world.policy);
    }
    let same = again.rows == world.store.rows
        && again.groups == world.store.groups
        && again.conflicts == world.store.conflicts;
    if same { Ok(()) } else { Err("determinism: the same messages gave another history".to_owned()) }
}

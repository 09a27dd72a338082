//! Judges a history: what must hold, checked by code that shares nothing with the model's but its answers.

mod ending;

use std::collections::{BTreeMap, BTreeSet};

use model::{Command, CommandMode, Group, HistoryRow, Intent, Origin, Position, Reason, RowKind, Verdict};

use super::bus::{Body, Message};
use super::remote::{Author, Remote, Revision};
use super::store::{Outcome, Store};
use super::table::{self, Table};
use super::world::{Broken, World};

#[derive(Debug, Clone, Default)]
pub struct Oracle {
    /// Sequences that were committed.
    taken: BTreeSet<u64>,
    /// What became of each revision of each record, whenever it was first seen in a message.
    verdicts: BTreeMap<(usize, usize), Vec<Verdict>>,
    /// Changes by the edit that caused them.
    changes: BTreeMap<(usize, usize), usize>,
    /// Records whose time line could not tell old from new: equal or missing positions that came out of order.
    tainted: BTreeSet<usize>,
    /// The highest position that took effect.
    effective: BTreeMap<usize, Position>,
    /// Natives that commands asked for, by record.
    asked: BTreeMap<usize, BTreeSet<String>>,
    /// Writes that changed a record: the revision before, and the item version.
    writes: BTreeMap<usize, Vec<(usize, u64)>>,
    expected: Option<(usize, usize)>,
    first_row: usize,
    /// Edits that looked like our own writes, under a credential that cannot tell.
    pub absorbed: usize,
    /// Our own writes that looked like edits, where two connectors wrote at once.
    pub mistaken: usize,
}

impl Oracle {
    /// The records are tied; from here on every change needs an edit.
    pub fn start(&mut self, store: &Store) {
        self.first_row = store.rows.len();
    }

    pub fn tainted(&self) -> bool {
        !self.tainted.is_empty()
    }

    pub fn asked(&mut self, remote: usize, command: &Command) {
        if command.mode == CommandMode::Tell {
            self.asked.entry(remote).or_default().insert(command.native.to_string());
        }
    }

    pub fn wrote(&mut self, remote: &Remote, place: usize, command: &Command) {
        self.writes.entry(place).or_default().push((remote.newest(), command.version.0));
    }

    /// In a calm world: what the next quiet moment must show.
    pub fn expect(&mut self, remote: usize, revision: usize) {
        self.expected = Some((remote, revision));
    }

    /// A calm world is quiet.
    pub fn calm(&mut self, world: &World) -> Result<(), Broken> {
        if let Some(conflict) = world.store.conflicts.values().next() {
            return Err(format!("edits that do not overlap never conflict: {conflict:?}"));
        }
        Self::converged(world, "in a calm world")?;
        let Some((place, revision)) = self.expected.take() else { return Ok(()) };
        let remote = &world.remotes[place];
        let group = group_of(world, place)?;
        let native = remote.revisions[revision].native.as_str();
        let alone = group.links.iter().filter(|link| link.record.kind == remote.record.kind).count() == 1;
        let reworded = same_meaning(remote.table, &remote.revisions[revision - 1], &remote.revisions[revision]);
        if alone
            && !reworded
            && !remote.table.is_read_only()
            && remote.table.normal(native) != Some(remote.table.get(group.item.status.as_str()))
        {
            return Err(format!(
                "no silent loss: {} was set to {native}, the item is {}",
                remote.record, group.item.status
            ));
        }
        Ok(())
    }

    /// One message was committed.
    pub fn committed(
        &mut self,
        world: &World,
        message: &Message,
        before: Option<&Group>,
        outcome: &Outcome,
    ) -> Result<(), Broken> {
        let after = outcome.item.and_then(|id| world.store.groups.get(&id));
        if !self.taken.insert(message.receipt.sequence) {
            if !outcome.rows.is_empty() || (after.is_some() && after != before) {
                return Err(format!("effectively once: message {} changed something the second time", message.id()));
            }
            return Ok(());
        }
        let revision = message.revision.map(|revision| (message.remote, revision));
        if let Some(at) = revision {
            self.verdicts.entry(at).or_default().push(outcome.verdict);
            self.note_order(world, at);
        }
        for row in &outcome.rows {
            self.row(world, message, before, row)?;
        }
        if let (Some((remote, revision)), true) = (revision, outcome.verdict != Verdict::Stale) {
            let position = world.remotes[remote].revisions[revision].position;
            if let Some(position) = position {
                let highest = self.effective.entry(remote).or_insert(position);
                *highest = position.max(*highest);
            }
        }
        Ok(())
    }

    /// Notes where a record's own time line cannot tell what came first.
    fn note_order(&mut self, world: &World, (remote, revision): (usize, usize)) {
        let revisions = &world.remotes[remote].revisions;
        let this = &revisions[revision];
        let later = self
            .verdicts
            .range((remote, revision + 1)..=(remote, usize::MAX))
            .map(|((_, place), _)| &revisions[*place]);
        let mut confused = later.filter(|later| later.position == this.position && later.native != this.native);
        if confused.next().is_some() {
            self.tainted.insert(remote);
        }
    }

    fn took_a_person_for_us(&self, place: usize, remote: &Remote) -> bool {
        let all = self.verdicts.range((place, 0)..=(place, usize::MAX));
        let echoes = all.filter(|(_, verdicts)| verdicts.contains(&Verdict::LateEcho));
        echoes.into_iter().any(|((_, revision), _)| remote.revisions[base(remote, *revision)].by == Author::Person)
    }

    fn row(
        &mut self,
        world: &World,
        message: &Message,
        before: Option<&Group>,
        row: &HistoryRow,
    ) -> Result<(), Broken> {
        let said = || format!("row {:?} {:?} -> {} ({:?}) of {}", row.kind, row.from, row.to, row.reason, message.id());
        match row.kind {
            RowKind::Lost | RowKind::Candidate => {
                let known = row.conflict.is_some_and(|id| world.store.conflicts.contains_key(&id));
                if !known {
                    return Err(format!("no silent loss: {} names no recorded conflict", said()));
                }
            }
            RowKind::Changed => {
                self.changed(world, message, before, row).map_err(|why| format!("{why}: {}", said()))?;
            }
            _ => {}
        }
        let effective = matches!(
            row.kind,
            RowKind::Changed | RowKind::Lost | RowKind::Candidate | RowKind::Refused | RowKind::Folded
        );
        let known = self.effective.get(&message.remote).copied();
        if effective && message.revision.is_some() && row.position.is_some() && row.position < known {
            return Err(format!("order: {} took effect after a later one", said()));
        }
        Ok(())
    }

    fn changed(
        &mut self,
        world: &World,
        message: &Message,
        before: Option<&Group>,
        row: &HistoryRow,
    ) -> Result<(), Broken> {
        let by_word = matches!(row.reason, Reason::Forced | Reason::RolledBack | Reason::Picked);
        let Some(from) = row.from.as_ref() else { return Ok(()) };
        if *from == row.to {
            return Err("nobody but they: a change to the same status".to_owned());
        }
        if before.is_some_and(|before| before.item.held.is_some()) && !by_word {
            return Err("a held item waits for a person".to_owned());
        }
        let Body::Seen(seen) = &message.body else {
            return Err("nobody but they: a change is born of a connector's report".to_owned());
        };
        let Some(revision) = message.revision else {
            let said = seen.intent != Intent::Status || row.reason == Reason::Asked;
            return if said { Ok(()) } else { Err("no revision".to_owned()) };
        };
        let remote = &world.remotes[message.remote];
        let edit = base(remote, revision);
        let tainted = self.tainted.contains(&message.remote);
        // Two connectors wrote at once, or a person's edit was taken for the write that was on its way; and nothing says that
        // this one was us: no system offers a fence against that.
        let confused = world.had_overlaps(message.remote) || self.took_a_person_for_us(message.remote, remote);
        // Who touches what an old copy brought back seems to have set what it shows.
        let touched =
            remote.revisions[revision].by == Author::Touch && is_old_copy(&remote.revisions[set_at(remote, revision)]);
        let mistaken = (confused && seen.origin == Origin::Unknown) || touched;
        if remote.revisions[edit].by != Author::Person && !tainted {
            if !mistaken {
                return Err("nobody but they: no person made this".to_owned());
            }
            self.mistaken += 1;
        }
        let count = self.changes.entry((message.remote, edit)).or_default();
        *count += 1;
        if *count > 1 && !tainted && !touched {
            return Err("nobody but they: one edit changed the item twice".to_owned());
        }
        let table = remote.table;
        let native = row.native.as_str();
        if table.normal(native).is_none() || table.is_silent(native) {
            return Err("a status that means nothing moved the item".to_owned());
        }
        let last_open = before.and_then(|before| before.item.last_open.as_ref()).map(model::Status::as_str);
        let meant = table.put(from.as_str(), native, last_open);
        let several = before
            .is_some_and(|before| before.links.iter().filter(|link| link.record.kind == row.record.kind).count() > 1);
        if !several && meant.as_deref() != Some(row.to.as_str()) {
            return Err(format!("{native} means {meant:?}"));
        }
        let lifecycle = world.policy.lifecycles.get(&world.policy.default_lifecycle).expect("it is built in");
        if !lifecycle.allows(from, &row.to) {
            if lifecycle.irregular(&row.record.system) != model::Irregular::Accept {
                return Err("the lifecycle does not take this".to_owned());
            }
            if table.is_read_only() && table::terminal(from.as_str()) {
                return Err("a read-only record reopened the item".to_owned());
            }
        }
        Ok(())
    }
}

/// The revision that set what this one shows.
fn base(remote: &Remote, revision: usize) -> usize {
    let set = set_at(remote, revision);
    match remote.revisions[set].by {
        Author::OldCopy(of) => base(remote, of),
        _ => set,
    }
}

/// Whoever touched it since left it as it was.
fn set_at(remote: &Remote, revision: usize) -> usize {
    (0..=revision).rev().find(|place| remote.revisions[*place].by != Author::Touch).unwrap_or(0)
}

fn is_old_copy(revision: &Revision) -> bool {
    matches!(revision.by, Author::OldCopy(_))
}

fn same_meaning(table: &Table, one: &Revision, other: &Revision) -> bool {
    means_same(table, one.native.as_str(), other.native.as_str())
}

fn means_same(table: &Table, one: &str, other: &str) -> bool {
    one == other || table.normal(one).is_some_and(|normal| table.normal(other) == Some(normal))
}

fn group_of(world: &World, place: usize) -> Result<&Group, Broken> {
    let record = &world.remotes[place].record;
    let found = world.store.item_of(record).and_then(|id| world.store.groups.get(&id));
    found.ok_or_else(|| format!("{record} belongs to no item"))
}

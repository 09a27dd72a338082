//! Judges a world: what must hold, checked by code that shares nothing with the model's but its answers.
//!
//! It knows what nobody in the world knows: who made each revision of each record, and everything that was ever stored.

mod edits;
mod ending;

use std::collections::{BTreeMap, BTreeSet};

use bus::Stream;
use model::{CommandMode, HistoryRow, ItemId, Native, Origin, RowKind};
use proto::v1;
use store::simulation::Tables;

use crate::land::{Author, Inside, Remote, Revision};
use crate::table::Table;
use crate::world::World;

/// What a judgement comes to; else a property that did not hold, in words.
pub type Verdict = Result<(), String>;

/// How things stood when the records were tied: from here on every change needs an edit.
pub struct Start {
    rows: usize,
}

impl Start {
    pub fn of(world: &World) -> Self {
        Self { rows: world.database.tables().history.len() }
    }
}

/// Everything there is to judge by.
struct Evidence<'a> {
    world: &'a World,
    land: &'a Inside,
    tables: &'a Tables,
    /// The rows since the records were tied.
    rows: &'a [HistoryRow],
    /// Natives that commands asked for, by record.
    asked: BTreeMap<usize, BTreeSet<String>>,
    /// What each observation's id stands for: a record's revision, and what was said of its origin.
    seen: BTreeMap<String, (usize, usize, Origin)>,
}

/// The records were tied as they should be, before anything went wrong.
pub fn tied(world: &World) -> Verdict {
    let tables = world.database.tables();
    for team in world.teams() {
        let inside = world.land.look();
        let item_of = |place: &usize| tables.records.get(&inside.remotes[*place].record).map(|(item, _)| *item);
        let items: BTreeSet<Option<ItemId>> = team.iter().map(item_of).collect();
        if items.len() != 1 || items.contains(&None) {
            return Err(format!("the records {team:?} belong to the items {items:?}"));
        }
    }
    Ok(())
}

/// Everything is delivered: what must hold does.
pub fn judge(world: &World, start: &Start) -> Verdict {
    let land = world.land.look();
    let tables = world.database.tables();
    let evidence = Evidence {
        world,
        land: &land,
        tables: &tables,
        rows: &tables.history[start.rows..],
        asked: asked(world, &land)?,
        seen: seen(world, &land)?,
    };
    ending::converged(&evidence)?;
    ending::versions_are_gapless(&evidence)?;
    ending::rows_stand_once(&evidence)?;
    ending::all_is_published(&evidence)?;
    ending::versions_are_told_in_order(&evidence)?;
    ending::dead_letters_are_explained(&evidence)?;
    edits::every_change_has_an_edit(&evidence)?;
    for place in 0..land.remotes.len() {
        edits::nothing_is_lost(&evidence, place)?;
        edits::writes_are_few(&evidence, place)?;
    }
    Ok(())
}

fn asked(world: &World, land: &Inside) -> Result<BTreeMap<usize, BTreeSet<String>>, String> {
    let mut asked: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for stored in world.jetstream.stored(Stream::Commands) {
        let command: v1::Command = proto::decode(None, &stored.payload).map_err(|error| error.to_string())?;
        let command = proto::command_from(command).map_err(|error| error.to_string())?;
        if command.mode == CommandMode::Tell {
            asked.entry(land.place_of(&command.record)).or_default().insert(command.native.to_string());
        }
    }
    Ok(asked)
}

fn seen(world: &World, land: &Inside) -> Result<BTreeMap<String, (usize, usize, Origin)>, String> {
    let mut seen = BTreeMap::new();
    for stored in world.jetstream.stored(Stream::Observations) {
        if !stored.subject.starts_with("lockstep.observe.") {
            continue;
        }
        let message: v1::Observation = proto::decode(None, &stored.payload).map_err(|error| error.to_string())?;
        let observation = proto::observation_from(message).map_err(|error| error.to_string())?;
        // One that is published anew for a command has the id of what was read in front.
        let id = observation.id.clone();
        let known = land.seen_as.get(&id).or_else(|| land.seen_as.get(id.rsplit_once('~')?.0));
        if let Some((place, revision)) = known {
            seen.insert(id, (*place, *revision, observation.origin));
        }
    }
    Ok(seen)
}

impl Evidence<'_> {
    /// Two of our writes to the record may have met, or a write was cut short and made again.
    fn is_confused(&self, place: usize) -> bool {
        let settings = &self.world.land.settings;
        let cut_short = settings.crashes || settings.lost_writes > 0 || settings.cuts || settings.reconfigurations;
        self.land.remotes[place].overlapped || cut_short || settings.server_restarts || settings.database_cuts
    }

    /// The record's own time line could not tell old from new: it has none, or two edits share a moment.
    fn is_tainted(&self, place: usize) -> bool {
        let remote = &self.land.remotes[place];
        remote.revisions.windows(2).any(|pair| {
            pair[0].native != pair[1].native && (pair[1].position.is_none() || pair[0].position == pair[1].position)
        })
    }
}

/// The revision that set what this one shows.
fn base(remote: &Remote, revision: usize) -> usize {
    let set = (0..=revision).rev().find(|place| remote.revisions[*place].by != Author::Touch).unwrap_or(0);
    match remote.revisions[set].by {
        Author::OldCopy(of) => base(remote, of),
        _ => set,
    }
}

fn same_meaning(table: &Table, one: &Native, other: &Native) -> bool {
    means_same(table, one.as_str(), other.as_str())
}

fn means_same(table: &Table, one: &str, other: &str) -> bool {
    one == other || table.normal(one).is_some_and(|normal| table.normal(other) == Some(normal))
}

fn is_person(revision: &Revision) -> bool {
    revision.by == Author::Person
}

fn is_old_copy(revision: &Revision) -> bool {
    matches!(revision.by, Author::OldCopy(_))
}

fn is_changed(row: &HistoryRow) -> bool {
    row.kind == RowKind::Changed
}

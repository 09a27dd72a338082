//! What the holder of a partition carried out: to tell a person's edit from a write of ours, and an old command from a new one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Command, Earlier, ItemId, Observation, Position, RecordRef, Version};

/// How many writes are remembered. One that is forgotten is taken to have been made.
const REMEMBERED: usize = 4_096;

/// The writes of one partition since it is held. While it is held nobody else writes its records.
#[derive(Debug, Clone)]
pub(super) struct Writes(Arc<Mutex<Known>>);

#[derive(Debug)]
struct Known {
    /// Of commands sent because of this observation or an earlier one nothing is known.
    since: u64,
    begun: BTreeSet<(RecordRef, Version)>,
    /// The same in their order, each with the observation that its command was sent because of.
    order: VecDeque<(RecordRef, Version, u64)>,
    /// The newest command of each of these records that was carried out.
    newest: BTreeMap<RecordRef, Sent>,
    /// Where these records stood after our last write.
    made: BTreeMap<RecordRef, Position>,
    /// Records to which a write was begun of which it is not known what became: it may land at any time.
    unsure: BTreeSet<RecordRef>,
}

/// Which command of its record one is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    item: ItemId,
    version: Version,
    cause: u64,
}

impl Writes {
    /// None yet. `last` is the last observation that may have led to a command which somebody else carried out.
    pub(super) fn after(last: u64) -> Self {
        Self(Arc::new(Mutex::new(Known::after(last))))
    }

    /// A command is about to be carried out; however that ends, it may have been.
    pub(super) fn begin(&self, command: &Command) {
        self.known().begin(command, REMEMBERED);
    }

    /// The record is about to be written. Whether what became of all earlier writes is known.
    pub(super) fn begin_write(&self, record: &RecordRef) -> bool {
        self.known().unsure.insert(record.clone())
    }

    /// A command was carried out, and the record stands there since. `is_sure` is what [`Writes::begin_write`] said.
    pub(super) fn made(&self, command: &Command, position: Option<Position>, is_sure: bool) {
        self.known().made(command, position, is_sure);
    }

    /// Whether somebody edited the record since our last write of it, and whoever sent the command did not know of that: be it back to what
    /// it showed before, which the command expects.
    pub(super) fn is_edited_since(&self, command: &Command, shown: &Observation) -> bool {
        self.known().is_edited_since(command, shown)
    }

    /// Whether the record may show something because an earlier command was carried out.
    pub(super) fn may_have_been(&self, record: &RecordRef, earlier: &Earlier) -> bool {
        self.known().may_have_been(record, earlier)
    }

    /// Whether a newer command of the same item was carried out: of two resolvers the slower may publish last.
    pub(super) fn is_behind(&self, command: &Command) -> bool {
        self.known().is_behind(command)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn after(last: u64) -> Self {
        Self {
            since: last,
            begun: BTreeSet::new(),
            order: VecDeque::new(),
            newest: BTreeMap::new(),
            made: BTreeMap::new(),
            unsure: BTreeSet::new(),
        }
    }

    fn begin(&mut self, command: &Command, most: usize) {
        if !self.is_behind(command) {
            self.newest.insert(command.record.clone(), Sent::of(command));
        }
        if !self.begun.insert((command.record.clone(), command.version)) {
            // Sent once more, and so the last to be forgotten.
            self.order.retain(|(record, version, _)| (record, *version) != (&command.record, command.version));
        }
        self.order.push_back((command.record.clone(), command.version, command.cause));
        if self.order.len() > most
            && let Some((record, version, cause)) = self.order.pop_front()
        {
            if self.newest.get(&record).is_some_and(|newest| newest.version == version) {
                self.newest.remove(&record);
                self.made.remove(&record);
                self.unsure.remove(&record);
            }
            self.begun.remove(&(record, version));
            self.since = self.since.max(cause);
        }
    }

    fn made(&mut self, command: &Command, position: Option<Position>, is_sure: bool) {
        if is_sure {
            self.unsure.remove(&command.record);
        }
        match position {
            Some(position) => drop(self.made.insert(command.record.clone(), position)),
            None => drop(self.made.remove(&command.record)),
        }
    }

    fn is_edited_since(&self, command: &Command, shown: &Observation) -> bool {
        let Some(stood) = self.made.get(&command.record) else { return false };
        let others =
            command.earlier.iter().any(|earlier| earlier.native == shown.native && earlier.since <= self.since);
        let is_news = shown.position.is_some() && shown.position > command.position.max(Some(*stood));
        is_news && shown.native != command.native && !others && !self.unsure.contains(&command.record)
    }

    fn may_have_been(&self, record: &RecordRef, earlier: &Earlier) -> bool {
        earlier.since <= self.since || self.begun.contains(&(record.clone(), earlier.version))
    }

    fn is_behind(&self, command: &Command) -> bool {
        self.newest.get(&command.record).is_some_and(|newest| newest.is_after(command))
    }
}

impl Sent {
    pub(super) fn of(command: &Command) -> Self {
        Self { item: command.item, version: command.version, cause: command.cause }
    }

    /// Whether it is newer than a command of the same record. A higher version alone says nothing: a database that was brought back
    /// from a copy counts on from there.
    pub(super) fn is_after(&self, command: &Command) -> bool {
        self.item == command.item && self.version > command.version && self.cause > command.cause
    }
}

#[cfg(test)]
mod tests {
    use model::{CommandMode, Native, Status};

    use super::*;

    fn command(version: u64) -> Command {
        let record: RecordRef = "fake/thing/one".parse().unwrap();
        Command {
            item: record.own_item(),
            record,
            version: Version(version),
            status: Status::new("done").unwrap(),
            previous: None,
            native: Native::new("closed").unwrap(),
            mode: CommandMode::Tell,
            expects: vec![],
            earlier: vec![],
            position: None,
            key: None,
            cause: version * 10,
        }
    }

    #[test]
    fn what_may_have_been_written_is_what_was_begun_and_what_nobody_knows_of() {
        let mut known = Known::after(15);
        let native = || Native::new("closed").unwrap();
        let may = |known: &Known, version: u64| {
            let earlier = Earlier { version: Version(version), native: native(), since: version * 10 };
            known.may_have_been(&command(version).record, &earlier)
        };
        assert!(may(&known, 1), "before the partition was held");
        assert!(!may(&known, 2));
        known.begin(&command(2), 2);
        assert!(may(&known, 2) && !may(&known, 3));
        known.begin(&command(4), 2);
        known.begin(&command(4), 2);
        known.begin(&command(5), 2);
        assert!(may(&known, 2), "forgotten, not undone");
        assert!(!may(&known, 3) && may(&known, 4) && may(&known, 5));
    }

    #[test]
    fn behind_is_what_is_older_by_its_version_and_by_its_cause() {
        let mut known = Known::after(0);
        assert!(!known.is_behind(&command(2)));
        known.begin(&command(2), 9);
        assert!(known.is_behind(&command(1)) && !known.is_behind(&command(2)) && !known.is_behind(&command(3)));
        assert!(!known.is_behind(&Command { cause: 21, ..command(1) }), "the item's versions are counted anew");
        let record: RecordRef = "fake/thing/two".parse().unwrap();
        assert!(!known.is_behind(&Command { item: record.own_item(), ..command(1) }), "another item's");
        known.begin(&command(1), 9);
        assert!(known.is_behind(&command(1)), "the newest stays the newest");
        for version in 3..6 {
            known.begin(&command(version), 2);
        }
        assert_eq!((known.order.len(), known.begun.len()), (2, 2));
    }

    #[test]
    fn edited_since_is_what_stands_further_than_where_we_left_it_and_than_was_known() {
        let shows = |native: &str, position: u64| {
            let (record, native) = (command(1).record, Native::new(native).unwrap());
            Observation {
                position: Some(Position(position)),
                ..Observation::new("x".into(), record, native, model::Source::Poll, model::Timestamp(0))
            }
        };
        let writes = || {
            let writes = Writes::after(15);
            writes.begin(&command(2));
            let is_sure = writes.begin_write(&command(2).record);
            writes.made(&command(2), Some(Position(7)), is_sure);
            writes
        };
        for version in [2, 3] {
            assert!(writes().is_edited_since(&command(version), &shows("open", 8)));
            let knows = |position| Command { position: Some(Position(position)), ..command(version) };
            assert!(writes().is_edited_since(&knows(7), &shows("open", 8)));
            assert!(!writes().is_edited_since(&knows(8), &shows("open", 8)), "and is sent because of it");
            assert!(!writes().is_edited_since(&command(version), &shows("open", 7)), "it may be an old view of it");
            assert!(!writes().is_edited_since(&command(version), &shows("closed", 8)), "as it should be");
        }
        let other = Command { record: "fake/thing/two".parse().unwrap(), ..command(2) };
        assert!(!writes().is_edited_since(&other, &shows("open", 8)), "nobody knows where we left that one");
        let earlier = |since| Earlier { version: Version(1), native: Native::new("open").unwrap(), since };
        let after = |since| Command { earlier: vec![earlier(since)], ..command(2) };
        assert!(writes().is_edited_since(&after(16), &shows("open", 8)), "ours, and its end is known");
        assert!(!writes().is_edited_since(&after(15), &shows("open", 8)), "another holder may have begun that");
        let unsure = writes();
        assert!(unsure.begin_write(&command(2).record), "cut off: it may land yet");
        assert!(!unsure.is_edited_since(&command(2), &shows("open", 8)));
        let is_sure = unsure.begin_write(&command(2).record);
        unsure.made(&command(2), Some(Position(7)), is_sure);
        assert!(!unsure.is_edited_since(&command(2), &shows("open", 8)), "one that ended tells nothing of the other");
    }
}

//! What the holder of a partition carried out: to tell a person's edit from a write of ours, and an old command from a new one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Command, Earlier, ItemId, RecordRef, Version};

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
        Self { since: last, begun: BTreeSet::new(), order: VecDeque::new(), newest: BTreeMap::new() }
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
            }
            self.begun.remove(&(record, version));
            self.since = self.since.max(cause);
        }
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
}

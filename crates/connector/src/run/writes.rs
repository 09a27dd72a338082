//! What the holder of a partition began to write, to tell a person's edit from a write of ours.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use model::{Command, Earlier, RecordRef, Version};

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
}

impl Writes {
    /// None yet. `last` is the last observation that may have led to a command which somebody else carried out.
    pub(super) fn after(last: u64) -> Self {
        Self(Arc::new(Mutex::new(Known { since: last, begun: BTreeSet::new(), order: VecDeque::new() })))
    }

    /// A write is about to begin; however it ends, it may have been made.
    pub(super) fn begin(&self, command: &Command) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).begin(command, REMEMBERED);
    }

    /// Whether the record may show something because an earlier command was carried out.
    pub(super) fn may_have_been(&self, record: &RecordRef, earlier: &Earlier) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).may_have_been(record, earlier)
    }
}

impl Known {
    fn begin(&mut self, command: &Command, most: usize) {
        if !self.begun.insert((command.record.clone(), command.version)) {
            return;
        }
        self.order.push_back((command.record.clone(), command.version, command.cause));
        if self.order.len() > most
            && let Some((record, version, cause)) = self.order.pop_front()
        {
            self.begun.remove(&(record, version));
            self.since = self.since.max(cause);
        }
    }

    fn may_have_been(&self, record: &RecordRef, earlier: &Earlier) -> bool {
        earlier.since <= self.since || self.begun.contains(&(record.clone(), earlier.version))
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
        let mut known = Known { since: 15, begun: BTreeSet::new(), order: VecDeque::new() };
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
}

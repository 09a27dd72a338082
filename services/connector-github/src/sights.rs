//! Names what was seen so that copies vanish on the bus and turns do not, though GitHub's times have whole seconds.
//!
//! Pure. Within one second an issue can be closed, opened and closed again, and all three look like two. What was last seen of
//! a record is remembered for as long as another edit may share its second: the same again is a copy, anything else a turn.
//! Without the memory, after a restart, turns have names that no earlier process gave. What the second ended with is told once
//! more when it is over: another process may have told a turn in between that this one never saw.

use std::collections::HashMap;

use model::{Native, Observation, Position, RecordRef, Source, Timestamp};

/// How long after a second has begun another edit may still turn up in it, and how long after it was first seen: GitHub's
/// clock and ours may differ by minutes.
const UNSETTLED_MS: i64 = 5_000;
/// How many records are remembered; past it all are forgotten, which costs copies and nothing else.
const RECORDS_MAX: usize = 10_000;

/// Whether another edit may yet turn up in the second of this one.
pub fn is_unsettled(at: Timestamp, now_ms: i64) -> bool {
    now_ms - at.0 < UNSETTLED_MS
}

/// What was last seen of each record.
#[derive(Debug)]
pub struct Sights {
    born_ms: i64,
    turns: u64,
    known: HashMap<RecordRef, Last>,
    /// When each record was last written by this process, by our clock.
    written: HashMap<RecordRef, i64>,
}

#[derive(Debug)]
struct Last {
    position: Position,
    native: Native,
    id: String,
    /// When this position was first seen, by our clock.
    since_ms: i64,
    /// How many statuses in a row were seen at this position when its second was over.
    late: u32,
    /// Something else than a sweep told of this position.
    told: bool,
}

impl Sights {
    /// Nothing seen yet, by a process that began then.
    pub fn new(born_ms: i64) -> Self {
        Self { born_ms, turns: 0, known: HashMap::new(), written: HashMap::new() }
    }

    /// Notes that this process wrote a record.
    pub fn wrote(&mut self, record: &RecordRef, now_ms: i64) {
        if self.written.len() >= RECORDS_MAX {
            self.written.retain(|_, at_ms| now_ms - *at_ms < UNSETTLED_MS);
        }
        self.written.insert(record.clone(), now_ms);
    }

    /// Whether what a sweep reads may be older than what is known: this process wrote the record a moment ago, or another edit
    /// may yet turn up in the second of this one, of which something else than a sweep told.
    pub fn is_better_known(&self, seen: &Observation, now_ms: i64) -> bool {
        if self.written.get(&seen.record).is_some_and(|at_ms| now_ms - at_ms < UNSETTLED_MS) {
            return true;
        }
        let last = self.known.get(&seen.record).filter(|last| Some(last.position) == seen.position);
        last.is_some_and(|last| last.told && now_ms - last.since_ms < UNSETTLED_MS)
    }

    /// Gives an observation, whose id says only what it shows and where, the id that it goes by.
    pub fn name(&mut self, seen: &mut Observation, now_ms: i64) {
        let Some(position) = seen.position else { return };
        let mut unsettled = is_unsettled(seen.occurred_at, now_ms);
        let (mut late, mut told, mut since_ms) = (0, seen.source != Source::Sweep, now_ms);
        match self.known.get_mut(&seen.record) {
            // It is stale, and will be taken for that whatever its name.
            Some(last) if last.position > position => return,
            Some(last) if last.position == position => {
                unsettled = now_ms - last.since_ms < UNSETTLED_MS;
                since_ms = last.since_ms;
                last.told |= told;
                if last.native == seen.native && (unsettled || last.late > 0) {
                    seen.id.clone_from(&last.id);
                    return;
                }
                late = last.late;
                told = last.told;
            }
            // What is over has one name, and nothing to be told apart from.
            _ if !unsettled => return,
            _ => {}
        }
        if unsettled {
            self.turns += 1;
            seen.id = format!("{}~{}.{}", seen.id, self.born_ms, self.turns);
        } else {
            late += 1;
            // A webhook was so late that it came after what the second had ended with: that is told again.
            if late > 1 && seen.source != Source::Webhook {
                seen.id = format!("{}~{}.late{late}", seen.id, self.born_ms);
            }
        }
        if self.known.len() >= RECORDS_MAX && !self.known.contains_key(&seen.record) {
            self.known.clear();
        }
        let last = Last { position, native: seen.native.clone(), id: seen.id.clone(), since_ms, late, told };
        self.known.insert(seen.record.clone(), last);
    }
}

#[cfg(test)]
mod tests {
    use connector::observation_id;

    use super::*;
    use crate::address::{Address, Of};
    use crate::decode::{Shown, observation};

    const AT: &str = "2026-11-20T09:30:00Z";
    const SOON: i64 = 1_795_167_001_000;
    const LATER: i64 = SOON + UNSETTLED_MS;

    fn seen(native: &str, updated_at: &str) -> Observation {
        let shown = Shown { title: "x", url: "x", updated_at, mentions: Vec::new() };
        let address = Address::new("acme/web", 7).unwrap();
        observation(&address, Of::Issue, Native::new(native).unwrap(), shown, Source::Webhook).unwrap()
    }

    fn id(sights: &mut Sights, native: &str, now_ms: i64) -> String {
        let mut seen = seen(native, AT);
        sights.name(&mut seen, now_ms);
        seen.id
    }

    #[test]
    fn the_same_again_is_a_copy() {
        let mut sights = Sights::new(1);
        let first = id(&mut sights, "open", SOON);
        assert_eq!(id(&mut sights, "open", SOON), first);
        let over = id(&mut sights, "open", LATER);
        assert_ne!(over, first, "another process may have told something else of its second");
        assert_eq!(id(&mut sights, "open", LATER), over);
    }

    #[test]
    fn what_returns_behind_another_processs_back_is_told_when_its_second_is_over() {
        let (mut one, mut other) = (Sights::new(1), Sights::new(2));
        let told = [id(&mut one, "open", SOON), id(&mut other, "closed/completed", SOON), id(&mut one, "open", SOON)];
        assert_eq!(told[0], told[2], "one process cannot know that it was closed in between");
        assert!(
            !told.contains(&id(&mut one, "open", LATER)),
            "the sweep's sight must not vanish as a copy of the first"
        );
    }

    #[test]
    fn there_and_back_within_a_second_are_three() {
        let mut sights = Sights::new(1);
        let ids = ["open", "closed/completed", "open"].map(|native| id(&mut sights, native, SOON));
        assert_ne!(ids[0], ids[1]);
        assert_ne!(ids[0], ids[2]);
    }

    #[test]
    fn what_a_turbulent_second_ends_with_is_told_once_more_when_it_is_over() {
        let mut sights = Sights::new(1);
        let ids = ["open", "closed/completed"].map(|native| id(&mut sights, native, SOON));
        for native in ["closed/completed", "open"] {
            let over = id(&mut sights, native, LATER);
            assert!(!ids.contains(&over), "webhooks may have come in another order than the edits");
            assert_eq!(id(&mut sights, native, LATER), over);
        }
    }

    #[test]
    fn a_process_that_knows_nothing_takes_nothing_for_a_copy_of_what_another_told() {
        let told = id(&mut Sights::new(1), "open", SOON);
        assert_ne!(id(&mut Sights::new(2), "open", SOON), told);
        let over = id(&mut Sights::new(2), "open", LATER);
        assert_ne!(over, told);
        assert_eq!(over, id(&mut Sights::new(3), "open", LATER), "what is over has one name");
    }

    #[test]
    fn a_webhook_that_comes_when_all_is_over_does_not_have_the_last_word() {
        let mut sights = Sights::new(1);
        for native in ["open", "closed/completed"] {
            id(&mut sights, native, SOON);
        }
        let read = |sights: &mut Sights| {
            let mut seen = Observation { source: Source::Sweep, ..seen("open", AT) };
            sights.name(&mut seen, LATER);
            seen.id
        };
        let over = read(&mut sights);
        id(&mut sights, "closed/completed", LATER);
        let again = read(&mut sights);
        assert_ne!(again, over);
        assert_eq!(read(&mut sights), again);
    }

    #[test]
    fn a_second_is_over_though_our_clock_is_minutes_behind() {
        let (mut sights, behind) = (Sights::new(1), SOON - 180_000);
        let ids = ["open", "closed/completed"].map(|native| id(&mut sights, native, behind));
        assert!(sights.is_better_known(&seen("open", AT), behind + 1_000));
        assert!(!sights.is_better_known(&seen("open", AT), behind + UNSETTLED_MS));
        let over = id(&mut sights, "open", behind + UNSETTLED_MS);
        assert!(!ids.contains(&over));
        assert_eq!(over, observation_id(&seen("open", AT).record, &seen("open", AT).native, 1_795_167_000_000));
    }

    #[test]
    fn what_is_older_than_the_newest_moves_nothing() {
        let mut sights = Sights::new(1);
        let newest = id(&mut sights, "open", SOON);
        let mut old = seen("closed/completed", "2026-11-20T09:29:59Z");
        sights.name(&mut old, SOON);
        assert_eq!(old.id, observation_id(&old.record, &old.native, 1_795_166_999_000));
        assert_eq!(id(&mut sights, "open", SOON), newest);
    }

    #[test]
    fn what_this_process_wrote_a_moment_ago_is_better_known_than_a_page() {
        let mut sights = Sights::new(0);
        let one = seen("open", AT);
        assert!(!sights.is_better_known(&one, 10_000));
        sights.wrote(&one.record, 10_000);
        assert!(sights.is_better_known(&one, 10_000 + UNSETTLED_MS - 1));
        assert!(!sights.is_better_known(&one, 10_000 + UNSETTLED_MS));
    }
}

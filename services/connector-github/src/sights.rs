//! Names what was seen so that copies vanish on the bus and turns do not, though GitHub's times have whole seconds.
//!
//! Pure. Within one second an issue can be closed, opened and closed again, and all three look like two. What was last seen of
//! a record is remembered for as long as another edit may share its second: the same again is a copy, anything else a turn.
//! Without the memory, after a restart, turns have names that no earlier process gave.

use std::collections::HashMap;

use model::{Native, Observation, Position, RecordRef, Source, Timestamp};

/// How long after a second has begun another edit may still turn up in it, by our clock.
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
}

#[derive(Debug)]
struct Last {
    position: Position,
    native: Native,
    id: String,
    /// How many statuses in a row were seen at this position.
    turns: u32,
    /// Something else than a sweep told of this position.
    told: bool,
}

impl Sights {
    /// Nothing seen yet, by a process that began then.
    pub fn new(born_ms: i64) -> Self {
        Self { born_ms, turns: 0, known: HashMap::new() }
    }

    /// Whether anything but a sweep told of this position of the record.
    pub fn was_told(&self, seen: &Observation) -> bool {
        self.known.get(&seen.record).is_some_and(|last| last.told && Some(last.position) == seen.position)
    }

    /// Gives an observation, whose id says only what it shows and where, the id that it goes by.
    pub fn name(&mut self, seen: &mut Observation, now_ms: i64) {
        let Some(position) = seen.position else { return };
        let unsettled = is_unsettled(seen.occurred_at, now_ms);
        let (mut turns, mut told) = (1, seen.source != Source::Sweep);
        match self.known.get_mut(&seen.record) {
            // It is stale, and will be taken for that whatever its name.
            Some(last) if last.position > position => return,
            Some(last) if last.position == position => {
                last.told |= told;
                if last.native == seen.native && (unsettled || last.turns == 1) {
                    seen.id.clone_from(&last.id);
                    return;
                }
                turns += last.turns;
                told = last.told;
            }
            // What is over has one name, and nothing to be told apart from.
            _ if !unsettled => return,
            _ => {}
        }
        if unsettled {
            self.turns += 1;
            seen.id = format!("{}~{}.{}", seen.id, self.born_ms, self.turns);
        }
        if self.known.len() >= RECORDS_MAX && !self.known.contains_key(&seen.record) {
            self.known.clear();
        }
        let last = Last { position, native: seen.native.clone(), id: seen.id.clone(), turns, told };
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
        assert_eq!(id(&mut sights, "open", LATER), first, "nothing else was ever seen in its second");
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
    fn what_is_older_than_the_newest_moves_nothing() {
        let mut sights = Sights::new(1);
        let newest = id(&mut sights, "open", SOON);
        let mut old = seen("closed/completed", "2026-11-20T09:29:59Z");
        sights.name(&mut old, SOON);
        assert_eq!(old.id, observation_id(&old.record, &old.native, 1_795_166_999_000));
        assert_eq!(id(&mut sights, "open", SOON), newest);
    }
}

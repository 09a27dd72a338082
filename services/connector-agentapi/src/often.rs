//! Keeps agents that are told of each other's changes from doing so without end. Pure.
//!
//! One stands still, so its item is in review, so another is told and takes the item up, and stands still, so the first is told: each turn
//! is an agent's work, and nobody's wish.

use std::collections::VecDeque;

use model::RecordRef;

/// How often one agent is told of an item's changes that agents made.
const TIMES_MAX: usize = 3;
/// Within this time, in milliseconds.
const WINDOW_MS: i64 = 600_000;
/// How many are remembered.
const TOLD_MAX: usize = 10_000;

/// What agents were told lately of changes that agents made.
#[derive(Debug, Default)]
pub struct Often {
    /// The oldest first: when, whom, and of which item.
    told: VecDeque<(i64, RecordRef, String)>,
}

impl Often {
    /// Whether an agent was told of an item's changes by agents as often as may be.
    pub fn is_enough(&mut self, agent: &RecordRef, item: &str, now: i64) -> bool {
        while self.told.front().is_some_and(|(at, ..)| now - at > WINDOW_MS) || self.told.len() > TOLD_MAX {
            self.told.pop_front();
        }
        self.told.iter().filter(|(_, whom, of)| whom == agent && of == item).count() >= TIMES_MAX
    }

    /// It was told once more.
    pub fn note(&mut self, agent: &RecordRef, item: &str, now: i64) {
        self.told.push_back((now, agent.clone(), item.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::record;

    #[test]
    fn an_agent_is_told_so_often_of_an_items_changes_and_again_when_time_has_passed() {
        let (ada, ben, mut often) = (record("ada").unwrap(), record("ben").unwrap(), Often::default());
        for turn in 0..3 {
            assert!(!often.is_enough(&ada, "i", turn * 1_000), "turn {turn}");
            often.note(&ada, "i", turn * 1_000);
        }
        assert!(often.is_enough(&ada, "i", 3_000));
        assert!(!often.is_enough(&ben, "i", 3_000) && !often.is_enough(&ada, "j", 3_000));
        assert!(!often.is_enough(&ada, "i", WINDOW_MS + 1));
    }
}

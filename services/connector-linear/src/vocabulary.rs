//! A team's workflow states as the words that its issues can show.
//!
//! Pure. It remembers what it is given and forgets it with age; the clock is an argument.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use model::{Native, Vocabulary, Word};
use serde::{Deserialize, Serialize};

/// How many teams are remembered; past it all are forgotten, and asked for again.
const TEAMS_MAX: usize = 10_000;

/// A workflow state of a team.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Its id, by which an issue is put in it.
    pub id: String,
    /// What the team calls it.
    pub name: String,
    /// What Linear sorts it under; an open set.
    #[serde(rename = "type")]
    pub class: String,
    /// Its place among the team's states.
    #[serde(default)]
    pub position: f64,
}

/// A team's states in the team's own order.
pub fn ordered(mut states: Vec<State>) -> Vec<State> {
    states.sort_by(|one, other| one.position.total_cmp(&other.position));
    states
}

/// The words of ordered states. A name that cannot be a status is left out, and of two alike the first counts.
pub fn vocabulary(states: &[State]) -> Vocabulary {
    let mut seen = BTreeSet::new();
    let word = |state: &State| {
        let native = Native::new(&state.name).ok()?;
        seen.insert(native.clone()).then(|| Word { native, class: Arc::from(state.class.as_str()) })
    };
    Vocabulary(states.iter().filter_map(word).collect())
}

/// The teams whose words are known.
#[derive(Debug)]
pub struct Teams {
    ttl_ms: i64,
    known: HashMap<String, (Vocabulary, i64)>,
}

impl Teams {
    /// Teams that are remembered for `ttl_ms`.
    pub fn new(ttl_ms: i64) -> Self {
        Self { ttl_ms, known: HashMap::new() }
    }

    /// Remembers a team's words.
    pub fn learn(&mut self, team: &str, vocabulary: Vocabulary, now_ms: i64) {
        if self.known.len() >= TEAMS_MAX && !self.known.contains_key(team) {
            self.known.clear();
        }
        self.known.insert(team.to_owned(), (vocabulary, now_ms));
    }

    /// A team's words, if they are fresh and have the word asked for: one they lack was added since.
    pub fn with_word(&self, team: &str, native: &Native, now_ms: i64) -> Option<Vocabulary> {
        let (vocabulary, at_ms) = self.known.get(team)?;
        let fresh = now_ms - at_ms < self.ttl_ms;
        (fresh && vocabulary.0.iter().any(|word| word.native == *native)).then(|| vocabulary.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(name: &str, class: &str, position: f64) -> State {
        State { id: format!("id-{name}"), name: name.to_owned(), class: class.to_owned(), position }
    }

    fn native(name: &str) -> Native {
        Native::new(name).unwrap()
    }

    #[test]
    fn words_stand_in_the_teams_own_order() {
        let states = ordered(vec![
            state("Done", "completed", 3.5),
            state("Next", "unstarted", -1.0),
            state("Doing", "started", 2.0),
        ]);
        let words = vocabulary(&states);
        assert_eq!(words.0.iter().map(|word| word.native.as_str()).collect::<Vec<_>>(), ["Next", "Doing", "Done"]);
        assert_eq!(&*words.0[0].class, "unstarted");
    }

    #[test]
    fn of_two_states_of_one_name_the_first_counts() {
        let words = vocabulary(&ordered(vec![
            state("Doing", "completed", 2.0),
            state("Doing", "started", 1.0),
            state(" ", "started", 3.0),
        ]));
        assert_eq!(words.0.len(), 1);
        assert_eq!(&*words.0[0].class, "started");
    }

    #[test]
    fn an_unknown_word_or_an_old_team_is_asked_for_again() {
        let mut teams = Teams::new(1_000);
        assert_eq!(teams.with_word("t", &native("Todo"), 0), None);
        teams.learn("t", vocabulary(&[state("Todo", "unstarted", 0.0)]), 0);
        assert!(teams.with_word("t", &native("Todo"), 999).is_some());
        assert_eq!(teams.with_word("t", &native("Todo"), 1_000), None, "it is old");
        assert_eq!(teams.with_word("t", &native("Testing"), 0), None, "it lacks the word");
    }
}

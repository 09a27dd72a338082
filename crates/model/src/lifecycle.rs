//! Lifecycles: state machines as data. Which statuses there are, how far along each is, and which may follow which.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{LifecycleName, Status, System};

/// The lifecycles that are always there; configuration replaces or adds to them.
pub const BUILT_IN: &str = include_str!("lifecycles.toml");

/// A lifecycle that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    /// It is not TOML of the right shape.
    #[error("lifecycles: {0}")]
    Shape(String),
    /// It has no status.
    #[error("lifecycle {0}: has no statuses")]
    Empty(LifecycleName),
    /// A word is used for two things.
    #[error("lifecycle {lifecycle}: {word:?} stands twice among the statuses and synonyms")]
    Twice {
        /// Which lifecycle.
        lifecycle: LifecycleName,
        /// The word.
        word: String,
    },
    /// It speaks of a status that it does not have.
    #[error("lifecycle {lifecycle}: {place} names {word:?}, which is not one of its statuses ({known})")]
    Unknown {
        /// Which lifecycle.
        lifecycle: LifecycleName,
        /// Where.
        place: &'static str,
        /// The word.
        word: Status,
        /// What it could have been.
        known: String,
    },
}

/// What happens to an edit that the transition table does not allow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Irregular {
    /// Take it, and mark the history row.
    #[default]
    Accept,
    /// Send the record back to the canonical status.
    Reject,
    /// Open a conflict for a person.
    Hold,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    statuses: Vec<Status>,
    #[serde(default)]
    terminal: Vec<Status>,
    #[serde(default)]
    initial: Option<Status>,
    #[serde(default)]
    synonyms: BTreeMap<Status, Status>,
    #[serde(default)]
    transitions: BTreeMap<Status, Vec<Status>>,
    #[serde(default)]
    irregular: BTreeMap<String, Irregular>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    lifecycle: BTreeMap<LifecycleName, Entry>,
}

/// A state machine for one kind of item.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    name: LifecycleName,
    entry: Entry,
}

impl Lifecycle {
    fn checked(name: LifecycleName, entry: Entry) -> Result<Self, LifecycleError> {
        if entry.statuses.is_empty() {
            return Err(LifecycleError::Empty(name));
        }
        let mut words: Vec<&Status> = entry.statuses.iter().chain(entry.synonyms.keys()).collect();
        words.sort();
        if let Some(pair) = words.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(LifecycleError::Twice { lifecycle: name, word: pair[0].to_string() });
        }
        let from = entry.transitions.keys().map(|status| ("a transition's start", status));
        let to = entry.transitions.values().flatten().map(|status| ("a transition's end", status));
        let terminal = entry.terminal.iter().map(|status| ("terminal", status));
        let initial = entry.initial.iter().map(|status| ("initial", status));
        let synonyms = entry.synonyms.values().map(|status| ("a synonym", status));
        for (place, word) in from.chain(to).chain(terminal).chain(initial).chain(synonyms) {
            if !entry.statuses.contains(word) {
                let known = entry.statuses.iter().map(Status::as_str).collect::<Vec<_>>().join(", ");
                return Err(LifecycleError::Unknown { lifecycle: name, place, word: word.clone(), known });
            }
        }
        Ok(Self { name, entry })
    }

    /// Its name.
    pub fn name(&self) -> &LifecycleName {
        &self.name
    }

    /// Its statuses in rank order.
    pub fn statuses(&self) -> &[Status] {
        &self.entry.statuses
    }

    /// The status of an item of which nothing is known yet.
    pub fn initial(&self) -> &Status {
        self.entry.initial.as_ref().unwrap_or(&self.entry.statuses[0])
    }

    /// The status that a word stands for: itself, or what it is a synonym of.
    pub fn status(&self, word: &str) -> Option<&Status> {
        let own = self.entry.statuses.iter().find(|status| status.as_str() == word);
        own.or_else(|| self.entry.synonyms.iter().find(|(from, _)| from.as_str() == word).map(|(_, to)| to))
    }

    /// Other words for its statuses.
    pub fn synonyms(&self) -> impl Iterator<Item = (&Status, &Status)> {
        self.entry.synonyms.iter()
    }

    /// How far along a status is.
    pub fn rank(&self, status: &Status) -> usize {
        self.entry.statuses.iter().position(|known| known == status).unwrap_or(usize::MAX)
    }

    /// Whether a status ends the work.
    pub fn is_terminal(&self, status: &Status) -> bool {
        self.entry.terminal.contains(status)
    }

    /// Whether the table allows the step.
    pub fn allows(&self, from: &Status, to: &Status) -> bool {
        from == to || self.entry.transitions.get(from).is_some_and(|next| next.contains(to))
    }

    /// Whether the table allows a way of any length.
    pub fn reaches(&self, from: &Status, to: &Status) -> bool {
        let mut seen = vec![from];
        let mut next = 0;
        // Each status enters `seen` once, so the walk ends.
        while let Some(at) = seen.get(next).copied() {
            if at == to {
                return true;
            }
            for step in self.entry.transitions.get(at).into_iter().flatten() {
                if !seen.contains(&step) {
                    seen.push(step);
                }
            }
            next += 1;
        }
        false
    }

    /// What happens to a system's edit that the table does not allow.
    pub fn irregular(&self, system: &System) -> Irregular {
        let of = |name: &str| self.entry.irregular.get(name).copied();
        of(system.as_str()).or_else(|| of("default")).unwrap_or_default()
    }
}

/// All lifecycles by name.
#[derive(Debug, Clone)]
pub struct Lifecycles(BTreeMap<LifecycleName, Lifecycle>);

impl Lifecycles {
    /// The built-in ones.
    pub fn built_in() -> Result<Self, LifecycleError> {
        let mut all = Self(BTreeMap::new());
        all.add_toml(BUILT_IN)?;
        Ok(all)
    }

    /// Adds the `[lifecycle.<name>]` tables of a TOML text; a name that is known already is replaced.
    pub fn add_toml(&mut self, text: &str) -> Result<(), LifecycleError> {
        let file: File = toml::from_str(text).map_err(|error| LifecycleError::Shape(error.to_string()))?;
        for (name, entry) in file.lifecycle {
            self.0.insert(name.clone(), Lifecycle::checked(name, entry)?);
        }
        Ok(())
    }

    /// The lifecycle of that name.
    pub fn get(&self, name: &LifecycleName) -> Option<&Lifecycle> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Lifecycle> {
        self.0.values()
    }
}

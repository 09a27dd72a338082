//! Mappings: how one kind of record shows the statuses of one lifecycle, as a well-behaved lens.
//!
//! A system has fewer or other statuses than the lifecycle. `get` says what the record should show, `put` what the item
//! becomes when the record shows something else; the laws that keep the pair from losing detail are checked when a
//! mapping is loaded. Natives that mean the same (`approved` and `open`) are *aliases* of one representative, so that
//! the laws hold over everything a system can say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Fold, Kind, Lifecycle, LifecycleName, Lifecycles, Native, Status, System};

mod file;
mod laws;

pub use laws::MappingError;

/// What an open-again status means after a terminal one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reopen {
    /// The item returns to its last status that was not terminal.
    #[default]
    Previous,
    /// The item takes the mapping's preferred status.
    Preferred,
}

/// A native's class, where a system sorts the statuses that its users name: Linear's state `type`.
pub type Class = Arc<str>;

/// One status that a record can show, in its owners' word.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Word {
    /// The word.
    pub native: Native,
    /// What the system sorts it under.
    pub class: Class,
}

/// All statuses a record can show, in the system's own order, where its owners choose them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Vocabulary(pub Arc<[Word]>);

/// A mapping as written: by name first, then by class, so that it fits whatever vocabulary a team chose.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    /// Whose records.
    pub system: System,
    /// Which kind of them.
    pub kind: Kind,
    /// The lifecycle of the item they belong to.
    pub lifecycle: LifecycleName,
    /// For each canonical status the natives that may stand for it, best first; `type:<class>` is any of that class.
    get: BTreeMap<Status, Vec<String>>,
    /// The preferred canonical status for a native, or for `type:<class>`.
    put: BTreeMap<String, Status>,
    /// Natives that mean the same as another.
    alias: BTreeMap<Native, Native>,
    /// Natives that are known and change nothing.
    silent: BTreeSet<Native>,
    /// The natives that the record can be told; `None` for all.
    writable: Option<BTreeSet<Native>>,
    /// Natives from which the record cannot be told anything: nobody takes a merge back.
    ends: BTreeSet<Native>,
    /// The item's status can be shown beside the record where it cannot be told.
    shows: bool,
    reopen: Reopen,
    fold: Fold,
}

/// A mapping as it works for one vocabulary: `get` and `put`, lawful.
#[derive(Debug, Clone, PartialEq)]
pub struct Lens {
    get: BTreeMap<Status, Native>,
    missing: Vec<Status>,
    /// By representative.
    put: BTreeMap<Native, Status>,
    /// Every native that is known, and its representative.
    normal: BTreeMap<Native, Native>,
    silent: BTreeSet<Native>,
    writable: Option<BTreeSet<Native>>,
    ends: BTreeSet<Native>,
    shows: bool,
    reopen: Reopen,
    fold: Fold,
}

impl Lens {
    /// The lens of a system that nobody mapped: it speaks the lifecycle's own words, and cannot be told any.
    pub fn identity(lifecycle: &Lifecycle) -> Self {
        let pairs =
            || lifecycle.statuses().iter().filter_map(|status| Some((status, Native::new(status.as_str()).ok()?)));
        let own = pairs().map(|(_, native)| (native.clone(), native));
        let synonyms = lifecycle
            .synonyms()
            .filter_map(|(word, status)| Some((Native::new(word.as_str()).ok()?, Native::new(status.as_str()).ok()?)));
        Self {
            get: pairs().map(|(status, native)| (status.clone(), native)).collect(),
            missing: vec![],
            put: pairs().map(|(status, native)| (native, status.clone())).collect(),
            normal: own.chain(synonyms).collect(),
            silent: BTreeSet::new(),
            writable: Some(BTreeSet::new()),
            ends: BTreeSet::new(),
            shows: false,
            reopen: Reopen::default(),
            fold: Fold::default(),
        }
    }

    /// What the record should show, where an item has this status of its lifecycle
    /// ([`Policy::lifecycle_of_item`](crate::Policy::lifecycle_of_item)).
    pub fn get(&self, canonical: &Status) -> &Native {
        // Total by construction: `laws::lens` refuses a mapping without a native for each status.
        &self.get[canonical]
    }

    /// What the item becomes when the record shows `native`; `None` when no mapping knows it.
    ///
    /// `last_open` is what `reopen = "previous"` returns to.
    pub fn put(
        &self,
        lifecycle: &Lifecycle,
        canonical: &Status,
        native: &Native,
        last_open: Option<&Status>,
    ) -> Option<Status> {
        let normal = self.normal.get(native)?;
        if self.get(canonical) == normal {
            return Some(canonical.clone());
        }
        let preferred = self.put.get(normal)?;
        let reopens =
            self.reopen == Reopen::Previous && lifecycle.is_terminal(canonical) && !lifecycle.is_terminal(preferred);
        match last_open {
            // Only a status that the record would show as it does now: otherwise the law PutGet would break.
            Some(open) if reopens && self.get.get(open) == Some(normal) => Some(open.clone()),
            _ => Some(preferred.clone()),
        }
    }

    /// The native that stands for all that mean the same; `None` when no mapping knows it.
    pub fn normal(&self, native: &Native) -> Option<&Native> {
        self.normal.get(native)
    }

    /// The statuses for which the record's owners have no word: each is shown as the nearest that they have.
    pub fn missing(&self) -> &[Status] {
        &self.missing
    }

    /// Whether two natives mean the same.
    pub fn same(&self, one: &Native, other: &Native) -> bool {
        one == other || matches!((self.normal(one), self.normal(other)), (Some(a), Some(b)) if a == b)
    }

    /// Whether the record shows what an item of this status should.
    pub fn shows_status(&self, native: &Native, canonical: &Status) -> bool {
        self.normal(native) == Some(self.get(canonical))
    }

    /// A native that is known and changes nothing.
    pub fn is_silent(&self, native: &Native) -> bool {
        self.silent.contains(native)
    }

    /// A native that the mapping has a word for, be it one that changes nothing.
    pub fn knows(&self, native: &Native) -> bool {
        self.normal(native).is_some() || self.is_silent(native)
    }

    /// Whether a record that shows `shown` can be told `native`.
    pub fn can_tell(&self, shown: &Native, native: &Native) -> bool {
        !self.ends.contains(shown) && self.writable.as_ref().is_none_or(|writable| writable.contains(native))
    }

    /// Whether the record can be told nothing at all.
    pub fn is_read_only(&self) -> bool {
        self.writable.as_ref().is_some_and(BTreeSet::is_empty)
    }

    /// Whether the item's status can be shown beside the record.
    pub fn shows(&self) -> bool {
        self.shows
    }

    /// How several records of one system on one item are read together.
    pub fn fold(&self) -> Fold {
        self.fold
    }

    /// Every native that is known, and the representative of those that mean the same.
    pub fn natives(&self) -> impl Iterator<Item = (&Native, &Native)> {
        self.normal.iter()
    }

    /// The preferred canonical status of a representative.
    pub fn preferred(&self, normal: &Native) -> Option<&Status> {
        self.put.get(normal)
    }
}

impl Mapping {
    /// The lens for records of one vocabulary, or for those that have none.
    pub fn lens(&self, lifecycle: &Lifecycle, vocabulary: Option<&Vocabulary>) -> Result<Lens, MappingError> {
        laws::lens(self, lifecycle, vocabulary)
    }
}

/// All mappings, each checked.
#[derive(Debug, Clone, Default)]
pub struct Mappings(BTreeMap<(System, Kind, LifecycleName), Arc<Mapping>>);

impl Mappings {
    /// Adds the `[[mapping]]` tables of a TOML text, each checked against its lifecycle; one that is known already is
    /// replaced.
    pub fn add_toml(&mut self, text: &str, lifecycles: &Lifecycles) -> Result<(), MappingError> {
        for mapping in file::mappings(text)? {
            self.add(mapping, lifecycles)?;
        }
        Ok(())
    }

    /// Adds those that are not known yet; of the others not even the laws are asked.
    pub fn add_missing_toml(&mut self, text: &str, lifecycles: &Lifecycles) -> Result<(), MappingError> {
        for mapping in file::mappings(text)? {
            if self.get(&mapping.system, &mapping.kind, &mapping.lifecycle).is_none() {
                self.add(mapping, lifecycles)?;
            }
        }
        Ok(())
    }

    /// Adds one for records that speak a lifecycle's own words and can be told them, where none is known yet.
    pub fn add_own_words(
        &mut self,
        system: &System,
        kind: &Kind,
        lifecycle: &Lifecycle,
        lifecycles: &Lifecycles,
    ) -> Result<(), MappingError> {
        let line = |(one, other): (&Status, &Status)| format!("{:?} = {:?}", one.as_str(), other.as_str());
        let own: Vec<String> = lifecycle.statuses().iter().map(|status| line((status, status))).collect();
        let alias: Vec<String> = lifecycle.synonyms().map(line).collect();
        let (own, alias, name) = (own.join("\n"), alias.join("\n"), lifecycle.name());
        let text = format!(
            "[[mapping]]\nsystem = \"{system}\"\nkind = \"{kind}\"\nlifecycle = \"{name}\"
             [mapping.get]\n{own}\n[mapping.put]\n{own}\n[mapping.alias]\n{alias}\n"
        );
        self.add_missing_toml(&text, lifecycles)
    }

    /// Adds one mapping after checking its laws.
    pub fn add(&mut self, mapping: Mapping, lifecycles: &Lifecycles) -> Result<(), MappingError> {
        let lifecycle = lifecycles.get(&mapping.lifecycle).ok_or_else(|| MappingError::NoLifecycle {
            mapping: mapping.to_string(),
            lifecycle: mapping.lifecycle.clone(),
        })?;
        laws::check(&mapping.lens(lifecycle, None)?, lifecycle, &mapping.to_string())?;
        let name = (mapping.system.clone(), mapping.kind.clone(), mapping.lifecycle.clone());
        self.0.insert(name, Arc::new(mapping));
        Ok(())
    }

    /// The mapping for a kind of record and a lifecycle.
    pub fn get(&self, system: &System, kind: &Kind, lifecycle: &LifecycleName) -> Option<&Arc<Mapping>> {
        // A map keyed by three names is looked up by a tuple of owned names; `Arc` makes these clones cheap.
        self.0.get(&(system.clone(), kind.clone(), lifecycle.clone()))
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Mapping>> {
        self.0.values()
    }
}

impl std::fmt::Display for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} to {}", self.system, self.kind, self.lifecycle)
    }
}

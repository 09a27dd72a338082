//! Everything that configuration says about resolving.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::{
    Group, Item, Kind, Lens, Lifecycle, LifecycleName, Lifecycles, Link, Mappings, OnLink, RecordRef, Strategy, System,
    Vocabulary,
};

/// What configuration says about resolving.
#[derive(Debug)]
pub struct Policy {
    /// The state machines.
    pub lifecycles: Lifecycles,
    /// The lenses.
    pub mappings: Mappings,
    /// How conflicts are decided.
    pub strategy: Strategy,
    /// Lower wins. A system that is not named comes last.
    pub priorities: BTreeMap<System, u32>,
    /// Who wins when a record is tied to an item of another status.
    pub on_link: OnLink,
    /// Within it, two edits count as made at once, in milliseconds.
    pub clock_skew_ms: u64,
    /// So many conflicts within the window mean that two automations fight.
    pub escalation_threshold: usize,
    /// That window, in milliseconds.
    pub escalation_window_ms: u64,
    /// An unmapped native status is an error instead of a note on the link.
    pub strict: bool,
    /// The lifecycle of a record's own item.
    pub lifecycle_of: BTreeMap<(System, Kind), LifecycleName>,
    /// That of records whose kind is not named above.
    pub default_lifecycle: LifecycleName,
    /// A rule that tests leave out, to see that they would notice.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    pub left_out: Option<&'static str>,
    /// Lenses are pure functions of these keys, and making one costs more than resolving: each is made once.
    lenses: Mutex<LensCache>,
}

type LensCache = HashMap<(System, Kind, LifecycleName, Option<Vocabulary>), Option<Arc<Lens>>>;

impl Policy {
    /// How many lenses are kept; past it they are made anew. One for each kind of record and team.
    const LENSES_MAX: usize = 10_000;

    /// A name for what statuses mean by it: another one where a lifecycle or a mapping is another.
    pub fn meaning(&self) -> Uuid {
        const SPACE: Uuid = Uuid::from_u128(0x6d65_616e_696e_672d_6f66_2d73_7461_7475);
        Uuid::new_v5(&SPACE, format!("{:?}{:?}", self.lifecycles, self.mappings).as_bytes())
    }

    /// The defaults over the given lifecycles and mappings.
    pub fn new(lifecycles: Lifecycles, mappings: Mappings, default_lifecycle: LifecycleName) -> Self {
        let order = ["postgres", "linear", "github", "agentapi"];
        let priorities = order.iter().zip(0..).filter_map(|(name, number)| Some((System::new(name).ok()?, number)));
        Self {
            lifecycles,
            mappings,
            strategy: Strategy::default(),
            priorities: priorities.collect(),
            on_link: OnLink::default(),
            clock_skew_ms: 2_000,
            escalation_threshold: 3,
            escalation_window_ms: 600_000,
            strict: false,
            lifecycle_of: BTreeMap::new(),
            default_lifecycle,
            #[cfg(feature = "testing")]
            left_out: None,
            lenses: Mutex::default(),
        }
    }

    /// Whether a test left this rule out.
    #[cfg(feature = "testing")]
    pub(crate) fn leaves_out(&self, rule: &str) -> bool {
        self.left_out == Some(rule)
    }

    /// No rule is ever left out.
    #[cfg(not(feature = "testing"))]
    #[expect(clippy::unused_self, reason = "has a self to ask where tests leave a rule out")]
    pub(crate) fn leaves_out(&self, _rule: &str) -> bool {
        false
    }

    /// The number of a system: lower wins. An operator's word comes before all.
    pub fn priority(&self, system: &System) -> u32 {
        if system.as_str() == "lockstep" {
            return 0;
        }
        self.priorities.get(system).map_or(u32::MAX, |number| number.saturating_add(1))
    }

    /// The lifecycle of a record's own item.
    pub fn lifecycle_for(&self, record: &RecordRef) -> &LifecycleName {
        let named = self.lifecycle_of.get(&(record.system.clone(), record.kind.clone()));
        named.unwrap_or(&self.default_lifecycle)
    }

    /// The lifecycle of the own item of a record that leaves an item of another one: what a record says that belonged there only because it
    /// speaks that lifecycle's own words means nothing elsewhere.
    pub(crate) fn lifecycle_after<'a>(&'a self, item: &'a Item, record: &RecordRef) -> &'a LifecycleName {
        let usual = self.lifecycle_for(record);
        let is_mapped = |lifecycle| self.mappings.get(&record.system, &record.kind, lifecycle).is_some();
        if is_mapped(usual) || is_mapped(&item.lifecycle) { usual } else { &item.lifecycle }
    }

    /// The lifecycle by whose words an item's status is one; `None` where the configuration has none of its name, or that knows no such
    /// status any more.
    pub fn lifecycle_of_item(&self, item: &Item) -> Option<&Lifecycle> {
        self.lifecycles.get(&item.lifecycle).filter(|lifecycle| lifecycle.statuses().contains(&item.status))
    }

    /// A record of this item that cannot belong to one of another lifecycle, because no mapping says what its statuses mean there: words
    /// that happen to be the same would be taken for the same.
    pub fn stranger<'a>(&self, group: &'a Group, lifecycle: &LifecycleName) -> Option<&'a RecordRef> {
        let records = group.links.iter().map(|link| &link.record).filter(|_| group.item.lifecycle != *lifecycle);
        records.into_iter().find(|record| self.mappings.get(&record.system, &record.kind, lifecycle).is_none())
    }

    /// The lens of a link to an item of a lifecycle; `None` when there is no mapping for it.
    pub fn lens(
        &self,
        record: &RecordRef,
        vocabulary: Option<&Vocabulary>,
        lifecycle: &Lifecycle,
    ) -> Option<Arc<Lens>> {
        let key = (record.system.clone(), record.kind.clone(), lifecycle.name().clone(), vocabulary.cloned());
        let mut lenses = self.lenses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lenses.get(&key) {
            return known.clone();
        }
        let mapping = self.mappings.get(&key.0, &key.1, &key.2);
        let lens = match mapping {
            Some(mapping) => mapping.lens(lifecycle, vocabulary).ok(),
            // A system that nobody mapped speaks the lifecycle's own words.
            None => Some(Lens::identity(lifecycle)),
        };
        if lenses.len() >= Self::LENSES_MAX {
            lenses.clear();
        }
        let lens = lens.map(Arc::new);
        lenses.insert(key, lens.clone());
        lens
    }

    /// The lens of a link.
    pub(crate) fn lens_of(&self, link: &Link, lifecycle: &Lifecycle) -> Option<Arc<Lens>> {
        self.lens(&link.record, link.vocabulary.as_ref(), lifecycle)
    }
}

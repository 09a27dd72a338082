//! Which messages of a room a client wants. Pure.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use intake::telemetry::HEALTH;
use serde::Deserialize;

use crate::message::{Message, on};

/// How many words one list may have.
const WORDS_MAX: usize = 100;
/// How long a word may be, in bytes.
const WORD_MAX: usize = 1_024;

/// A filter as a client writes it: a message passes when each list that is given has one of its words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// What happened: see [`on::NAMES`].
    pub on: BTreeSet<String>,
    /// Items, records, agents, workflows, operations, targets or alerts of these names.
    pub ids: BTreeSet<String>,
    /// The status it has now.
    pub statuses: BTreeSet<String>,
    /// The health level it has now.
    pub health: BTreeSet<String>,
    /// The system of the record whose edit or delivery it was.
    pub systems: BTreeSet<String>,
    /// The lifecycle its status belongs to.
    pub lifecycles: BTreeSet<String>,
}

/// How much a word takes beside its bytes.
const WORD_WEIGHT: usize = 32;

impl Filter {
    fn lists(&self) -> [&BTreeSet<String>; 6] {
        [&self.on, &self.ids, &self.statuses, &self.health, &self.systems, &self.lifecycles]
    }

    /// About how many bytes of memory it takes.
    pub fn weight(&self) -> usize {
        self.lists().into_iter().flatten().map(|word| WORD_WEIGHT + word.len()).sum()
    }

    /// Refuses words that would never let anything pass.
    pub fn check(&self) -> Result<(), String> {
        let lists = self.lists();
        if lists.iter().any(|list| list.len() > WORDS_MAX) {
            return Err(format!("a filter's list holds at most {WORDS_MAX} words"));
        }
        if lists.iter().flat_map(|list| list.iter()).any(|word| word.is_empty() || word.len() > WORD_MAX) {
            return Err(format!("a filter's words have 1 to {WORD_MAX} bytes"));
        }
        if let Some(word) = self.on.iter().find(|word| bit(word).is_none()) {
            let names = on::NAMES.map(|(name, _)| name).join(", ");
            return Err(format!("{word:?} is nothing that happens; known are {names}"));
        }
        match self.health.iter().find(|word| !HEALTH.contains(&word.as_str())) {
            Some(word) => Err(format!("nothing's health is {word:?}; known are {}", HEALTH.join(", "))),
            None => Ok(()),
        }
    }

    /// Whether everything passes.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a message passes.
    pub fn passes(&self, message: &Message) -> bool {
        let wanted = self.on.iter().filter_map(|word| bit(word)).fold(0, |bits, bit| bits | bit);
        let has = |list: &BTreeSet<String>, word: &str| list.is_empty() || list.contains(word);
        (self.on.is_empty() || message.on() & wanted != 0)
            && has(&self.statuses, message.status())
            && has(&self.health, message.health())
            && has(&self.systems, message.system())
            && has(&self.lifecycles, message.lifecycle())
            && (self.ids.is_empty() || self.ids.iter().any(|id| message.is_about(id)))
    }
}

/// The one copy of each filter, which all who want the same share: it is asked about a message once for all of them.
#[derive(Debug, Default)]
pub struct Filters(HashSet<Arc<Filter>>);

impl Filters {
    /// The copy of a filter; `None` for one that lets everything pass.
    pub fn share(&mut self, filter: Filter) -> Option<Arc<Filter>> {
        if filter.is_open() {
            return None;
        }
        if let Some(known) = self.0.get(&filter) {
            return Some(Arc::clone(known));
        }
        let filter = Arc::new(filter);
        self.0.insert(Arc::clone(&filter));
        Some(filter)
    }

    /// Forgets those that nobody has any more.
    pub fn sweep(&mut self) {
        self.0.retain(|filter| Arc::strong_count(filter) > 1);
    }
}

fn bit(word: &str) -> Option<u8> {
    on::NAMES.iter().find(|(name, _)| *name == word).map(|(_, bit)| *bit)
}

#[cfg(test)]
mod tests {
    use proto::v1;
    use serde_json::json;

    use super::*;

    fn filter(value: serde_json::Value) -> Filter {
        serde_json::from_value(value).unwrap()
    }

    fn failed() -> Message {
        Message::Change(v1::Change {
            kind: "status_changed".into(),
            item: "i".into(),
            key: "ENG-1".into(),
            lifecycle: "work".into(),
            from: "todo".into(),
            to: "failed".into(),
            record: "github/issue/a#1".into(),
            ..v1::Change::default()
        })
    }

    #[test]
    fn a_message_passes_when_each_list_that_is_given_has_a_word_of_it() {
        let passes = [
            json!({}),
            json!({"on": ["recovery", "error_state"]}),
            json!({"on": ["status_change"], "statuses": ["done", "failed"], "systems": ["github"], "lifecycles": ["work"]}),
            json!({"ids": ["ENG-1"]}),
            json!({"ids": ["x", "i"]}),
            json!({"ids": ["github/issue/a#1"]}),
        ];
        for given in passes {
            assert!(filter(given.clone()).passes(&failed()), "{given}");
        }
        let stays = [
            json!({"on": ["recovery"]}),
            json!({"on": ["health_change"]}),
            json!({"statuses": ["done"]}),
            json!({"systems": ["linear"], "statuses": ["failed"]}),
            json!({"lifecycles": ["agent"]}),
            json!({"health": ["healthy"]}),
            json!({"ids": ["ENG-2"]}),
        ];
        for given in stays {
            assert!(!filter(given.clone()).passes(&failed()), "{given}");
        }
    }

    #[test]
    fn a_health_level_passes_where_it_is_asked_for() {
        let told = Message::HealthChanged(v1::HealthChanged {
            target: "db".into(),
            health: "degraded".into(),
            ..v1::HealthChanged::default()
        });
        for given in [json!({"health": ["degraded"]}), json!({"health": ["unhealthy", "degraded"], "ids": ["db"]})] {
            assert!(filter(given.clone()).passes(&told), "{given}");
        }
        for given in [json!({"health": ["healthy"]}), json!({"health": ["degraded"], "ids": ["cache"]})] {
            assert!(!filter(given.clone()).passes(&told), "{given}");
        }
    }

    #[test]
    fn those_who_want_the_same_share_one_filter_as_long_as_somebody_has_it() {
        let mut filters = Filters::default();
        let given = |status: &str| filter(json!({"statuses": [status]}));
        let (one, same) = (filters.share(given("done")).unwrap(), filters.share(given("done")).unwrap());
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &filters.share(given("failed")).unwrap()));
        assert!(filters.share(Filter::default()).is_none(), "nobody need be asked");
        filters.sweep();
        assert_eq!(filters.0.len(), 1, "the other one nobody has any more");
        drop((one, same));
        filters.sweep();
        assert_eq!(filters.0.len(), 0);
    }

    #[test]
    fn words_that_mean_nothing_are_refused() {
        assert!(filter(json!({"on": ["everything"]})).check().unwrap_err().contains("status_change"));
        assert!(filter(json!({"health": ["bad"]})).check().unwrap_err().contains("degraded"));
        assert!(filter(json!({"health": ["unknown"]})).check().is_ok());
        assert!(filter(json!({"statuses": [""]})).check().is_err());
        assert!(filter(json!({"statuses": (0..101).map(|n| n.to_string()).collect::<Vec<_>>()})).check().is_err());
        assert!(filter(json!({"on": ["recovery"], "statuses": ["done"]})).check().is_ok());
        assert!(serde_json::from_value::<Filter>(json!({"status": ["done"]})).is_err());
    }
}

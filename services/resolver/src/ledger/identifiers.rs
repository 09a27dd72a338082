//! Whose an identifier is, and which records are tied by it.

use std::borrow::Cow;

use model::{Key, Link, Observation, Receipt, RecordRef};

use super::Ledger;

impl Ledger<'_> {
    /// Ties records together by the identifiers that this one owns and mentions.
    pub(super) fn tie(&mut self, observation: &Observation, receipt: Receipt) {
        let record = &observation.record;
        if !observation.mentions.is_empty() {
            self.mentioning.insert(record.clone());
        }
        for key in &observation.keys {
            if self.owners.get(key) != Some(record) {
                let before = self.owners.insert(key.clone(), record.clone());
                self.give_up(before.as_ref(), key, record);
                self.keys.insert(key.clone(), record.clone());
                for waiting in self.mentioning(key) {
                    self.tie_two(&waiting, record, observation, receipt);
                }
            }
        }
        for key in &observation.mentions {
            if let Some(owner) = self.owners.get(key).cloned() {
                self.tie_two(record, &owner, observation, receipt);
            }
        }
    }

    /// Identifiers that another record owns are none of this one's. Whoever names them so means that record; but of two of one kind neither
    /// is the other.
    pub(super) fn with_its_own_keys<'o>(&self, observation: &'o Observation) -> Cow<'o, Observation> {
        let owner = |key: &Key| self.owners.get(key).filter(|owner| self.keeps(owner, key, observation));
        let others: Vec<_> = observation.keys.iter().filter_map(|key| Some((key, owner(key)?))).collect();
        if others.is_empty() {
            return Cow::Borrowed(observation);
        }
        let mut own = observation.clone();
        for (key, owner) in others {
            // Whoever sends statuses may claim it with each of them.
            tracing::debug!(record = %observation.record, %owner, %key, "the identifier is another record's");
            own.keys.retain(|own| own != key);
            if !owner.is_kin_of(&observation.record) && !own.mentions.contains(key) {
                own.mentions.push(key.clone());
            }
        }
        Cow::Owned(own)
    }

    /// Whether an identifier stays its owner's though another record comes with it: that has it still, and somebody sees it, or nobody sees
    /// the other either.
    fn keeps(&self, owner: &RecordRef, key: &Key, claimed_by: &Observation) -> bool {
        let has_a_right = |link: &Link| link.watched || !claimed_by.source.is_sight();
        *owner != claimed_by.record && self.still_having(owner, key).is_some_and(has_a_right)
    }

    /// Whoever owned an identifier that another has a better right to means that one by it.
    fn give_up(&mut self, before: Option<&RecordRef>, key: &Key, to: &RecordRef) {
        let Some(before) = before.filter(|before| self.still_having(before, key).is_some()) else { return };
        let Some(group) = self.item_of(before).and_then(|item| self.groups.get_mut(&item)) else { return };
        group.give_up(before, key, to, self.policy);
        self.touched.insert(group.item.id);
        self.mentioning.insert(before.clone());
    }

    /// The link of a record that is there and has not given an identifier up.
    fn still_having(&self, record: &RecordRef, key: &Key) -> Option<&Link> {
        let link = self.groups.get(&self.item_of(record)?)?.link(record)?;
        (link.keys.contains(key) && !link.native.is_deleted()).then_some(link)
    }

    /// The records that were seen to mention an identifier before anybody owned it.
    fn mentioning(&self, key: &Key) -> Vec<RecordRef> {
        let mentions = |record: &RecordRef| {
            let group = self.item_of(record).and_then(|item| self.groups.get(&item));
            group.and_then(|group| group.link(record)).is_some_and(|link| link.mentions.contains(key))
        };
        let in_this_batch = self.mentioning.iter().filter(|record| !self.waiting.contains(record));
        self.waiting.iter().chain(in_this_batch).filter(|record| mentions(record)).cloned().collect()
    }

    fn tie_two(&mut self, mentioning: &RecordRef, owner: &RecordRef, observation: &Observation, receipt: Receipt) {
        if self.item_of(mentioning) == self.item_of(owner) {
            return;
        }
        let (Some(one), Some(other)) = (self.group_of(mentioning), self.group_of(owner)) else { return };
        if one.link(mentioning).is_some_and(|link| link.pinned) {
            return;
        }
        let tied = if model::may_adopt(&other, &one) {
            self.adopt(other, one, mentioning, observation, receipt)
        } else if model::may_adopt(&one, &other) {
            self.adopt(one, other, owner, observation, receipt)
        } else {
            return;
        };
        if let Err(poison) = tied {
            tracing::info!(record = %mentioning, %owner, reason = poison.reason, "records were not tied: {}", poison.detail);
        }
    }
}

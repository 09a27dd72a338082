//! Who owns the identifiers that a batch brings, and who waits for them.

use std::collections::{BTreeMap, BTreeSet};

use model::{Key, RecordRef};
use store::Batch;

use crate::input::Input;

/// What the store knows of a batch's identifiers.
#[derive(Debug, Default)]
pub(crate) struct Ties {
    /// The owners of those that are owned.
    pub(crate) owners: Vec<(Key, RecordRef)>,
    /// Records that mention one which finds its owner in this batch.
    pub(crate) waiting: Vec<RecordRef>,
}

impl Ties {
    /// Looks them up. Those that may be tied in this batch stay locked until it is committed.
    pub(crate) async fn find(batch: &mut Batch<'_>, inputs: impl Iterator<Item = &Input>) -> sqlx::Result<Self> {
        let mut owned: BTreeMap<Key, &RecordRef> = BTreeMap::new();
        let mut mentioned = BTreeSet::new();
        for input in inputs {
            let (own, mentions) = input.identifiers();
            owned.extend(own.iter().map(|key| (key.clone(), input.record())));
            mentioned.extend(mentions.iter().cloned());
        }
        let keys: Vec<Key> = owned.keys().chain(&mentioned).cloned().collect::<BTreeSet<_>>().into_iter().collect();
        let known: BTreeMap<Key, RecordRef> = batch.owners(&keys).await?.into_iter().collect();
        let is_settled = |key: &&Key| match owned.get(*key) {
            Some(record) => known.get(*key) == Some(*record),
            None => known.contains_key(*key),
        };
        let unsettled: Vec<Key> = keys.iter().filter(|key| !is_settled(key)).cloned().collect();
        if unsettled.is_empty() {
            return Ok(Self { owners: known.into_iter().collect(), waiting: vec![] });
        }
        batch.lock_keys(&unsettled).await?;
        // Whoever held them before may have found an owner meanwhile.
        let owners = batch.owners(&keys).await?;
        let new: Vec<Key> = unsettled.into_iter().filter(|key| owned.contains_key(key)).collect();
        let waiting = batch.mentioning(&new).await?;
        Ok(Self { owners, waiting })
    }

    /// The records it speaks of.
    pub(crate) fn records(&self) -> BTreeSet<RecordRef> {
        self.waiting.iter().chain(self.owners.iter().map(|(_, record)| record)).cloned().collect()
    }
}

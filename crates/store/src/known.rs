//! What this process committed last: items that need not be read again, because nobody else wrote them since.
//!
//! Nothing is believed. Each item lies here with the transaction that wrote all its rows last, and whoever goes by it has PostgreSQL
//! compare: were they written since then, the transaction is refused, and the batch begins anew with what is read and locked.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{Group, ItemId, RecordRef};
use tokio::time::Instant;

use crate::Maker;

/// The transaction that wrote rows last, by the server that counts them: a server that was brought back from an old copy counts some
/// numbers once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// When the server was started, in microseconds since 1970.
    pub(crate) server: i64,
    /// The transaction's number, as rows carry it (`xmin`): without its upper half.
    pub(crate) transaction: i32,
}

/// An item as this process left it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) group: Group,
    pub(crate) made_by: Maker,
    pub(crate) stamp: Stamp,
}

/// Items that this process committed lately, within a bound. One that a batch works on is not here: it comes back when the batch is
/// committed, and does not when it is not.
#[derive(Debug, Default)]
pub struct Known(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    /// By each of their records. When the young are many, they become the old, and those that were the old are forgotten.
    young: HashMap<RecordRef, Arc<Entry>>,
    old: HashMap<RecordRef, Arc<Entry>>,
    /// Others write the same items: until then all is read.
    shared_until: Option<Instant>,
}

/// How many records are young at most. Of some hundred bytes each.
const YOUNG_MAX: usize = 20_000;
/// For how long all is read after somebody else wrote what was known here: two processes that take turns with the same items would
/// have each other's batches refused again and again.
const SHARED: Duration = Duration::from_secs(10);

impl Known {
    /// Takes out the items of these records that are known, and says which records are not.
    pub(crate) fn take(&self, wanted: &BTreeSet<RecordRef>) -> (BTreeMap<ItemId, Entry>, BTreeSet<RecordRef>) {
        let mut inside = self.inside();
        let (mut taken, mut named, mut unknown) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        for record in wanted {
            match inside.take(record) {
                Some(entry) => {
                    named.extend(entry.group.links.iter().map(|link| link.record.clone()));
                    taken.insert(entry.group.item.id, entry);
                }
                None if named.contains(record) => {}
                None => drop(unknown.insert(record.clone())),
            }
        }
        (taken, unknown)
    }

    /// Leaves out of what is known all that shares an item or a record with what was read: it may be long past. The records that were wanted
    /// of it and are not among what was read.
    pub(crate) fn leave_out(
        known: &mut BTreeMap<ItemId, Entry>,
        read: &[Group],
        wanted: &BTreeSet<RecordRef>,
    ) -> BTreeSet<RecordRef> {
        let items: BTreeSet<ItemId> = read.iter().map(|group| group.item.id).collect();
        let records: BTreeSet<&RecordRef> =
            read.iter().flat_map(|group| &group.links).map(|link| &link.record).collect();
        let mut missing = BTreeSet::new();
        known.retain(|item, entry| {
            let of_entry = || entry.group.links.iter().map(|link| &link.record);
            let is_kept = !items.contains(item) && !of_entry().any(|record| records.contains(record));
            if !is_kept {
                missing.extend(of_entry().filter(|one| wanted.contains(*one) && !records.contains(*one)).cloned());
            }
            is_kept
        });
        missing
    }

    /// Items as a batch left them.
    pub(crate) fn keep(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut inside = self.inside();
        if inside.shared_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        for entry in entries {
            let entry = Arc::new(entry);
            let of_each = entry.group.links.iter().map(|link| (link.record.clone(), Arc::clone(&entry)));
            inside.young.extend(of_each);
        }
        if inside.young.len() > YOUNG_MAX {
            inside.old = std::mem::take(&mut inside.young);
        }
    }

    /// These records' items were read: what was known of them is of no use any more.
    pub(crate) fn forget<'a>(&self, records: impl IntoIterator<Item = &'a RecordRef>) {
        let mut inside = self.inside();
        records.into_iter().for_each(|record| drop(inside.take(record)));
    }

    /// Somebody else wrote what was known.
    pub(crate) fn is_shared(&self) {
        *self.inside() = Inside { shared_until: Some(Instant::now() + SHARED), ..Inside::default() };
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn take(&mut self, record: &RecordRef) -> Option<Entry> {
        let entry = self.young.remove(record).or_else(|| self.old.remove(record))?;
        for link in &entry.group.links {
            self.young.remove(&link.record);
            self.old.remove(&link.record);
        }
        Some(Arc::unwrap_or_clone(entry))
    }
}

//! The resolver's transaction as it asks for it: PostgreSQL's, or with the feature `simulation` one in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{
    Conflict, ConflictId, Group, HistoryRow, ItemId, Key, Kind, RecordRef, Status, System, Timestamp, Version,
};

use crate::known::{Entry, Stamp};
use crate::{Base, Known, Maker, Save, Store, batch, fault};

/// A transaction over the items that one batch of messages touches.
#[derive(Debug)]
pub struct Batch<'k> {
    under: Under,
    known: Option<&'k Known>,
    /// What the batch goes by without having read it.
    unread: BTreeMap<ItemId, Stamp>,
    /// The versions that were loaded, and who made them.
    loaded: HashMap<ItemId, (Version, Maker)>,
}

#[derive(Debug)]
enum Under {
    Postgres(batch::Batch),
    #[cfg(feature = "simulation")]
    Simulated(crate::simulation::Batch),
}

impl Store {
    /// Opens a batch. It need not read what is known: when it commits, PostgreSQL compares.
    #[cfg_attr(not(feature = "simulation"), expect(clippy::unused_async, reason = "a simulation's begins at once"))]
    pub async fn batch<'k>(&self, known: &'k Known) -> sqlx::Result<Batch<'k>> {
        let under = match &self.base {
            Base::Postgres { batches, .. } => Under::Postgres(batch::Batch::of(batches)),
            #[cfg(feature = "simulation")]
            Base::Simulated(client) => Under::Simulated(client.begin().await?),
        };
        Ok(Batch { under, known: Some(known), unread: BTreeMap::new(), loaded: HashMap::new() })
    }

    /// Opens a batch that shows what there is, as of one moment, and holds nobody up. PostgreSQL itself refuses to write in it.
    pub async fn look(&self) -> sqlx::Result<Batch<'static>> {
        let under = Under::Postgres(batch::Batch::look(self.pool()?).await?);
        Ok(Batch { under, known: None, unread: BTreeMap::new(), loaded: HashMap::new() })
    }

    /// The changes of these items after these versions that were recorded since then, in the order of the versions. Waits for no
    /// batch, not even for its connection: a batch may be waiting for whoever asks.
    pub async fn changes_after(&self, told: &[(ItemId, Version, Timestamp)]) -> sqlx::Result<Vec<HistoryRow>> {
        match &self.base {
            Base::Postgres { beside, .. } => batch::changes_after(beside, told).await,
            #[cfg(feature = "simulation")]
            Base::Simulated(client) => client.changes_after(told).await,
        }
    }
}

/// Asks whatever lies under it.
macro_rules! ask {
    ($batch:expr, $under:ident => $answer:expr) => {
        match $batch {
            Under::Postgres($under) => $answer.await,
            #[cfg(feature = "simulation")]
            Under::Simulated($under) => $answer.await,
        }
    };
}

impl Batch<'_> {
    /// The items of these records, and those that they parted from: as they are known, else read and locked in id order.
    pub async fn load(&mut self, wanted: &BTreeSet<RecordRef>) -> sqlx::Result<Vec<Group>> {
        let (mut known, mut unknown) = match self.known {
            Some(known) => known.take(wanted),
            None => (BTreeMap::new(), wanted.clone()),
        };
        let (mut groups, mut missing) = (vec![], !unknown.is_empty());
        while missing {
            groups = ask!(&mut self.under, batch => batch.load(&unknown))?;
            let before = unknown.len();
            // A record may have gone to another item since it was known; nobody would look for it there.
            unknown.extend(Known::leave_out(&mut known, &groups, wanted));
            missing = unknown.len() > before;
        }
        for group in &groups {
            if let Some(known) = self.known {
                known.forget(group.links.iter().map(|link| &link.record));
            }
            let made_by = self.read().get(&group.item.id).cloned().unwrap_or_default();
            self.loaded.insert(group.item.id, (group.item.version, made_by));
        }
        for (item, Entry { group, made_by, stamp }) in known {
            self.unread.insert(item, stamp);
            self.loaded.insert(item, (group.item.version, made_by));
            groups.push(group);
        }
        Ok(groups)
    }

    /// Who made the version of each item that was read.
    fn read(&self) -> &HashMap<ItemId, Maker> {
        match &self.under {
            Under::Postgres(batch) => batch.made_by(),
            #[cfg(feature = "simulation")]
            Under::Simulated(batch) => batch.made_by(),
        }
    }

    /// Who made the version of an item that was loaded; `None` for one that was not.
    pub fn made_by(&self, item: ItemId) -> Option<&Maker> {
        self.loaded.get(&item).map(|(_, made_by)| made_by)
    }

    /// Makes batches that bring the same identifiers follow one another. Without it one could look for an owner while another
    /// looks for who mentions what it owns, and neither would see the other.
    pub async fn lock_keys(&mut self, keys: &[Key]) -> sqlx::Result<()> {
        let buckets: BTreeSet<u16> = keys.iter().map(bucket).collect();
        ask!(&mut self.under, batch => batch.lock_buckets(&buckets))
    }

    /// Which records own these identifiers.
    pub async fn owners(&mut self, keys: &[Key]) -> sqlx::Result<Vec<(Key, RecordRef)>> {
        ask!(&mut self.under, batch => batch.owners(keys))
    }

    /// One record of each of these items, of those that did not end.
    pub async fn records_of(&mut self, items: &BTreeSet<ItemId>) -> sqlx::Result<Vec<RecordRef>> {
        ask!(&mut self.under, batch => batch.records_of(items))
    }

    /// Records that mention one of these identifiers.
    pub async fn mentioning(&mut self, keys: &[Key]) -> sqlx::Result<Vec<RecordRef>> {
        ask!(&mut self.under, batch => batch.mentioning(keys))
    }

    /// The status that an item had at a version.
    pub async fn status_at(&mut self, item: ItemId, version: Version) -> sqlx::Result<Option<Status>> {
        ask!(&mut self.under, batch => batch.status_at(item, version))
    }

    /// The rows of these items that these messages caused before: what a redelivered input publishes again.
    pub async fn rows_caused_by(&mut self, items: &[ItemId], causes: &[u64]) -> sqlx::Result<Vec<HistoryRow>> {
        ask!(&mut self.under, batch => batch.rows_caused_by(items, causes))
    }

    /// Which item those that were loaded parted from.
    pub fn parted_from(&self) -> &HashMap<ItemId, ItemId> {
        match &self.under {
            Under::Postgres(batch) => batch.parted_from(),
            #[cfg(feature = "simulation")]
            Under::Simulated(batch) => batch.parted_from(),
        }
    }

    /// Of these systems and kinds those whose records a connector sees.
    pub async fn watched(&mut self, kinds: &BTreeSet<(System, Kind)>) -> sqlx::Result<BTreeSet<(System, Kind)>> {
        if kinds.is_empty() {
            return Ok(BTreeSet::new());
        }
        ask!(&mut self.under, batch => batch.watched(kinds))
    }

    /// The conflicts of these ids: what a redelivered input publishes again.
    pub async fn conflicts_of(&mut self, ids: &[ConflictId]) -> sqlx::Result<Vec<Conflict>> {
        ask!(&mut self.under, batch => batch.conflicts_of(ids))
    }

    /// Writes it all and makes it durable, and gives back the history. `made_by` makes the versions that are new. Refused as
    /// [overtaken](fault::is_overtaken) when somebody else wrote what it went by: begun anew, the batch reads it.
    pub async fn commit(self, save: Save, made_by: &Maker) -> sqlx::Result<Vec<HistoryRow>> {
        let parted = self.parted_from().clone();
        let Self { under, known, unread, loaded } = self;
        let written = ask!(under, batch => batch.commit(&save, made_by, &unread));
        let Some(known) = known else { return written.map(|_| save.rows) };
        match written {
            Ok(Some(stamp)) => known.keep(save.items.into_iter().filter_map(|group| {
                let (version, before) = loaded.get(&group.item.id)?;
                // What another life made, another process may be at work on; the other two are seldom.
                let is_seldom = group.item.held.is_some() || parted.contains_key(&group.item.id);
                let is_kept = before.life == made_by.life && !is_seldom;
                let made_by = if *version == group.item.version { before } else { made_by };
                is_kept.then(|| Entry { made_by: made_by.clone(), stamp, group })
            })),
            Ok(None) => {}
            Err(error) => {
                if fault::is_overtaken(&error) {
                    known.is_shared();
                }
                return Err(error);
            }
        }
        Ok(save.rows)
    }
}

/// How many locks all identifiers share. A batch may bring tens of thousands of them, and PostgreSQL has room for a few thousand locks.
const BUCKETS: u32 = 1_024;

/// The lock of an identifier (FNV-1a): must be the same in every process, be it of another release.
fn bucket(key: &Key) -> u16 {
    let hash =
        key.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    u16::try_from((hash ^ (hash >> 16)) % BUCKETS).unwrap_or_default()
}

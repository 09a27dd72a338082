//! The resolver's transaction as it asks for it: PostgreSQL's, or with the feature `simulation` one in memory.

use std::collections::{BTreeSet, HashMap};

use model::{
    Conflict, ConflictId, Group, HistoryRow, ItemId, Key, Kind, RecordRef, Status, System, Timestamp, Version,
};

use crate::{Base, Maker, Save, Store, batch};

/// A transaction over the items that one batch of messages touches.
#[derive(Debug)]
pub struct Batch(Under);

#[derive(Debug)]
enum Under {
    Postgres(batch::Batch),
    #[cfg(feature = "simulation")]
    Simulated(crate::simulation::Batch),
}

impl Store {
    /// Opens a batch.
    pub async fn batch(&self) -> sqlx::Result<Batch> {
        match &self.base {
            Base::Postgres { batches, .. } => Ok(Batch(Under::Postgres(batch::Batch::begin(batches).await?))),
            #[cfg(feature = "simulation")]
            Base::Simulated(client) => Ok(Batch(Under::Simulated(client.begin().await?))),
        }
    }

    /// Opens a batch that shows what there is, as of one moment, and holds nobody up. PostgreSQL itself refuses to write in it.
    pub async fn look(&self) -> sqlx::Result<Batch> {
        Ok(Batch(Under::Postgres(batch::Batch::look(self.pool()?).await?)))
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

impl Batch {
    /// Loads and locks, in id order, the items of these records, and those that they parted from.
    pub async fn load(&mut self, wanted: &BTreeSet<RecordRef>) -> sqlx::Result<Vec<Group>> {
        ask!(&mut self.0, batch => batch.load(wanted))
    }

    /// Who made the version of each item that was loaded.
    pub fn made_by(&self) -> &HashMap<ItemId, Maker> {
        match &self.0 {
            Under::Postgres(batch) => batch.made_by(),
            #[cfg(feature = "simulation")]
            Under::Simulated(batch) => batch.made_by(),
        }
    }

    /// Makes batches that bring the same identifiers follow one another. Without it one could look for an owner while another
    /// looks for who mentions what it owns, and neither would see the other.
    pub async fn lock_keys(&mut self, keys: &[Key]) -> sqlx::Result<()> {
        ask!(&mut self.0, batch => batch.lock_keys(keys))
    }

    /// Which records own these identifiers.
    pub async fn owners(&mut self, keys: &[Key]) -> sqlx::Result<Vec<(Key, RecordRef)>> {
        ask!(&mut self.0, batch => batch.owners(keys))
    }

    /// Records that mention one of these identifiers.
    pub async fn mentioning(&mut self, keys: &[Key]) -> sqlx::Result<Vec<RecordRef>> {
        ask!(&mut self.0, batch => batch.mentioning(keys))
    }

    /// The status that an item had at a version.
    pub async fn status_at(&mut self, item: ItemId, version: Version) -> sqlx::Result<Option<Status>> {
        ask!(&mut self.0, batch => batch.status_at(item, version))
    }

    /// The rows of these items that these messages caused: what a redelivered input publishes again.
    pub async fn rows_caused_by(&mut self, items: &[ItemId], causes: &[u64]) -> sqlx::Result<Vec<HistoryRow>> {
        ask!(&mut self.0, batch => batch.rows_caused_by(items, causes))
    }

    /// Which item those that were loaded parted from.
    pub fn parted_from(&self) -> &HashMap<ItemId, ItemId> {
        match &self.0 {
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
        ask!(&mut self.0, batch => batch.watched(kinds))
    }

    /// The conflicts of these ids: what a redelivered input publishes again.
    pub async fn conflicts_of(&mut self, ids: &[ConflictId]) -> sqlx::Result<Vec<Conflict>> {
        ask!(&mut self.0, batch => batch.conflicts_of(ids))
    }

    /// Writes it all. Nothing is visible before [`Batch::commit`]. `made_by` makes the versions that are new.
    pub async fn save(&mut self, save: &Save, made_by: &Maker) -> sqlx::Result<()> {
        ask!(&mut self.0, batch => batch.save(save, made_by))
    }

    /// Makes it durable.
    pub async fn commit(self) -> sqlx::Result<()> {
        ask!(self.0, batch => batch.commit())
    }
}

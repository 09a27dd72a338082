//! The resolver's transactions in memory, on virtual time: rows locked by item and by identifier, commits that are atomic and
//! whose answers may be lost, and the errors that PostgreSQL gives.
//!
//! A copy of what the statements of [`crate::batch`] do, and of nothing else.

mod batch;
mod locks;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Conflict, ConflictId, HistoryRow, Item, ItemId, Key, Link, RecordRef, RowKind, Timestamp, Version};
use runtime::simulation::{chance, lag};
use tokio::sync::watch;

use crate::{Base, Maker, Store};
use locks::Locks;

pub(crate) use batch::Batch;

/// A database. A clone is the same database.
#[derive(Debug, Clone, Default)]
pub struct Database(Arc<Inside>);

#[derive(Debug, Default)]
struct Inside {
    tables: Mutex<Tables>,
    locks: Locks,
    faults: Mutex<Faults>,
    left_out: Mutex<Option<Duty>>,
}

/// How badly the database and the way to it do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// The longest that a statement takes, in milliseconds.
    pub lag_ms: u64,
    /// How many in a thousand statements fail because the connection breaks.
    pub broken: u64,
}

/// What the database can leave out, to see that it is missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// A row that is locked waits for its lock's end.
    Locks,
    /// What is committed stays: without it, not all does.
    Durability,
    /// What a batch goes by without having read it is compared.
    Stamps,
}

/// What is committed.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// Items, without those that ended.
    pub items: BTreeMap<ItemId, Item>,
    /// Which item took over the records of one that ended.
    pub ended: BTreeMap<ItemId, ItemId>,
    /// Links, each with its item.
    pub records: BTreeMap<RecordRef, (ItemId, Link)>,
    /// Who owns an identifier.
    pub keys: BTreeMap<Key, RecordRef>,
    /// History, in the order in which it was committed.
    pub history: Vec<HistoryRow>,
    /// Conflicts.
    pub conflicts: BTreeMap<ConflictId, Conflict>,
    epochs: BTreeMap<String, String>,
    made_by: BTreeMap<ItemId, Maker>,
    lives: BTreeMap<String, u64>,
    parted_from: BTreeMap<ItemId, ItemId>,
    /// The newest transaction, and which wrote each row last.
    stamp: i32,
    item_stamps: BTreeMap<ItemId, i32>,
    record_stamps: BTreeMap<RecordRef, i32>,
}

impl Database {
    /// From now on it does so badly.
    pub fn set_faults(&self, faults: Faults) {
        *self.0.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// From now on it does not do this.
    pub fn leave_out(&self, duty: Duty) {
        *self.0.left_out.lock().unwrap_or_else(PoisonError::into_inner) = Some(duty);
    }

    fn leaves_out(&self, duty: Duty) -> bool {
        *self.0.left_out.lock().unwrap_or_else(PoisonError::into_inner) == Some(duty)
    }

    /// What is committed now.
    pub fn tables(&self) -> Tables {
        self.lock().clone()
    }

    /// Whether a record was ever committed.
    pub fn knows(&self, record: &RecordRef) -> bool {
        self.lock().records.contains_key(record)
    }

    /// The store of a process that can reach it for as long as `reachable` says so.
    pub fn store(&self, reachable: watch::Receiver<bool>) -> Store {
        Store { base: Base::Simulated(Client { database: self.clone(), reachable }), history_months: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> Faults {
        *self.0.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One process's way to the database.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    database: Database,
    reachable: watch::Receiver<bool>,
}

impl Client {
    pub(crate) async fn begin(&self) -> sqlx::Result<Batch> {
        self.statement().await?;
        Ok(Batch::new(self.clone()))
    }

    pub(crate) async fn enter_epoch(&self, stream: &str, epoch: &str) -> anyhow::Result<()> {
        self.statement().await?;
        let mut tables = self.database.lock();
        let known = tables.epochs.insert(stream.to_owned(), epoch.to_owned());
        if known.as_deref() != Some(epoch) {
            tables.records.values_mut().for_each(|(_, link)| (link.sequences, link.said) = ([0; 4], 0));
            tables.record_stamps.clear();
        }
        Ok(())
    }

    pub(crate) async fn changes_after(&self, told: &[(ItemId, Version, Timestamp)]) -> sqlx::Result<Vec<HistoryRow>> {
        self.statement().await?;
        let tables = self.database.lock();
        let is_after = |row: &&HistoryRow| {
            let after = |(item, version, since): &(ItemId, Version, Timestamp)| {
                row.item == *item && row.version > *version && row.recorded_at >= *since
            };
            row.kind == RowKind::Changed && told.iter().any(after)
        };
        let mut rows: Vec<HistoryRow> = tables.history.iter().filter(is_after).cloned().collect();
        rows.sort_by_key(|row| (row.item, row.version));
        Ok(rows)
    }

    pub(crate) async fn note_published(&self, published: &Maker) -> sqlx::Result<()> {
        self.statement().await?;
        let mut tables = self.database.lock();
        let known = tables.lives.entry(published.life.clone()).or_default();
        *known = published.batch.max(*known);
        Ok(())
    }

    pub(crate) async fn published(&self, lives: &[String]) -> sqlx::Result<HashMap<String, u64>> {
        self.statement().await?;
        let tables = self.database.lock();
        Ok(lives.iter().filter_map(|life| Some((life.clone(), *tables.lives.get(life)?))).collect())
    }

    /// One statement's way there and back.
    async fn statement(&self) -> sqlx::Result<()> {
        let faults = self.database.faults();
        lag(faults.lag_ms).await;
        if !*self.reachable.borrow() || chance(faults.broken) {
            return Err(sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()));
        }
        Ok(())
    }
}

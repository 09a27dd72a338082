//! The resolver's batch transaction: loads and locks what a batch of messages is about, and writes what came of it, in a
//! handful of set-based statements.

use std::collections::{BTreeSet, HashMap};

use model::{Conflict, ConflictId, Group, HistoryRow, ItemId, Key, Kind, Position, RecordRef, Status, System, Version};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::Maker;
use crate::row::{ConflictColumns, ItemColumns, LinkColumns, conflict_columns, groups, item_columns, record_columns};

mod history;
pub(crate) use history::{HistoryColumns, changes_after};
mod save;

/// A transaction over the items that one batch of messages touches.
#[derive(Debug)]
pub struct Batch {
    pool: PgPool,
    /// Begun with the first statement: a batch that goes by what is known has but one, which is a transaction of its own.
    tx: Option<Transaction<'static, Postgres>>,
    /// Nothing is locked, and PostgreSQL refuses to write.
    looks_only: bool,
    made_by: HashMap<ItemId, Maker>,
    parted_from: HashMap<ItemId, ItemId>,
}

/// What a batch leaves behind.
#[derive(Debug, Default)]
pub struct Save {
    /// Items that are new.
    pub new_items: Vec<Group>,
    /// Records that are new, by their place in `new_items` and `items`.
    pub new_records: BTreeSet<RecordRef>,
    /// Items that were there, with all their links.
    pub items: Vec<Group>,
    /// Items whose records went to another.
    pub ended: Vec<(ItemId, ItemId)>,
    /// Items that are new, each with the one whose record it was that got it for its own.
    pub parted: Vec<(ItemId, ItemId)>,
    /// History, in order.
    pub rows: Vec<HistoryRow>,
    /// Conflicts, the newest state of each.
    pub conflicts: Vec<Conflict>,
    /// Identifiers that a record owns from now on.
    pub keys: Vec<(Key, RecordRef)>,
}

/// The columns of three arrays that name records.
fn by_parts<'a>(records: impl IntoIterator<Item = &'a RecordRef>) -> [Vec<String>; 3] {
    let mut parts = [vec![], vec![], vec![]];
    for record in records {
        parts[0].push(record.system.to_string());
        parts[1].push(record.kind.to_string());
        parts[2].push(record.id().to_owned());
    }
    parts
}

/// Tells the locks of identifiers from others of two numbers. Any constant will do.
const BUCKETS_OF_KEYS: i32 = 0x6b65_7973;

impl Batch {
    /// How often a load starts over because a record changed its item meanwhile.
    const LOADS_MAX: usize = 8;

    /// One that begins with its first statement.
    pub(crate) fn of(pool: &PgPool) -> Self {
        Self { pool: pool.clone(), tx: None, looks_only: false, made_by: HashMap::new(), parted_from: HashMap::new() }
    }

    /// Opens one that writes nothing and locks nothing.
    pub(crate) async fn look(pool: &PgPool) -> sqlx::Result<Self> {
        let begin = "begin transaction isolation level repeatable read, read only";
        let tx = Some(pool.begin_with(begin).await?);
        Ok(Self { tx, looks_only: true, ..Self::of(pool) })
    }

    async fn tx(&mut self) -> sqlx::Result<&mut PgConnection> {
        if self.tx.is_none() {
            self.tx = Some(self.pool.begin().await?);
        }
        self.tx.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Loads and locks, in id order, the items of these records, and those that they parted from.
    pub async fn load(&mut self, wanted: &BTreeSet<RecordRef>) -> sqlx::Result<Vec<Group>> {
        let [systems, kinds, ids] = by_parts(wanted);
        let mut items: Vec<Uuid> = vec![];
        for _ in 0..Self::LOADS_MAX {
            let locked: Vec<ItemColumns> = sqlx::query_as(if self.looks_only { LOOK } else { LOCK })
                .bind(&systems)
                .bind(&kinds)
                .bind(&ids)
                .bind(&items)
                .fetch_all(self.tx().await?)
                .await?;
            let found: Vec<Uuid> = locked.iter().map(|item| item.0.id.0).collect();
            let links: Vec<LinkColumns> = sqlx::query_as(LINKS_OF).bind(&found).fetch_all(self.tx().await?).await?;
            let known: BTreeSet<&RecordRef> = links.iter().map(|columns| &columns.link.record).collect();
            let missing = wanted.iter().filter(|record| !known.contains(record));
            let mut moved = self.items_of(missing).await?;
            // Only of those that are asked for: not of these again.
            let asked: BTreeSet<ItemId> = links
                .iter()
                .filter(|columns| wanted.contains(&columns.link.record))
                .map(|columns| columns.item)
                .collect();
            let parted = locked.iter().filter(|item| asked.contains(&item.0.id)).filter_map(|item| item.2);
            let parted = parted.map(|item| item.0);
            moved.extend(parted.filter(|item| !found.contains(item) && !items.contains(item)));
            if moved.is_empty() {
                let held: Vec<Uuid> = locked.iter().filter_map(|item| item.0.held.map(|id| id.0)).collect();
                let conflicts = self.conflicts(&held).await?;
                self.made_by = locked.iter().map(|item| (item.0.id, item.1.clone())).collect();
                self.parted_from = locked.iter().filter_map(|item| Some((item.0.id, item.2?))).collect();
                return Ok(groups(locked, links, conflicts));
            }
            // A record was tied to another item between the two statements, or parted from one: lock that one, too.
            items.extend(moved);
        }
        Err(sqlx::Error::Protocol("the records of this batch keep changing their items".into()))
    }

    /// Who made the version of each item that was loaded.
    pub fn made_by(&self) -> &HashMap<ItemId, Maker> {
        &self.made_by
    }

    /// Which item those that were loaded parted from.
    pub fn parted_from(&self) -> &HashMap<ItemId, ItemId> {
        &self.parted_from
    }

    /// Of these systems and kinds those whose records a connector sees.
    pub async fn watched(&mut self, kinds: &BTreeSet<(System, Kind)>) -> sqlx::Result<BTreeSet<(System, Kind)>> {
        let seen: Vec<(i64,)> = sqlx::query_as(
            "select place from unnest($1::text[], $2::text[]) with ordinality as asked (system, kind, place)
             where exists (select from records where watched and system = asked.system and kind = asked.kind)",
        )
        .bind(kinds.iter().map(|(system, _)| system.as_str()).collect::<Vec<_>>())
        .bind(kinds.iter().map(|(_, kind)| kind.as_str()).collect::<Vec<_>>())
        .fetch_all(self.tx().await?)
        .await?;
        let seen: BTreeSet<usize> = seen.into_iter().filter_map(|(place,)| usize::try_from(place - 1).ok()).collect();
        Ok(kinds.iter().enumerate().filter(|(place, _)| seen.contains(place)).map(|(_, kind)| kind.clone()).collect())
    }

    /// Locks these buckets of identifiers until the transaction ends.
    pub async fn lock_buckets(&mut self, buckets: &BTreeSet<u16>) -> sqlx::Result<()> {
        if buckets.is_empty() || self.looks_only {
            return Ok(());
        }
        // In one order, so that two batches cannot wait for each other in a ring.
        sqlx::query(
            "select pg_advisory_xact_lock($2, bucket) from (select unnest($1::int[]) as bucket order by 1) as one",
        )
        .bind(buckets.iter().copied().map(i32::from).collect::<Vec<_>>())
        .bind(BUCKETS_OF_KEYS)
        .execute(self.tx().await?)
        .await?;
        Ok(())
    }

    /// Which records own these identifiers.
    pub async fn owners(&mut self, keys: &[Key]) -> sqlx::Result<Vec<(Key, RecordRef)>> {
        if keys.is_empty() {
            return Ok(vec![]);
        }
        let names: Vec<&str> = keys.iter().map(Key::as_str).collect();
        let rows: Vec<(String, String, String, String)> =
            sqlx::query_as("select key, system, kind, id from keys where key = any($1) order by key")
                .bind(names)
                .fetch_all(self.tx().await?)
                .await?;
        let owner = |(key, system, kind, id): (String, String, String, String)| {
            let record = format!("{system}/{kind}/{id}").parse().map_err(|error| crate::row::corrupt("keys", error))?;
            Ok((Key::new(key).map_err(|error| crate::row::corrupt("key", error))?, record))
        };
        rows.into_iter().map(owner).collect()
    }

    /// One record of each of these items, of those that did not end.
    pub async fn records_of(&mut self, items: &BTreeSet<ItemId>) -> sqlx::Result<Vec<RecordRef>> {
        if items.is_empty() {
            return Ok(vec![]);
        }
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "select distinct on (item) system, kind, id from records where item = any($1) order by item, system, kind, id",
        )
        .bind(items.iter().map(|item| item.0).collect::<Vec<_>>())
        .fetch_all(self.tx().await?)
        .await?;
        rows.into_iter().map(named).collect()
    }

    /// The items of records that are known but were not among the locked.
    async fn items_of<'a>(&mut self, records: impl Iterator<Item = &'a RecordRef>) -> sqlx::Result<Vec<Uuid>> {
        let [systems, kinds, ids] = by_parts(records);
        if systems.is_empty() {
            return Ok(vec![]);
        }
        sqlx::query_scalar(
            "select distinct item from records
             join unnest($1::text[], $2::text[], $3::text[]) as wanted (system, kind, id) using (system, kind, id)",
        )
        .bind(systems)
        .bind(kinds)
        .bind(ids)
        .fetch_all(self.tx().await?)
        .await
    }

    /// The conflicts of these ids.
    pub async fn conflicts_of(&mut self, ids: &[ConflictId]) -> sqlx::Result<Vec<Conflict>> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        Ok(self.conflicts(&ids).await?.into_iter().map(|columns| columns.0).collect())
    }

    async fn conflicts(&mut self, ids: &[Uuid]) -> sqlx::Result<Vec<ConflictColumns>> {
        if ids.is_empty() {
            return Ok(vec![]);
        }
        sqlx::query_as(CONFLICTS).bind(ids).fetch_all(self.tx().await?).await
    }

    /// Records that mention one of these identifiers.
    pub async fn mentioning(&mut self, keys: &[Key]) -> sqlx::Result<Vec<RecordRef>> {
        if keys.is_empty() {
            return Ok(vec![]);
        }
        let names: Vec<&str> = keys.iter().map(Key::as_str).collect();
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "select system, kind, id from records where mentions is not null and mentions ?| $1
             order by system, kind, id limit 1000",
        )
        .bind(names)
        .fetch_all(self.tx().await?)
        .await?;
        rows.into_iter().map(named).collect()
    }

    /// The status that an item had at a version.
    pub async fn status_at(&mut self, item: ItemId, version: Version) -> sqlx::Result<Option<Status>> {
        let version = crate::row::signed(version.0);
        let status: Option<String> =
            sqlx::query_scalar(STATUS_AT).bind(item.0).bind(version).fetch_optional(self.tx().await?).await?;
        status.map(|status| Status::new(status).map_err(|error| crate::row::corrupt("to_status", error))).transpose()
    }
}

fn named((system, kind, id): (String, String, String)) -> sqlx::Result<RecordRef> {
    format!("{system}/{kind}/{id}").parse().map_err(|error| crate::row::corrupt("id", error))
}

/// The items of these records and of these ids, in id order.
macro_rules! wanted_items {
    () => {
        concat!(
            "
with wanted as (
    select item from records
    join unnest($1::text[], $2::text[], $3::text[]) as named (system, kind, id) using (system, kind, id)
    union
    select unnest($4::uuid[])
)
select ",
            item_columns!(),
            " from items where id in (select item from wanted) and ended_into is null order by id"
        )
    };
}

pub(crate) const STATUS_AT: &str =
    "select to_status from history where item = $1 and version = $2 and kind = 'changed' limit 1";

pub(crate) const LINKS_OF: &str = concat!("select ", record_columns!(), " from records where item = any($1)");

pub(crate) const CONFLICTS: &str = concat!("select ", conflict_columns!(), " from conflicts where id = any($1)");

const LOOK: &str = wanted_items!();
/// Locks in id order: two batches that share items cannot wait for each other in a ring.
const LOCK: &str = concat!(wanted_items!(), " for update");

/// A position as a column.
fn position(position: Option<Position>) -> Option<i64> {
    position.map(|position| crate::row::signed(position.0))
}

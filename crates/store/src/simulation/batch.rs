//! A transaction: reads what is committed, locks as the statements do, and writes all at once when it commits.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{Conflict, ConflictId, Group, HistoryRow, ItemId, Key, Kind, RecordRef, RowKind, Status, System, Version};

use runtime::simulation::chance;

use super::locks::Lock;
use super::{Client, Duty, Tables};
use crate::known::Stamp;
use crate::refused::refused;
use crate::{Maker, Save};

/// How often a load starts over because a record changed its item meanwhile.
const LOADS_MAX: usize = 8;

/// A transaction. It is rolled back when it is dropped.
#[derive(Debug)]
pub(crate) struct Batch {
    client: Client,
    number: u64,
    /// What it writes, once it is committed.
    writes: Vec<Write>,
    made_by: HashMap<ItemId, Maker>,
    parted_from: HashMap<ItemId, ItemId>,
}

#[derive(Debug)]
enum Write {
    Item(Box<Group>, Maker),
    Ended(ItemId, ItemId),
    Parted(ItemId, ItemId),
    Rows(Vec<HistoryRow>),
    Conflict(Box<model::Conflict>),
    Key(Key, RecordRef),
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.client.database.0.locks.end(self.number);
    }
}

impl Batch {
    pub(super) fn new(client: Client) -> Self {
        let number = client.database.0.locks.begin();
        Self { client, number, writes: Vec::new(), made_by: HashMap::new(), parted_from: HashMap::new() }
    }

    pub(crate) async fn load(&mut self, wanted: &BTreeSet<RecordRef>) -> sqlx::Result<Vec<Group>> {
        let mut extra: BTreeSet<ItemId> = BTreeSet::new();
        for _ in 0..LOADS_MAX {
            // One statement: which items, by what is committed now; then their locks, in id order.
            self.client.statement().await?;
            let mut items = extra.clone();
            items.extend(self.read(|tables| items_of(tables, wanted)));
            for item in &items {
                self.lock(Lock::Item(*item)).await?;
            }
            let found: Vec<_> =
                self.read(|tables| items.iter().filter_map(|item| tables.items.get(item).cloned()).collect());
            self.client.statement().await?;
            let held: BTreeSet<ItemId> = found.iter().map(|item| item.id).collect();
            let links: Vec<_> =
                self.read(|tables| tables.records.values().filter(|(item, _)| held.contains(item)).cloned().collect());
            let known: BTreeSet<&RecordRef> = links.iter().map(|(_, link)| &link.record).collect();
            let missing: BTreeSet<RecordRef> =
                wanted.iter().filter(|record| !known.contains(record)).cloned().collect();
            self.client.statement().await?;
            let mut moved = self.read(|tables| items_of(tables, &missing));
            moved.extend(self.read(|tables| {
                let asked: BTreeSet<ItemId> =
                    links.iter().filter(|(_, link)| wanted.contains(&link.record)).map(|(item, _)| *item).collect();
                let parted = asked.into_iter().filter_map(|item| tables.parted_from.get(&item));
                parted.filter(|item| !items.contains(item)).copied().collect::<Vec<_>>()
            }));
            if !moved.is_empty() {
                extra.extend(moved);
                continue;
            }
            let mut groups: BTreeMap<ItemId, Group> =
                found.into_iter().map(|item| (item.id, Group { item, links: vec![], conflict: None })).collect();
            for (item, link) in links {
                groups.entry(item).and_modify(|group| group.links.push(link));
            }
            let mut groups: Vec<Group> = groups.into_values().collect();
            self.read(|tables| {
                for group in &mut groups {
                    group.links.sort_by_key(|link| link.order);
                    group.conflict = group.item.held.and_then(|id| tables.conflicts.get(&id).cloned());
                }
            });
            self.made_by = self.read(|tables| {
                let made = groups
                    .iter()
                    .map(|group| (group.item.id, tables.made_by.get(&group.item.id).cloned().unwrap_or_default()));
                made.collect()
            });
            self.parted_from = self.read(|tables| {
                let parted = |group: &Group| Some((group.item.id, *tables.parted_from.get(&group.item.id)?));
                groups.iter().filter_map(parted).collect()
            });
            return Ok(groups);
        }
        Err(sqlx::Error::Protocol("the records of this batch keep changing their items".into()))
    }

    pub(crate) fn made_by(&self) -> &HashMap<ItemId, Maker> {
        &self.made_by
    }

    pub(crate) async fn lock_buckets(&mut self, buckets: &BTreeSet<u16>) -> sqlx::Result<()> {
        self.client.statement().await?;
        for bucket in buckets {
            self.lock(Lock::Keys(*bucket)).await?;
        }
        Ok(())
    }

    pub(crate) async fn owners(&mut self, keys: &[Key]) -> sqlx::Result<Vec<(Key, RecordRef)>> {
        self.client.statement().await?;
        Ok(self.read(|tables| {
            let owned = keys.iter().filter_map(|key| Some((key.clone(), tables.keys.get(key)?.clone())));
            owned.collect()
        }))
    }

    pub(crate) async fn records_of(&mut self, items: &BTreeSet<ItemId>) -> sqlx::Result<Vec<RecordRef>> {
        if items.is_empty() {
            return Ok(vec![]);
        }
        self.client.statement().await?;
        Ok(self.read(|tables| {
            let mut first: BTreeMap<ItemId, RecordRef> = BTreeMap::new();
            for (item, link) in tables.records.values().filter(|(item, _)| items.contains(item)) {
                first.entry(*item).or_insert_with(|| link.record.clone());
            }
            first.into_values().collect()
        }))
    }

    pub(crate) async fn mentioning(&mut self, keys: &[Key]) -> sqlx::Result<Vec<RecordRef>> {
        self.client.statement().await?;
        Ok(self.read(|tables| {
            let mentions = |link: &model::Link| link.mentions.iter().any(|key| keys.contains(key));
            let links = tables.records.values().filter(|(_, link)| mentions(link));
            links.map(|(_, link)| link.record.clone()).collect()
        }))
    }

    pub(crate) async fn status_at(&mut self, item: ItemId, version: Version) -> sqlx::Result<Option<Status>> {
        self.client.statement().await?;
        Ok(self.read(|tables| {
            let at = |row: &&HistoryRow| row.item == item && row.version == version && row.kind == RowKind::Changed;
            tables.history.iter().find(at).map(|row| row.to.clone())
        }))
    }

    pub(crate) async fn rows_caused_by(&mut self, items: &[ItemId], causes: &[u64]) -> sqlx::Result<Vec<HistoryRow>> {
        self.client.statement().await?;
        let wanted = |row: &&HistoryRow| items.contains(&row.item) && causes.contains(&row.cause.sequence);
        let mut rows: Vec<HistoryRow> = self.read(|tables| tables.history.iter().filter(wanted).cloned().collect());
        rows.sort_by_key(|row| row.cause.sequence);
        Ok(rows)
    }

    pub(crate) fn parted_from(&self) -> &HashMap<ItemId, ItemId> {
        &self.parted_from
    }

    pub(crate) async fn watched(&mut self, kinds: &BTreeSet<(System, Kind)>) -> sqlx::Result<BTreeSet<(System, Kind)>> {
        self.client.statement().await?;
        Ok(self.read(|tables| {
            let watched = tables.records.values().filter(|(_, link)| link.watched);
            let seen: BTreeSet<_> =
                watched.map(|(_, link)| (link.record.system.clone(), link.record.kind.clone())).collect();
            kinds.intersection(&seen).cloned().collect()
        }))
    }

    pub(crate) async fn conflicts_of(&mut self, ids: &[ConflictId]) -> sqlx::Result<Vec<Conflict>> {
        if ids.is_empty() {
            return Ok(vec![]);
        }
        self.client.statement().await?;
        Ok(self.read(|tables| ids.iter().filter_map(|id| tables.conflicts.get(id)).cloned().collect()))
    }

    /// One statement and one answer where nothing was read before, and nothing is new; a few otherwise.
    pub(crate) async fn commit(
        mut self,
        save: &Save,
        made_by: &Maker,
        unread: &BTreeMap<ItemId, Stamp>,
    ) -> sqlx::Result<Option<Stamp>> {
        self.client.statement().await?;
        for (item, stamp) in unread {
            self.lock(Lock::Item(*item)).await?;
            if !self.client.database.leaves_out(Duty::Stamps) && !self.read(|tables| tables.carry(item, *stamp)) {
                return Err(refused("40001", "somebody else wrote what was known"));
            }
        }
        self.write(save, made_by).await?;
        self.client.statement().await?;
        let writes = std::mem::take(&mut self.writes);
        if self.client.database.leaves_out(Duty::Durability) && chance(50) {
            return Ok(None);
        }
        let stamp = {
            let mut tables = self.client.database.lock();
            tables.stamp += 1;
            for write in writes {
                tables.write(write);
            }
            Stamp { server: 0, transaction: tables.stamp }
        };
        // It is done; whether whoever asked for it learns of it is another matter.
        self.client.statement().await?;
        Ok(Some(stamp))
    }

    async fn write(&mut self, save: &Save, made_by: &Maker) -> sqlx::Result<()> {
        for record in &save.new_records {
            // Somebody else may be inserting the same: whoever commits first has it.
            self.lock(Lock::Record(record.clone())).await?;
            if self.read(|tables| tables.records.contains_key(record)) {
                return Err(refused("23505", "duplicate key value violates unique constraint \"records_pkey\""));
            }
        }
        for group in &save.new_items {
            let id = group.item.id;
            self.lock(Lock::Item(id)).await?;
            if self.read(|tables| tables.items.contains_key(&id) || tables.ended.contains_key(&id)) {
                return Err(refused("23505", "duplicate key value violates unique constraint \"items_pkey\""));
            }
        }
        let twice = |row: &HistoryRow| {
            self.read(|tables| {
                let is_same = |known: &HistoryRow| {
                    known.item == row.item
                        && known.cause.sequence == row.cause.sequence
                        && known.recorded_at == row.recorded_at
                };
                tables.history.iter().any(is_same)
            })
        };
        if save.rows.iter().any(twice) {
            return Err(refused("23505", "duplicate key value violates unique constraint \"history_pkey\""));
        }
        let groups = save.new_items.iter().chain(&save.items);
        self.writes.extend(groups.map(|group| Write::Item(Box::new(group.clone()), made_by.clone())));
        self.writes.push(Write::Rows(save.rows.clone()));
        self.writes.extend(save.ended.iter().map(|(item, into)| Write::Ended(*item, *into)));
        self.writes.extend(save.parted.iter().map(|(item, from)| Write::Parted(*item, *from)));
        self.writes.extend(save.conflicts.iter().map(|conflict| Write::Conflict(Box::new(conflict.clone()))));
        self.writes.extend(save.keys.iter().map(|(key, record)| Write::Key(key.clone(), record.clone())));
        Ok(())
    }

    async fn lock(&self, lock: Lock) -> sqlx::Result<()> {
        if self.client.database.leaves_out(Duty::Locks) {
            return Ok(());
        }
        self.client.database.0.locks.take(self.number, lock).await
    }

    fn read<T>(&self, read: impl FnOnce(&Tables) -> T) -> T {
        read(&self.client.database.lock())
    }
}

fn items_of(tables: &Tables, records: &BTreeSet<RecordRef>) -> BTreeSet<ItemId> {
    records.iter().filter_map(|record| tables.records.get(record)).map(|(item, _)| *item).collect()
}

impl Tables {
    /// Whether an item and all its records carry this stamp.
    fn carry(&self, item: &ItemId, stamp: Stamp) -> bool {
        let of_item = self.records.values().filter(|(of, _)| of == item);
        self.items.contains_key(item)
            && self.item_stamps.get(item) == Some(&stamp.transaction)
            && of_item
                .map(|(_, link)| &link.record)
                .all(|record| self.record_stamps.get(record) == Some(&stamp.transaction))
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::Item(group, made_by) => {
                let Group { item, links, .. } = *group;
                if self.items.get(&item.id).is_none_or(|known| known.version != item.version) {
                    self.made_by.insert(item.id, made_by);
                }
                self.item_stamps.insert(item.id, self.stamp);
                for link in links {
                    self.record_stamps.insert(link.record.clone(), self.stamp);
                    self.records.insert(link.record.clone(), (item.id, link));
                }
                self.items.insert(item.id, item);
            }
            Write::Ended(item, into) => {
                self.item_stamps.insert(item, self.stamp);
                self.items.remove(&item);
                self.ended.insert(item, into);
            }
            Write::Parted(item, from) => drop(self.parted_from.insert(item, from)),
            Write::Rows(rows) => {
                for row in &rows {
                    runtime::simulation::note(|| {
                        let from = row.from.as_ref().map(ToString::to_string).unwrap_or_default();
                        format!(
                            "committed {} v{} {:?} {from} -> {} ({:?}) by {} {} [{}]",
                            row.item, row.version, row.kind, row.to, row.reason, row.record, row.native, row.cause.id
                        )
                    });
                }
                self.history.extend(rows);
            }
            Write::Conflict(conflict) => drop(self.conflicts.insert(conflict.id, *conflict)),
            Write::Key(key, record) => drop(self.keys.insert(key, record)),
        }
    }
}

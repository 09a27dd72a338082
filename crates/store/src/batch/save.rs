//! Writes what a batch leaves behind: one statement a table, new rows and old ones apart, because an update in place is
//! cheaper than an upsert; and one statement for all three tables where nothing is new, which is nearly always, because
//! each statement is a round trip that every message of the batch waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use model::{Conflict, Group, ItemId, Key, Link, RecordRef};
use serde::Serialize;
use sqlx::postgres::PgArguments;
use sqlx::types::Json;
use sqlx::{Postgres, Row, query::Query};
use uuid::Uuid;

use super::history::{self, bind_rows};
use super::{Batch, Save, by_parts, position};
use crate::Maker;
use crate::known::Stamp;
use crate::row::{instant, signed};

/// An empty list is no value: most items have none, and a null costs a bit.
fn some_list<T: Serialize>(list: &[T]) -> Option<Json<&[T]>> {
    (!list.is_empty()).then_some(Json(list))
}

/// A column without the nothing at its end, which is mostly all of it: where `unnest` finds no more it gives nulls, and neither we nor
/// PostgreSQL need handle what is not there.
pub(super) fn sparse<T>(values: impl Iterator<Item = Option<T>>) -> Vec<Option<T>> {
    let mut column: Vec<Option<T>> = values.collect();
    column.truncate(column.iter().rposition(Option::is_some).map_or(0, |last| last + 1));
    column
}

/// The same, where nothing stands for the value that is usual.
fn unusual<T: PartialEq + Default>(values: impl Iterator<Item = T>) -> Vec<Option<T>> {
    sparse(values.map(|value| (value != T::default()).then_some(value)))
}

impl Batch {
    /// Writes it all and commits. `made_by` makes the versions that are new. Where somebody else wrote what is `unread` since that
    /// stamp, it is refused. The transaction's stamp, where it is known; then all rows of the items that were there carry it.
    pub(crate) async fn commit(
        mut self,
        save: &Save,
        made_by: &Maker,
        unread: &BTreeMap<ItemId, Stamp>,
    ) -> sqlx::Result<Option<Stamp>> {
        let links = || {
            save.new_items
                .iter()
                .chain(&save.items)
                .flat_map(|group| group.links.iter().map(|link| (group.item.id, link)))
        };
        let (new, old): (Vec<_>, Vec<_>) = links().partition(|(_, link)| save.new_records.contains(&link.record));
        let brings_nothing_new =
            save.new_items.is_empty() && new.is_empty() && !old.is_empty() && !save.rows.is_empty();
        let is_written = |item: &ItemId| save.items.binary_search_by_key(item, |group| group.item.id).is_ok();
        // A record that comes from an item that ended carries that one's stamp.
        let goes_by_stamps = brings_nothing_new && save.ended.is_empty() && unread.keys().all(is_written);
        let locked = BTreeMap::new();
        let unread = if goes_by_stamps {
            unread
        } else {
            self.check(unread).await?;
            &locked
        };
        let mut stamp = None;
        if brings_nothing_new {
            let others = save.ended.len() + save.parted.len() + save.conflicts.len() + save.keys.len();
            stamp = Some(self.update_all(save, &old, made_by, unread, others == 0).await?);
        } else {
            self.insert_items(&save.new_items, made_by).await?;
            self.update_items(&save.items, made_by).await?;
            self.insert_links(&new).await?;
            self.update_links(&old).await?;
            self.insert_history(&save.rows).await?;
        }
        self.relate_items(END_ITEMS, &save.ended).await?;
        self.relate_items(PART_ITEMS, &save.parted).await?;
        self.write_conflicts(&save.conflicts).await?;
        self.write_keys(&save.keys).await?;
        match self.tx {
            Some(tx) => tx.commit().await.map(|()| stamp),
            None => Ok(stamp),
        }
    }

    /// All of a batch that brings nothing new, as one statement; `alone`, where nothing else is written, and nothing was read, that is the
    /// whole transaction.
    async fn update_all(
        &mut self,
        save: &Save,
        links: &[(ItemId, &Link)],
        made_by: &Maker,
        unread: &BTreeMap<ItemId, Stamp>,
        alone: bool,
    ) -> sqlx::Result<Stamp> {
        let seen = |item: &ItemId| unread.get(item).map(|stamp| stamp.transaction);
        let statement = bind_items(sqlx::query(UPDATE_ALL.as_str()), &save.items, made_by)
            .bind(save.items.iter().map(|group| seen(&group.item.id)).collect::<Vec<_>>());
        let statement = bind_links(statement, links).bind(links.iter().map(|(item, _)| seen(item)).collect::<Vec<_>>());
        let statement = bind_rows(statement, &save.rows)
            .bind(counted(save.items.len()))
            .bind(counted(links.len()))
            .bind(unread.values().map(|stamp| stamp.server).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
        let written = match &self.tx {
            None if alone => statement.fetch_one(&self.pool).await?,
            _ => statement.fetch_one(self.tx().await?).await?,
        };
        Ok(Stamp { server: written.try_get("server")?, transaction: written.try_get("transaction")? })
    }

    /// Locks, in id order, what the batch goes by without having read it; refused where somebody else wrote it since.
    async fn check(&mut self, unread: &BTreeMap<ItemId, Stamp>) -> sqlx::Result<()> {
        if unread.is_empty() {
            return Ok(());
        }
        let items: Vec<Uuid> = unread.keys().map(|item| item.0).collect();
        let stamps: Vec<i32> = unread.values().map(|stamp| stamp.transaction).collect();
        let servers: Vec<i64> = unread.values().map(|stamp| stamp.server).collect();
        let lock = sqlx::query(LOCK_UNREAD).bind(items.clone()).bind(stamps.clone()).bind(servers);
        lock.execute(self.tx().await?).await?;
        // Whoever held the locks may have written records alone: what is there now shows only to a statement that begins now.
        sqlx::query(COMPARE_UNREAD).bind(items).bind(stamps).execute(self.tx().await?).await?;
        Ok(())
    }

    async fn insert_items(&mut self, groups: &[Group], made_by: &Maker) -> sqlx::Result<()> {
        if !groups.is_empty() {
            bind_items(sqlx::query(INSERT_ITEMS), groups, made_by).execute(self.tx().await?).await?;
        }
        Ok(())
    }

    async fn update_items(&mut self, groups: &[Group], made_by: &Maker) -> sqlx::Result<()> {
        if !groups.is_empty() {
            let statement = bind_items(sqlx::query(UPDATE_ITEMS), groups, made_by);
            statement.bind(no_stamps(groups.len())).execute(self.tx().await?).await?;
        }
        Ok(())
    }

    async fn insert_links(&mut self, links: &[(ItemId, &Link)]) -> sqlx::Result<()> {
        if !links.is_empty() {
            bind_links(sqlx::query(INSERT_RECORDS), links).execute(self.tx().await?).await?;
        }
        Ok(())
    }

    async fn update_links(&mut self, links: &[(ItemId, &Link)]) -> sqlx::Result<()> {
        if !links.is_empty() {
            let statement = bind_links(sqlx::query(UPDATE_RECORDS), links);
            statement.bind(no_stamps(links.len())).execute(self.tx().await?).await?;
        }
        Ok(())
    }

    /// Notes another item beside each of these.
    async fn relate_items(&mut self, statement: &'static str, items: &[(ItemId, ItemId)]) -> sqlx::Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        sqlx::query(statement)
            .bind(items.iter().map(|(item, _)| item.0).collect::<Vec<_>>())
            .bind(items.iter().map(|(_, other)| other.0).collect::<Vec<_>>())
            .execute(self.tx().await?)
            .await?;
        Ok(())
    }

    async fn write_conflicts(&mut self, conflicts: &[Conflict]) -> sqlx::Result<()> {
        if conflicts.is_empty() {
            return Ok(());
        }
        let winner = |conflict: &Conflict| conflict.winner.and_then(|winner| i32::try_from(winner).ok());
        sqlx::query(UPSERT_CONFLICTS)
            .bind(conflicts.iter().map(|conflict| conflict.id.0).collect::<Vec<_>>())
            .bind(conflicts.iter().map(|conflict| conflict.item.0).collect::<Vec<_>>())
            .bind(conflicts.iter().map(|conflict| signed(conflict.version.0)).collect::<Vec<_>>())
            .bind(conflicts.iter().map(|conflict| conflict.base.as_str()).collect::<Vec<_>>())
            .bind(conflicts.iter().map(|conflict| Json(&conflict.candidates)).collect::<Vec<_>>())
            .bind(conflicts.iter().map(|conflict| conflict.strategy.code()).collect::<Vec<_>>())
            .bind(conflicts.iter().map(|conflict| conflict.escalated).collect::<Vec<_>>())
            .bind(conflicts.iter().map(winner).collect::<Vec<_>>())
            .bind(conflicts.iter().map(|conflict| instant(conflict.opened_at)).collect::<Vec<_>>())
            .bind(conflicts.iter().map(|conflict| conflict.resolved_at.map(instant)).collect::<Vec<_>>())
            .execute(self.tx().await?)
            .await?;
        Ok(())
    }

    async fn write_keys(&mut self, keys: &[(Key, RecordRef)]) -> sqlx::Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let [systems, kinds, ids] = by_parts(keys.iter().map(|(_, record)| record));
        sqlx::query(
            "insert into keys select * from unnest($1::text[], $2::text[], $3::text[], $4::text[])
             on conflict (key) do update set system = excluded.system, kind = excluded.kind, id = excluded.id",
        )
        .bind(keys.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>())
        .bind(systems)
        .bind(kinds)
        .bind(ids)
        .execute(self.tx().await?)
        .await?;
        Ok(())
    }
}

/// For rows that are locked.
fn no_stamps(rows: usize) -> Vec<Option<i32>> {
    vec![None; rows]
}

fn counted(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// A statement over arrays.
pub(super) type Statement = Query<'static, Postgres, PgArguments>;

fn bind_items(statement: Statement, groups: &[Group], made_by: &Maker) -> Statement {
    let items = || groups.iter().map(|group| &group.item);
    statement
        .bind(items().map(|item| item.id.0).collect::<Vec<_>>())
        .bind(items().map(|item| item.lifecycle.as_str()).collect::<Vec<_>>())
        .bind(sparse(items().map(|item| item.key.as_ref().map(Key::as_str))))
        .bind(sparse(items().map(|item| item.title.as_deref())))
        .bind(items().map(|item| item.status.as_str()).collect::<Vec<_>>())
        .bind(items().map(|item| instant(item.status_since)).collect::<Vec<_>>())
        .bind(items().map(|item| signed(item.version.0)).collect::<Vec<_>>())
        .bind(items().map(|item| item.changed_by.to_string()).collect::<Vec<_>>())
        .bind(sparse(items().map(|item| item.last_open.as_ref().map(model::Status::as_str))))
        .bind(sparse(items().map(|item| item.held.map(|id| id.0))))
        .bind(sparse(items().map(|item| some_list(&item.recent_conflicts))))
        .bind(sparse(items().map(|item| (!item.metadata.is_empty()).then_some(Json(&item.metadata)))))
        .bind(sparse(items().map(|item| item.changed_by_actor.as_ref().map(Json))))
        .bind(sparse(items().map(|item| item.changed_from.as_ref().map(model::Status::as_str))))
        .bind(made_by.life.clone())
        .bind(signed(made_by.batch))
}

fn bind_links(statement: Statement, links: &[(ItemId, &Link)]) -> Statement {
    let [systems, kinds, ids] = by_parts(links.iter().map(|(_, link)| &link.record));
    let each = || links.iter().map(|(_, link)| *link);
    let lane = |lane: usize| unusual(each().map(|link| signed(link.sequences[lane])));
    statement
        .bind(systems)
        .bind(kinds)
        .bind(ids)
        .bind(links.iter().map(|(item, _)| item.0).collect::<Vec<_>>())
        .bind(each().map(|link| link.native.as_str()).collect::<Vec<_>>())
        .bind(sparse(each().map(|link| position(link.position))))
        .bind(lane(0))
        .bind(lane(1))
        .bind(lane(2))
        .bind(lane(3))
        .bind(each().map(|link| signed(link.agreed.0)).collect::<Vec<_>>())
        .bind(sparse(each().map(|link| some_list(&link.sent))))
        .bind(sparse(each().map(|link| link.shown.as_ref().map(model::Status::as_str))))
        .bind(unusual(each().map(|link| i32::try_from(link.resent).unwrap_or(i32::MAX))))
        .bind(sparse(each().map(|link| link.vocabulary.as_ref().map(Json))))
        .bind(unusual(each().map(|link| link.unmapped)))
        .bind(sparse(each().map(|link| link.last_error.as_deref())))
        .bind(sparse(each().map(|link| some_list(&link.keys))))
        .bind(sparse(each().map(|link| some_list(&link.mentions))))
        .bind(unusual(each().map(|link| i32::try_from(link.order).unwrap_or(i32::MAX))))
        .bind(unusual(each().map(|link| link.pinned)))
        .bind(sparse(each().map(|link| link.url.as_deref())))
        .bind(unusual(each().map(|link| link.watched)))
        .bind(sparse(each().map(|link| link.taken_at.map(instant))))
        .bind(sparse(each().map(|link| link.position_at.map(instant))))
        .bind(unusual(each().map(|link| signed(link.said))))
}

/// The same statement with its parameters numbered from `first + 1`.
fn shifted(statement: &str, first: usize) -> String {
    let mut parts = statement.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let number: usize = part[..end].parse().unwrap_or_default();
        text.push('$');
        text.push_str(&(number + first).to_string());
        text.push_str(&part[end..]);
    }
    text
}

/// The three statements of a batch that brings nothing new, as one. It looks at how much was written of what was there: that is less
/// where somebody else wrote it since its stamp.
static UPDATE_ALL: LazyLock<String> = LazyLock::new(|| {
    let records = shifted(UPDATE_RECORDS, ITEM_COLUMNS + 1);
    let history = shifted(history::INSERT, ITEM_COLUMNS + 1 + RECORD_COLUMNS + 1);
    let look = shifted(LOOK_BACK, ITEM_COLUMNS + 1 + RECORD_COLUMNS + 1 + history::COLUMNS);
    format!(
        "with written_items as ({UPDATE_ITEMS} returning 1), written_records as ({records} returning 1), told as ({history})
         {look}"
    )
});
const ITEM_COLUMNS: usize = 16;
const RECORD_COLUMNS: usize = 26;

/// The items first: whoever waits for a row waits for its item.
const LOOK_BACK: &str = "
select must_be_unchanged((select count(*) from written_items), $1::bigint),
       must_be_unchanged((select count(*) from written_records), $2::bigint),
       must_be_unchanged((select count(*) from unnest($3::bigint[]) as known where known <> server()), 0),
       server() as server, pg_current_xact_id()::text::bigint::bit(32)::int4 as transaction";

const LOCK_UNREAD: &str = "
with locked as materialized (
    select items.id from items join unnest($1::uuid[], $2::int4[], $3::bigint[]) as known (id, stamp, server) using (id)
    where items.xmin = known.stamp and known.server = server() order by items.id for update of items
)
select must_be_unchanged((select count(*) from locked), cardinality($1::uuid[]))";

const COMPARE_UNREAD: &str = "
select must_be_unchanged(count(*), 0)
from records join unnest($1::uuid[], $2::int4[]) as known (item, stamp) using (item) where records.xmin <> known.stamp";

const INSERT_ITEMS: &str = "
insert into items (id, lifecycle, key, title, status, status_since, version, changed_by, last_open, held,
                   recent_conflicts, metadata, changed_by_actor, changed_from, made_by, made_in)
select *, $15::text, $16::bigint from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::bigint[],
                     $8::text[], $9::text[], $10::uuid[], $11::jsonb[], $12::jsonb[], $13::jsonb[], $14::text[])";

const UPDATE_ITEMS: &str = "
update items set
    lifecycle = new.lifecycle, key = new.key, title = new.title, status = new.status, status_since = new.status_since,
    version = new.version, changed_by = new.changed_by, last_open = new.last_open, held = new.held,
    recent_conflicts = new.recent_conflicts, metadata = new.metadata,
    changed_by_actor = new.changed_by_actor, changed_from = new.changed_from,
    made_by = case when items.version = new.version then items.made_by else $15::text end,
    made_in = case when items.version = new.version then items.made_in else $16::bigint end
from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::bigint[],
            $8::text[], $9::text[], $10::uuid[], $11::jsonb[], $12::jsonb[], $13::jsonb[], $14::text[], $17::int4[])
    as new (id, lifecycle, key, title, status, status_since, version, changed_by, last_open, held, recent_conflicts,
            metadata, changed_by_actor, changed_from, stamp)
where items.id = new.id and (new.stamp is null or items.xmin = new.stamp)";

const END_ITEMS: &str = "
update items set ended_into = ended.into_item, held = null
from unnest($1::uuid[], $2::uuid[]) as ended (id, into_item) where items.id = ended.id";

const PART_ITEMS: &str = "
update items set parted_from = parted.from_item
from unnest($1::uuid[], $2::uuid[]) as parted (id, from_item) where items.id = parted.id";

const INSERT_RECORDS: &str = "
insert into records (system, kind, id, item, native, position, seq_critical, seq_high, seq_normal, seq_low, agreed, sent,
                     shown, resent, vocabulary, unmapped, last_error, keys, mentions, place, pinned, url, watched, taken_at,
                     position_at, seq_said)
select system, kind, id, item, native, position, coalesce(seq_critical, 0), coalesce(seq_high, 0), coalesce(seq_normal, 0),
       coalesce(seq_low, 0), agreed, sent, shown, coalesce(resent, 0), vocabulary, coalesce(unmapped, false), last_error, keys,
       mentions, coalesce(place, 0), coalesce(pinned, false), url, coalesce(watched, false), taken_at, position_at,
       coalesce(seq_said, 0)
from unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::bigint[], $7::bigint[],
                     $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::jsonb[], $13::text[], $14::int[],
                     $15::jsonb[], $16::boolean[], $17::text[], $18::jsonb[], $19::jsonb[], $20::int[], $21::boolean[],
                     $22::text[], $23::boolean[], $24::timestamptz[], $25::timestamptz[], $26::bigint[])
    as new (system, kind, id, item, native, position, seq_critical, seq_high, seq_normal, seq_low, agreed, sent, shown,
            resent, vocabulary, unmapped, last_error, keys, mentions, place, pinned, url, watched, taken_at, position_at, seq_said)";

const UPDATE_RECORDS: &str = "
update records set
    item = new.item, native = new.native, position = new.position, seq_critical = coalesce(new.seq_critical, 0),
    seq_high = coalesce(new.seq_high, 0), seq_normal = coalesce(new.seq_normal, 0), seq_low = coalesce(new.seq_low, 0),
    agreed = new.agreed, sent = new.sent, shown = new.shown, resent = coalesce(new.resent, 0), vocabulary = new.vocabulary,
    unmapped = coalesce(new.unmapped, false), last_error = new.last_error, keys = new.keys, mentions = new.mentions,
    place = coalesce(new.place, 0), pinned = coalesce(new.pinned, false), url = new.url, watched = coalesce(new.watched, false),
    taken_at = new.taken_at, position_at = new.position_at, seq_said = coalesce(new.seq_said, 0)
from unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::bigint[], $7::bigint[],
            $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::jsonb[], $13::text[], $14::int[],
            $15::jsonb[], $16::boolean[], $17::text[], $18::jsonb[], $19::jsonb[], $20::int[], $21::boolean[],
            $22::text[], $23::boolean[], $24::timestamptz[], $25::timestamptz[], $26::bigint[], $27::int4[])
    as new (system, kind, id, item, native, position, seq_critical, seq_high, seq_normal, seq_low, agreed, sent, shown,
            resent, vocabulary, unmapped, last_error, keys, mentions, place, pinned, url, watched, taken_at, position_at, seq_said,
            stamp)
where records.system = new.system and records.kind = new.kind and records.id = new.id
  and (new.stamp is null or records.xmin = new.stamp)";

const UPSERT_CONFLICTS: &str = "
insert into conflicts (id, item, version, base, candidates, strategy, escalated, winner, opened_at, resolved_at)
select * from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::jsonb[], $6::text[], $7::boolean[],
                     $8::int[], $9::timestamptz[], $10::timestamptz[])
on conflict (id) do update set
    candidates = excluded.candidates, winner = excluded.winner, resolved_at = excluded.resolved_at";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_on_from_those_of_the_statement_before() {
        assert_eq!(shifted("select $1::text[], $12", 22), "select $23::text[], $34");
        let last = |statement: &str, number: usize| {
            assert!(statement.contains(&format!("${number}:")) && !statement.contains(&format!("${}:", number + 1)));
        };
        last(UPDATE_ITEMS, ITEM_COLUMNS + 1);
        last(UPDATE_RECORDS, RECORD_COLUMNS + 1);
        last(history::INSERT, history::COLUMNS);
    }
}

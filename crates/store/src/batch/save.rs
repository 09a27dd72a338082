//! Writes what a batch leaves behind: one statement a table, new rows and old ones apart, because an update in place is
//! cheaper than an upsert; and one statement for all three tables where nothing is new, which is nearly always, because
//! each statement is a round trip that every message of the batch waits for.

use std::sync::LazyLock;

use model::{Conflict, Group, ItemId, Key, Link, RecordRef};
use serde::Serialize;
use sqlx::postgres::PgArguments;
use sqlx::types::Json;
use sqlx::{Postgres, query::Query};

use super::history::{self, bind_rows};
use super::{Batch, Save, by_parts, position};
use crate::Maker;
use crate::row::{instant, signed};

/// An empty list is no value: most items have none, and a null costs a bit.
fn some_list<T: Serialize>(list: &[T]) -> Option<Json<&[T]>> {
    (!list.is_empty()).then_some(Json(list))
}

impl Batch {
    /// Writes it all. Nothing is visible before [`Batch::commit`]. `made_by` makes the versions that are new.
    pub async fn save(&mut self, save: &Save, made_by: &Maker) -> sqlx::Result<()> {
        let links = || {
            save.new_items
                .iter()
                .chain(&save.items)
                .flat_map(|group| group.links.iter().map(|link| (group.item.id, link)))
        };
        let (new, old): (Vec<_>, Vec<_>) = links().partition(|(_, link)| save.new_records.contains(&link.record));
        if save.new_items.is_empty() && new.is_empty() && !old.is_empty() && !save.rows.is_empty() {
            let statement = bind_items(sqlx::query(UPDATE_ALL.as_str()), &save.items, made_by);
            let statement = bind_rows(bind_links(statement, &old), &save.rows);
            statement.execute(&mut *self.tx).await?;
        } else {
            self.write_items(INSERT_ITEMS, &save.new_items, made_by).await?;
            self.write_items(UPDATE_ITEMS, &save.items, made_by).await?;
            self.write_links(INSERT_RECORDS, &new).await?;
            self.write_links(UPDATE_RECORDS, &old).await?;
            self.insert_history(&save.rows).await?;
        }
        self.relate_items(END_ITEMS, &save.ended).await?;
        self.relate_items(PART_ITEMS, &save.parted).await?;
        self.write_conflicts(&save.conflicts).await?;
        self.write_keys(&save.keys).await
    }

    async fn write_items(&mut self, statement: &'static str, groups: &[Group], made_by: &Maker) -> sqlx::Result<()> {
        if !groups.is_empty() {
            bind_items(sqlx::query(statement), groups, made_by).execute(&mut *self.tx).await?;
        }
        Ok(())
    }

    async fn write_links(&mut self, statement: &'static str, links: &[(ItemId, &Link)]) -> sqlx::Result<()> {
        if !links.is_empty() {
            bind_links(sqlx::query(statement), links).execute(&mut *self.tx).await?;
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
            .execute(&mut *self.tx)
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
            .execute(&mut *self.tx)
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
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}

/// A statement over arrays.
pub(super) type Statement = Query<'static, Postgres, PgArguments>;

fn bind_items(statement: Statement, groups: &[Group], made_by: &Maker) -> Statement {
    let items = || groups.iter().map(|group| &group.item);
    statement
        .bind(items().map(|item| item.id.0).collect::<Vec<_>>())
        .bind(items().map(|item| item.lifecycle.as_str()).collect::<Vec<_>>())
        .bind(items().map(|item| item.key.as_ref().map(Key::as_str)).collect::<Vec<_>>())
        .bind(items().map(|item| item.title.as_deref()).collect::<Vec<_>>())
        .bind(items().map(|item| item.status.as_str()).collect::<Vec<_>>())
        .bind(items().map(|item| instant(item.status_since)).collect::<Vec<_>>())
        .bind(items().map(|item| signed(item.version.0)).collect::<Vec<_>>())
        .bind(items().map(|item| item.changed_by.to_string()).collect::<Vec<_>>())
        .bind(items().map(|item| item.last_open.as_ref().map(model::Status::as_str)).collect::<Vec<_>>())
        .bind(items().map(|item| item.held.map(|id| id.0)).collect::<Vec<_>>())
        .bind(items().map(|item| some_list(&item.recent_conflicts)).collect::<Vec<_>>())
        .bind(items().map(|item| (!item.metadata.is_empty()).then_some(Json(&item.metadata))).collect::<Vec<_>>())
        .bind(items().map(|item| item.changed_by_actor.as_ref().map(Json)).collect::<Vec<_>>())
        .bind(items().map(|item| item.changed_from.as_ref().map(model::Status::as_str)).collect::<Vec<_>>())
        .bind(made_by.life.clone())
        .bind(signed(made_by.batch))
}

fn bind_links(statement: Statement, links: &[(ItemId, &Link)]) -> Statement {
    let [systems, kinds, ids] = by_parts(links.iter().map(|(_, link)| &link.record));
    let each = || links.iter().map(|(_, link)| *link);
    let lane = |lane: usize| each().map(|link| signed(link.sequences[lane])).collect::<Vec<_>>();
    statement
        .bind(systems)
        .bind(kinds)
        .bind(ids)
        .bind(links.iter().map(|(item, _)| item.0).collect::<Vec<_>>())
        .bind(each().map(|link| link.native.as_str()).collect::<Vec<_>>())
        .bind(each().map(|link| position(link.position)).collect::<Vec<_>>())
        .bind(lane(0))
        .bind(lane(1))
        .bind(lane(2))
        .bind(lane(3))
        .bind(each().map(|link| signed(link.agreed.0)).collect::<Vec<_>>())
        .bind(each().map(|link| some_list(&link.sent)).collect::<Vec<_>>())
        .bind(each().map(|link| link.shown.as_ref().map(model::Status::as_str)).collect::<Vec<_>>())
        .bind(each().map(|link| i32::try_from(link.resent).unwrap_or(i32::MAX)).collect::<Vec<_>>())
        .bind(each().map(|link| link.vocabulary.as_ref().map(Json)).collect::<Vec<_>>())
        .bind(each().map(|link| link.unmapped).collect::<Vec<_>>())
        .bind(each().map(|link| link.last_error.as_deref()).collect::<Vec<_>>())
        .bind(each().map(|link| some_list(&link.keys)).collect::<Vec<_>>())
        .bind(each().map(|link| some_list(&link.mentions)).collect::<Vec<_>>())
        .bind(each().map(|link| i32::try_from(link.order).unwrap_or(i32::MAX)).collect::<Vec<_>>())
        .bind(each().map(|link| link.pinned).collect::<Vec<_>>())
        .bind(each().map(|link| link.url.as_deref()).collect::<Vec<_>>())
        .bind(each().map(|link| link.watched).collect::<Vec<_>>())
        .bind(each().map(|link| link.taken_at.map(instant)).collect::<Vec<_>>())
        .bind(each().map(|link| link.position_at.map(instant)).collect::<Vec<_>>())
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

/// The three statements of a batch that brings nothing new, as one.
static UPDATE_ALL: LazyLock<String> = LazyLock::new(|| {
    let records = shifted(UPDATE_RECORDS, ITEM_COLUMNS);
    let history = shifted(history::INSERT, ITEM_COLUMNS + RECORD_COLUMNS);
    format!("with old_items as ({UPDATE_ITEMS}), old_records as ({records}) {history}")
});
const ITEM_COLUMNS: usize = 16;
const RECORD_COLUMNS: usize = 25;

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
            $8::text[], $9::text[], $10::uuid[], $11::jsonb[], $12::jsonb[], $13::jsonb[], $14::text[])
    as new (id, lifecycle, key, title, status, status_since, version, changed_by, last_open, held, recent_conflicts,
            metadata, changed_by_actor, changed_from)
where items.id = new.id";

const END_ITEMS: &str = "
update items set ended_into = ended.into_item, held = null
from unnest($1::uuid[], $2::uuid[]) as ended (id, into_item) where items.id = ended.id";

const PART_ITEMS: &str = "
update items set parted_from = parted.from_item
from unnest($1::uuid[], $2::uuid[]) as parted (id, from_item) where items.id = parted.id";

const INSERT_RECORDS: &str = "
insert into records (system, kind, id, item, native, position, seq_critical, seq_high, seq_normal, seq_low, agreed, sent,
                     shown, resent, vocabulary, unmapped, last_error, keys, mentions, place, pinned, url, watched, taken_at,
                     position_at)
select * from unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::bigint[], $7::bigint[],
                     $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::jsonb[], $13::text[], $14::int[],
                     $15::jsonb[], $16::boolean[], $17::text[], $18::jsonb[], $19::jsonb[], $20::int[], $21::boolean[],
                     $22::text[], $23::boolean[], $24::timestamptz[], $25::timestamptz[])";

const UPDATE_RECORDS: &str = "
update records set
    item = new.item, native = new.native, position = new.position, seq_critical = new.seq_critical,
    seq_high = new.seq_high, seq_normal = new.seq_normal, seq_low = new.seq_low, agreed = new.agreed, sent = new.sent,
    shown = new.shown, resent = new.resent, vocabulary = new.vocabulary, unmapped = new.unmapped,
    last_error = new.last_error, keys = new.keys, mentions = new.mentions, place = new.place, pinned = new.pinned,
    url = new.url, watched = new.watched, taken_at = new.taken_at,
    position_at = new.position_at
from unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::bigint[], $7::bigint[],
            $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::jsonb[], $13::text[], $14::int[],
            $15::jsonb[], $16::boolean[], $17::text[], $18::jsonb[], $19::jsonb[], $20::int[], $21::boolean[],
            $22::text[], $23::boolean[], $24::timestamptz[], $25::timestamptz[])
    as new (system, kind, id, item, native, position, seq_critical, seq_high, seq_normal, seq_low, agreed, sent, shown,
            resent, vocabulary, unmapped, last_error, keys, mentions, place, pinned, url, watched, taken_at, position_at)
where records.system = new.system and records.kind = new.kind and records.id = new.id";

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
        last(UPDATE_ITEMS, ITEM_COLUMNS);
        last(UPDATE_RECORDS, RECORD_COLUMNS);
    }
}

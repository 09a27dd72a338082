//! What people and the broadcaster ask for.

mod conflicts;

use model::{Group, HistoryRow, ItemId, Key, LifecycleName, RecordRef, Timestamp, Version};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row as _};
use uuid::Uuid;

pub use conflicts::{ConflictRow, EndedBy};

use crate::Store;
use crate::batch::{CONFLICTS, HistoryColumns, LINKS_OF, STATUS_AT};
use crate::row::{ConflictColumns, ItemColumns, LinkColumns, groups, history_columns, instant, item_columns, signed};

/// An item with its links.
pub type ItemRow = Group;
/// A line of history.
pub type HistoryEntry = HistoryRow;

/// The place of a line among those of its item, newest first. A stream that was made anew counts from 1 again, and one message may cause
/// many lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryPlace {
    /// When the bus stored what caused it.
    pub recorded_at: Timestamp,
    /// The stream sequence of that.
    pub sequence: u64,
    /// Which of its lines.
    pub ordinal: i16,
}

impl std::fmt::Display for HistoryPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}-{}", self.recorded_at.0, self.sequence, self.ordinal)
    }
}

impl std::str::FromStr for HistoryPlace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or(());
        let mut read = || {
            let (at, sequence, ordinal) = (next()?, next()?, next()?);
            let place = Self {
                recorded_at: Timestamp(at.parse().map_err(drop)?),
                sequence: sequence.parse().map_err(drop)?,
                ordinal: ordinal.parse().map_err(drop)?,
            };
            Ok::<_, ()>(place)
        };
        read().map_err(|()| "is not a place in a history: take the `next` of the page before")
    }
}

/// What records show that no mapping knows.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct UnmappedRow {
    /// The records' system.
    pub system: String,
    /// The records' kind.
    pub kind: String,
    /// What they show.
    pub native: String,
    /// How many show it.
    pub records: i64,
}

/// Which items.
#[derive(Debug, Clone, Default)]
pub struct ItemFilter {
    /// Only those after this one, in the order of ids.
    pub after: Option<ItemId>,
    /// Only those whose key or title contains this.
    pub text: Option<String>,
    /// Only those whose key is this and a number: `ENG` of `ENG-1`, `acme/web` of `acme/web#7`.
    pub project: Option<String>,
    /// Only those of this lifecycle.
    pub lifecycle: Option<LifecycleName>,
}

impl Store {
    /// Items in the order of their ids, at most `limit`.
    pub async fn items(&self, filter: &ItemFilter, limit: u32) -> sqlx::Result<Vec<ItemRow>> {
        let found: Vec<ItemColumns> = sqlx::query_as(
            concat!(
                "select ",
                item_columns!(),
                " from items
             where ended_into is null and ($1::uuid is null or id > $1)
               and ($2::text is null or position(lower($2) in lower(coalesce(key, '') || ' ' || coalesce(title, ''))) > 0)
               and ($3::text is null or lifecycle = $3)
               and ($4::text is null or (key is not null and substring(key from '^(.+)[-#][0-9]+$') = $4))
             order by id limit $5"
            ),
        )
        .bind(filter.after.map(|item| item.0))
        .bind(&filter.text)
        .bind(filter.lifecycle.as_ref().map(LifecycleName::as_str))
        .bind(&filter.project)
        .bind(i64::from(limit))
        .fetch_all(self.pool()?)
        .await?;
        self.with_links(found).await
    }

    /// One item by its id, by an identifier of one of its records, or by `system/kind/id` of one of its records. An item that
    /// ended is answered by the one that took its records over.
    pub async fn item(&self, name: &str) -> sqlx::Result<Option<ItemRow>> {
        let Some(id) = self.item_id(name).await? else { return Ok(None) };
        let found: Vec<ItemColumns> = sqlx::query_as(concat!(
            "with recursive way as (
                 select id, ended_into, 0 as steps from items where id = $1
                 union all
                 select next.id, next.ended_into, steps + 1 from way join items next on next.id = way.ended_into
                 where steps < 32
             )
             select ",
            item_columns!(),
            " from items join way using (id) where items.ended_into is null"
        ))
        .bind(id)
        .fetch_all(self.pool()?)
        .await?;
        Ok(self.with_links(found).await?.pop())
    }

    async fn item_id(&self, name: &str) -> sqlx::Result<Option<Uuid>> {
        if name.contains('\0') {
            // PostgreSQL has no text with a zero in it, so nothing has such a name.
            return Ok(None);
        }
        if let Ok(id) = Uuid::parse_str(name) {
            return Ok(Some(id));
        }
        let owned = "select item from keys join records using (system, kind, id) where key = $1";
        let by_key: Option<Uuid> = sqlx::query_scalar(owned).bind(name).fetch_optional(self.pool()?).await?;
        match (by_key, name.parse::<RecordRef>()) {
            (None, Ok(record)) => {
                sqlx::query_scalar("select item from records where system = $1 and kind = $2 and id = $3")
                    .bind(record.system.as_str())
                    .bind(record.kind.as_str())
                    .bind(record.id())
                    .fetch_optional(self.pool()?)
                    .await
            }
            (by_key, _) => Ok(by_key),
        }
    }

    async fn with_links(&self, items: Vec<ItemColumns>) -> sqlx::Result<Vec<ItemRow>> {
        let ids: Vec<Uuid> = items.iter().map(|item| item.0.id.0).collect();
        let links: Vec<LinkColumns> = sqlx::query_as(LINKS_OF).bind(&ids).fetch_all(self.pool()?).await?;
        let held: Vec<Uuid> = items.iter().filter_map(|item| item.0.held.map(|id| id.0)).collect();
        let conflicts: Vec<ConflictColumns> = sqlx::query_as(CONFLICTS).bind(held).fetch_all(self.pool()?).await?;
        Ok(groups(items, links, conflicts))
    }

    /// An item's history, newest first, at most `limit` lines: only those of messages before stream sequence `before`, and only those
    /// that follow a line. Where there may be more, the last line's place comes with it.
    pub async fn history(
        &self,
        item: ItemId,
        before: Option<u64>,
        after: Option<HistoryPlace>,
        limit: u32,
    ) -> sqlx::Result<(Vec<HistoryEntry>, Option<HistoryPlace>)> {
        let rows: Vec<(HistoryColumns, HistoryPlace)> = sqlx::query(concat!(
            "select ",
            history_columns!(),
            " from history where item = $1 and ($2::bigint is null or cause_sequence < $2)
               and ($3::timestamptz is null or (recorded_at, cause_sequence, ordinal) < ($3, $4, $5))
             order by recorded_at desc, cause_sequence desc, ordinal desc limit $6"
        ))
        .bind(item.0)
        .bind(before.map(signed))
        .bind(after.map(|place| instant(place.recorded_at)))
        .bind(after.map(|place| signed(place.sequence)))
        .bind(after.map(|place| place.ordinal))
        .bind(i64::from(limit))
        .try_map(|row: PgRow| {
            let line = HistoryColumns::from_row(&row)?;
            let place = HistoryPlace {
                recorded_at: line.0.recorded_at,
                sequence: line.0.cause.sequence,
                ordinal: row.try_get("ordinal")?,
            };
            Ok((line, place))
        })
        .fetch_all(self.pool()?)
        .await?;
        let full = rows.len() == usize::try_from(limit).unwrap_or(usize::MAX);
        let next = rows.last().filter(|_| full).map(|(_, place)| *place);
        Ok((rows.into_iter().map(|(line, _)| line.0).collect(), next))
    }

    /// The status that an item had at a version, as far as its history is kept.
    pub async fn status_at(&self, item: ItemId, version: Version) -> sqlx::Result<Option<String>> {
        sqlx::query_scalar(STATUS_AT).bind(item.0).bind(signed(version.0)).fetch_optional(self.pool()?).await
    }

    /// The items whose records this one took over, at most 1,000.
    pub async fn ended_into(&self, item: ItemId) -> sqlx::Result<Vec<ItemId>> {
        let ended: Vec<Uuid> =
            sqlx::query_scalar("select id from items where ended_into = $1 order by status_since, id limit 1000")
                .bind(item.0)
                .fetch_all(self.pool()?)
                .await?;
        Ok(ended.into_iter().map(ItemId).collect())
    }

    /// What records show that no mapping knows, that of most records first. Those that were deleted show nothing that one could know.
    pub async fn unmapped(&self, limit: u32) -> sqlx::Result<Vec<UnmappedRow>> {
        sqlx::query_as(
            "select system, kind, native, count(*) as records from records where unmapped and native <> '(deleted)'
             group by system, kind, native order by count(*) desc, system, kind, native limit $1",
        )
        .bind(i64::from(limit))
        .fetch_all(self.pool()?)
        .await
    }

    /// The record that owns an identifier.
    pub async fn owner(&self, key: &Key) -> sqlx::Result<Option<RecordRef>> {
        let row: Option<(String, String, String)> = sqlx::query_as("select system, kind, id from keys where key = $1")
            .bind(key.as_str())
            .fetch_optional(self.pool()?)
            .await?;
        let parse = |(system, kind, id): (String, String, String)| format!("{system}/{kind}/{id}").parse();
        row.map(|row| parse(row).map_err(|error| crate::row::corrupt("keys", error))).transpose()
    }
}

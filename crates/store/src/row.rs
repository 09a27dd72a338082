//! How the model's values lie in columns.

use model::{
    Candidate, Conflict, ConflictId, Group, Item, ItemId, Lane, Link, Native, Position, RecordRef, Status, Strategy,
    Timestamp, Version,
};
use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::Maker;

// Columns are named: a newer release may add others while an older one still runs, and PostgreSQL refuses a prepared `select *` from
// then on.

/// What [`ItemColumns`] are read from.
macro_rules! item_columns {
    () => {
        "items.id, items.lifecycle, items.key, items.title, items.status, items.status_since, items.version, items.changed_by,
         items.changed_by_actor, items.changed_from, items.last_open, items.held, items.recent_conflicts, items.metadata,
         items.made_by, items.made_in, items.parted_from"
    };
}
pub(crate) use item_columns;

/// What [`LinkColumns`] are read from.
macro_rules! record_columns {
    () => {
        "system, kind, id, item, native, position, position_at, seq_critical, seq_high, seq_normal, seq_low, seq_said, taken_at,
         agreed, sent, shown, resent, vocabulary, unmapped, last_error, keys, mentions, place, pinned, url, watched"
    };
}
pub(crate) use record_columns;

/// What [`ConflictColumns`] are read from.
macro_rules! conflict_columns {
    () => {
        "conflicts.id, conflicts.item, conflicts.version, conflicts.base, conflicts.candidates, conflicts.strategy,
         conflicts.escalated, conflicts.winner, conflicts.opened_at, conflicts.resolved_at"
    };
}
pub(crate) use conflict_columns;

/// What [`HistoryColumns`](crate::batch::HistoryColumns) and a line's place are read from.
macro_rules! history_columns {
    () => {
        "history.item, history.version, history.kind, history.from_status, history.to_status, history.record, history.native,
         history.position, history.actor, history.reason, history.conflict, history.irregular, history.at, history.recorded_at,
         history.cause_sequence, history.cause_id, history.ordinal"
    };
}
pub(crate) use history_columns;

/// A moment as PostgreSQL keeps it. One outside the years it can keep is the beginning of 1970.
pub(crate) fn instant(at: Timestamp) -> OffsetDateTime {
    let nanoseconds = i128::from(at.0) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

pub(crate) fn timestamp(at: OffsetDateTime) -> Timestamp {
    Timestamp(i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or_default())
}

/// Counters fit: JetStream counts messages, an item its changes, a system its milliseconds.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// A column that does not hold what we wrote there.
pub(crate) fn corrupt(column: &str, error: impl std::fmt::Display) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.into(), source: error.to_string().into() }
}

fn named<T: std::str::FromStr<Err: std::fmt::Display>>(row: &PgRow, column: &str) -> sqlx::Result<T> {
    row.try_get::<&str, _>(column)?.parse().map_err(|error| corrupt(column, error))
}

fn named_if<T: std::str::FromStr<Err: std::fmt::Display>>(row: &PgRow, column: &str) -> sqlx::Result<Option<T>> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(|text| text.parse().map_err(|error| corrupt(column, error))).transpose()
}

fn json<T: DeserializeOwned + Default>(row: &PgRow, column: &str) -> sqlx::Result<T> {
    let value: Option<Json<T>> = row.try_get(column)?;
    Ok(value.map(|json| json.0).unwrap_or_default())
}

/// An item, who made its version, and which item it parted from.
pub(crate) struct ItemColumns(pub(crate) Item, pub(crate) Maker, pub(crate) Option<ItemId>);

impl FromRow<'_, PgRow> for ItemColumns {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let item = Item {
            id: ItemId(row.try_get("id")?),
            lifecycle: named(row, "lifecycle")?,
            key: named_if(row, "key")?,
            title: row.try_get("title")?,
            status: named(row, "status")?,
            status_since: timestamp(row.try_get("status_since")?),
            version: Version(unsigned(row.try_get("version")?)),
            changed_by: named(row, "changed_by")?,
            changed_by_actor: json(row, "changed_by_actor")?,
            changed_from: named_if(row, "changed_from")?,
            last_open: named_if(row, "last_open")?,
            held: row.try_get::<Option<Uuid>, _>("held")?.map(ConflictId),
            recent_conflicts: json(row, "recent_conflicts")?,
            metadata: json(row, "metadata")?,
        };
        // Older releases noted less.
        let life = row.try_get::<Option<String>, _>("made_by")?.unwrap_or_default();
        let made_by = Maker { life, batch: row.try_get::<Option<i64>, _>("made_in")?.map_or(u64::MAX, unsigned) };
        Ok(Self(item, made_by, row.try_get::<Option<Uuid>, _>("parted_from")?.map(ItemId)))
    }
}

pub(crate) struct LinkColumns {
    pub(crate) item: ItemId,
    pub(crate) link: Link,
}

impl FromRow<'_, PgRow> for LinkColumns {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let record = RecordRef::new(named(row, "system")?, named(row, "kind")?, row.try_get::<&str, _>("id")?)
            .map_err(|error| corrupt("id", error))?;
        let mut sequences = [0; 4];
        for lane in Lane::ALL {
            let column = sequence_column(lane);
            sequences[lane as usize] = unsigned(row.try_get(column)?);
        }
        let link = Link {
            record,
            native: named::<Native>(row, "native")?,
            position: row.try_get::<Option<i64>, _>("position")?.map(|position| Position(unsigned(position))),
            position_at: row.try_get::<Option<OffsetDateTime>, _>("position_at")?.map(timestamp),
            sequences,
            said: unsigned(row.try_get("seq_said")?),
            taken_at: row.try_get::<Option<OffsetDateTime>, _>("taken_at")?.map(timestamp),
            agreed: Version(unsigned(row.try_get("agreed")?)),
            sent: json(row, "sent")?,
            shown: named_if::<Status>(row, "shown")?,
            resent: u32::try_from(row.try_get::<i32, _>("resent")?).unwrap_or_default(),
            vocabulary: json(row, "vocabulary")?,
            unmapped: row.try_get("unmapped")?,
            last_error: row.try_get("last_error")?,
            keys: json(row, "keys")?,
            mentions: json(row, "mentions")?,
            order: u32::try_from(row.try_get::<i32, _>("place")?).unwrap_or_default(),
            pinned: row.try_get("pinned")?,
            url: row.try_get("url")?,
            watched: row.try_get("watched")?,
        };
        Ok(Self { item: ItemId(row.try_get("item")?), link })
    }
}

fn sequence_column(lane: Lane) -> &'static str {
    match lane {
        Lane::Critical => "seq_critical",
        Lane::High => "seq_high",
        Lane::Normal => "seq_normal",
        Lane::Low => "seq_low",
    }
}

pub(crate) struct ConflictColumns(pub(crate) Conflict);

impl FromRow<'_, PgRow> for ConflictColumns {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let candidates: Json<Vec<Candidate>> = row.try_get("candidates")?;
        let strategy: &str = row.try_get("strategy")?;
        let winner: Option<i32> = row.try_get("winner")?;
        let resolved_at: Option<OffsetDateTime> = row.try_get("resolved_at")?;
        Ok(Self(Conflict {
            id: ConflictId(row.try_get("id")?),
            item: ItemId(row.try_get("item")?),
            version: Version(unsigned(row.try_get("version")?)),
            base: named(row, "base")?,
            candidates: candidates.0,
            strategy: Strategy::of_code(strategy).ok_or_else(|| corrupt("strategy", strategy))?,
            escalated: row.try_get("escalated")?,
            winner: winner.and_then(|winner| usize::try_from(winner).ok()),
            opened_at: timestamp(row.try_get("opened_at")?),
            resolved_at: resolved_at.map(timestamp),
        }))
    }
}

/// Items with their links and open conflicts, in the order of the items.
pub(crate) fn groups(items: Vec<ItemColumns>, links: Vec<LinkColumns>, conflicts: Vec<ConflictColumns>) -> Vec<Group> {
    let mut groups: Vec<Group> =
        items.into_iter().map(|item| Group { item: item.0, links: vec![], conflict: None }).collect();
    let place: std::collections::HashMap<ItemId, usize> =
        groups.iter().enumerate().map(|(place, group)| (group.item.id, place)).collect();
    for columns in links {
        if let Some(place) = place.get(&columns.item) {
            groups[*place].links.push(columns.link);
        }
    }
    for conflict in conflicts {
        if let Some(place) = place.get(&conflict.0.item) {
            groups[*place].conflict = Some(conflict.0);
        }
    }
    for group in &mut groups {
        group.links.sort_by_key(|link| link.order);
    }
    groups
}

//! Conflicts, with what people call what they are about, and who ended them.

use std::collections::BTreeMap;

use model::{Actor, Conflict, ConflictId, RecordRef, Status};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, Row as _};
use uuid::Uuid;

use crate::Store;
use crate::row::{ConflictColumns, conflict_columns};

/// A conflict, with what people call its item.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConflictRow {
    /// The conflict.
    #[serde(flatten)]
    pub conflict: Conflict,
    /// What people call the item for short.
    pub key: Option<String>,
    /// What people call the item.
    pub title: Option<String>,
    /// The identifiers of the item's records, where they have any.
    pub names: BTreeMap<String, String>,
    /// The operator's word that ended it; `None` where the strategy decided, where its item ended, and while it is open.
    pub ended_by: Option<EndedBy>,
}

/// An operator's word that ended a conflict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndedBy {
    /// What the item came to be.
    pub status: Status,
    /// Which word it was, as the history has it.
    pub reason: String,
    /// Who said it.
    pub actor: Option<Actor>,
}

impl ConflictRow {
    /// A record as people call it: an id that only programs read gives way to the identifier, where one is known.
    pub fn called(&self, record: &RecordRef) -> String {
        match self.names.get(&record.to_string()) {
            Some(name) if Uuid::try_parse(record.id()).is_ok() => format!("{}/{} {name}", record.system, record.kind),
            _ => record.to_string(),
        }
    }
}

impl FromRow<'_, PgRow> for ConflictRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let names: Option<Json<BTreeMap<String, String>>> = row.try_get("names")?;
        let ended_by: Option<Json<EndedBy>> = row.try_get("ended_by")?;
        Ok(Self {
            conflict: ConflictColumns::from_row(row)?.0,
            key: row.try_get("item_key")?,
            title: row.try_get("item_title")?,
            names: names.map(|names| names.0).unwrap_or_default(),
            ended_by: ended_by.map(|word| word.0),
        })
    }
}

// The moment of the word is that of the end: one message did both.
macro_rules! conflicts {
    ($which:literal) => {
        concat!(
            "select ",
            conflict_columns!(),
            ", items.key as item_key, items.title as item_title,
               (select jsonb_object_agg(system || '/' || kind || '/' || records.id, keys ->> 0) from records
                where records.item = conflicts.item and keys ->> 0 is not null) as names,
               (select jsonb_build_object('status', to_status, 'reason', reason, 'actor', actor) from history
                where history.item = conflicts.item and recorded_at = conflicts.resolved_at
                  and record like 'lockstep/operator/%' order by cause_sequence desc, ordinal desc limit 1) as ended_by
             from conflicts left join items on items.id = conflicts.item ",
            $which
        )
    };
}

impl Store {
    /// Conflicts, newest first: those that wait for a person, or all; only those that follow one.
    pub async fn conflicts(
        &self,
        open_only: bool,
        after: Option<ConflictId>,
        limit: u32,
    ) -> sqlx::Result<Vec<ConflictRow>> {
        sqlx::query_as(conflicts!(
            "where (conflicts.resolved_at is null or not $1)
               and ($3::uuid is null
                    or (conflicts.opened_at, conflicts.id) < (select opened_at, id from conflicts where id = $3))
             order by conflicts.opened_at desc, conflicts.id desc limit $2"
        ))
        .bind(open_only)
        .bind(i64::from(limit))
        .bind(after.map(|after| after.0))
        .fetch_all(self.pool()?)
        .await
    }

    /// The conflicts that hold items, oldest first.
    pub async fn held(&self, limit: u32) -> sqlx::Result<Vec<ConflictRow>> {
        sqlx::query_as(conflicts!(
            "where items.held = conflicts.id and conflicts.resolved_at is null and items.ended_into is null
             order by conflicts.opened_at limit $1"
        ))
        .bind(i64::from(limit))
        .fetch_all(self.pool()?)
        .await
    }

    /// One conflict.
    pub async fn conflict(&self, id: ConflictId) -> sqlx::Result<Option<ConflictRow>> {
        sqlx::query_as(conflicts!("where conflicts.id = $1")).bind(id.0).fetch_optional(self.pool()?).await
    }
}

//! History rows: written once, read again when an input comes again.

use model::{Actor, Cause, ConflictId, HistoryRow, ItemId, Position, Reason, RowKind, Timestamp, Version};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::save::{Statement, sparse};
use super::{Batch, position};
use crate::row::{corrupt, history_columns, instant, signed, timestamp, unsigned};

/// A row as it lies in the table.
pub(crate) struct HistoryColumns(pub(crate) HistoryRow);

impl FromRow<'_, PgRow> for HistoryColumns {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        fn text<T: std::str::FromStr<Err: std::fmt::Display>>(row: &PgRow, column: &str) -> sqlx::Result<T> {
            row.try_get::<&str, _>(column)?.parse().map_err(|error| corrupt(column, error))
        }
        let kind: &str = row.try_get("kind")?;
        let reason: &str = row.try_get("reason")?;
        let from: Option<&str> = row.try_get("from_status")?;
        let actor: Option<Json<Actor>> = row.try_get("actor")?;
        let position: Option<i64> = row.try_get("position")?;
        let at: OffsetDateTime = row.try_get("at")?;
        let recorded_at: OffsetDateTime = row.try_get("recorded_at")?;
        Ok(Self(HistoryRow {
            item: ItemId(row.try_get("item")?),
            version: Version(unsigned(row.try_get("version")?)),
            kind: RowKind::of_code(kind).ok_or_else(|| corrupt("kind", kind))?,
            from: from.map(|from| from.parse().map_err(|error| corrupt("from_status", error))).transpose()?,
            to: text(row, "to_status")?,
            record: text(row, "record")?,
            native: text(row, "native")?,
            position: position.map(|position| Position(unsigned(position))),
            actor: actor.map(|actor| actor.0),
            reason: Reason::of_code(reason).ok_or_else(|| corrupt("reason", reason))?,
            conflict: row.try_get::<Option<Uuid>, _>("conflict")?.map(ConflictId),
            irregular: row.try_get("irregular")?,
            at: timestamp(at),
            recorded_at: timestamp(recorded_at),
            cause: Cause { sequence: unsigned(row.try_get("cause_sequence")?), id: row.try_get("cause_id")? },
        }))
    }
}

/// The changes of these items after these versions that were recorded since then, in the order of the versions.
pub(crate) async fn changes_after(
    pool: &PgPool,
    told: &[(ItemId, Version, Timestamp)],
) -> sqlx::Result<Vec<HistoryRow>> {
    let rows: Vec<HistoryColumns> = sqlx::query_as(concat!(
        "select ",
        history_columns!(),
        " from history
         join unnest($1::uuid[], $2::bigint[], $3::timestamptz[]) as told (item, version, since) using (item)
         where history.kind = 'changed' and history.version > told.version and history.recorded_at >= told.since
         order by history.item, history.version"
    ))
    .bind(told.iter().map(|told| told.0.0).collect::<Vec<_>>())
    .bind(told.iter().map(|told| signed(told.1.0)).collect::<Vec<_>>())
    .bind(told.iter().map(|told| instant(told.2)).collect::<Vec<_>>())
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

impl Batch {
    /// The rows of these items that these messages caused: what a redelivered input publishes again.
    pub async fn rows_caused_by(&mut self, items: &[ItemId], causes: &[u64]) -> sqlx::Result<Vec<HistoryRow>> {
        let rows: Vec<HistoryColumns> = sqlx::query_as(concat!(
            "select ",
            history_columns!(),
            " from history where item = any($1) and cause_sequence = any($2) order by cause_sequence, ordinal"
        ))
        .bind(items.iter().map(|item| item.0).collect::<Vec<_>>())
        .bind(causes.iter().map(|cause| signed(*cause)).collect::<Vec<_>>())
        .fetch_all(self.tx().await?)
        .await?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    pub(super) async fn insert_history(&mut self, rows: &[HistoryRow]) -> sqlx::Result<()> {
        if !rows.is_empty() {
            bind_rows(sqlx::query(INSERT), rows).execute(self.tx().await?).await?;
        }
        Ok(())
    }
}

pub(super) fn bind_rows(statement: Statement, rows: &[HistoryRow]) -> Statement {
    let mut ordinals: Vec<i16> = Vec::with_capacity(rows.len());
    for (place, row) in rows.iter().enumerate() {
        let same = place > 0 && rows[place - 1].cause.sequence == row.cause.sequence;
        ordinals.push(if same { ordinals[place - 1].saturating_add(1) } else { 0 });
    }
    statement
        .bind(rows.iter().map(|row| row.item.0).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| signed(row.cause.sequence)).collect::<Vec<_>>())
        .bind(ordinals)
        .bind(rows.iter().map(|row| instant(row.recorded_at)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| signed(row.version.0)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.kind.code()).collect::<Vec<_>>())
        .bind(sparse(rows.iter().map(|row| row.from.as_ref().map(model::Status::as_str))))
        .bind(rows.iter().map(|row| row.to.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.record.to_string()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.native.as_str()).collect::<Vec<_>>())
        .bind(sparse(rows.iter().map(|row| position(row.position))))
        .bind(sparse(rows.iter().map(|row| row.actor.as_ref().map(Json))))
        .bind(rows.iter().map(|row| row.reason.code()).collect::<Vec<_>>())
        .bind(sparse(rows.iter().map(|row| row.conflict.map(|id| id.0))))
        .bind(rows.iter().map(|row| row.irregular).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| instant(row.at)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.cause.id.as_str()).collect::<Vec<_>>())
}

/// How many parameters it has.
pub(super) const COLUMNS: usize = 17;

pub(super) const INSERT: &str = "
insert into history (item, cause_sequence, ordinal, recorded_at, version, kind, from_status, to_status, record, native,
                     position, actor, reason, conflict, irregular, at, cause_id)
select * from unnest($1::uuid[], $2::bigint[], $3::smallint[], $4::timestamptz[], $5::bigint[], $6::text[], $7::text[],
                     $8::text[], $9::text[], $10::text[], $11::bigint[], $12::jsonb[], $13::text[], $14::uuid[],
                     $15::boolean[], $16::timestamptz[], $17::text[])";

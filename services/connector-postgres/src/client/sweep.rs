//! Compares rows: all of them now and then, and in between those whose captured change is recent.

use std::collections::BTreeMap;
use std::sync::Arc;

use connector::{Failure, Page, Unreadable};
use model::{Source, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::copy::{Looked, Outbox};
use super::{Client, failure, rows};
use crate::config::Table;
use crate::decode::{self, Row};
use crate::encode::Statements;

/// How far each sweep reaches back behind the one before: longer than a user's transaction is open, and than clocks differ.
const OVERLAP_MS: i64 = 600_000;

/// Up to when each table was compared, by kind.
type Cursor = BTreeMap<String, Mark>;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Mark {
    /// Recent changes.
    since: i64,
    /// All rows.
    full: i64,
    /// The outbox that was there.
    #[serde(default)]
    outbox: Option<Outbox>,
    /// The key up to which versions of rows that are gone were forgotten; empty where all were.
    #[serde(default)]
    forgot: String,
}

/// A place within a sweep.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    table: usize,
    started: i64,
    full: bool,
    /// What was found at the table's first page.
    #[serde(default)]
    looked: Option<Looked>,
    after: Option<String>,
    /// All rows were compared, and those are looked for that are gone.
    #[serde(default)]
    gone: bool,
    done: Cursor,
}

impl Client {
    /// One page; see [`connector::Connector::sweep`].
    pub(crate) async fn sweep(&self, cursor: Option<Value>, next: Option<Value>) -> Result<Page, Failure> {
        let cursor: Cursor = cursor.and_then(|cursor| serde_json::from_value(cursor).ok()).unwrap_or_default();
        let place = next.and_then(|next| serde_json::from_value(next).ok());
        let mut place = place.unwrap_or_else(|| self.begin(0, cursor.clone()));
        let Some(table) = self.config.tables.get(place.table) else { return Ok(end(place.done)) };
        let mut page = Page::default();
        // A table that cannot be used keeps its mark; readiness says why.
        if let Some((statements, mut looked)) = self.open(table, &mut place).await? {
            let rows = if place.gone {
                self.rows_that_are_gone(table, &statements, &place).await?
            } else {
                self.rows_that_are_there(table, &statements, &place, &mut looked).await?
            };
            page = self.seen(table, &place, &looked, &rows);
            if place.goes_on(&rows, self.config.batch) {
                place.looked = Some(looked);
                return Ok(Page { next: serde_json::to_value(place).ok(), ..page });
            }
            if place.full {
                let forgot = place.done.get(table.kind.as_str()).map(|mark| mark.forgot.clone()).unwrap_or_default();
                let forgot = self.forget(table, &statements, &looked, forgot).await;
                place.done.entry(table.kind.to_string()).or_default().forgot = forgot;
            }
            let known = place.known(table).cloned();
            let outbox = self.swept(table, looked, known).await;
            place.note(table, outbox);
        }
        if place.table + 1 >= self.config.tables.len() {
            return Ok(Page { cursor: end(place.done).cursor, ..page });
        }
        let place = self.begin(place.table + 1, place.done);
        Ok(Page { next: serde_json::to_value(place).ok(), ..page })
    }

    /// The statements for the table, and what was found at its first page; `None` where it cannot be used.
    async fn open(&self, table: &Table, place: &mut Place) -> Result<Option<(Arc<Statements>, Looked)>, Failure> {
        let is_lost = place.looked.is_none() && self.lost_capture(table).await?;
        if is_lost {
            let ago_s = place.swept_before(table).map(|before| (self.process.now_ms() - before) / 1_000);
            let since = ago_s.map_or("the start".to_owned(), |ago_s| format!("the last sweep, {ago_s} s ago,"));
            let what = "its triggers are gone or disabled: edits since";
            tracing::warn!(table = %table.table, "{what} {since} may have been missed until all rows are compared");
        }
        if place.looked.is_none() {
            // Where it fails, the table is looked at anew, and readiness says what is wrong.
            let _ = self.sees_all_rows(table).await;
        }
        let Ok(statements) = self.statements(table).await else { return Ok(None) };
        let mut looked = match place.looked.take() {
            Some(looked) => looked,
            None => self.look_at_outbox(table, place.known(table)).await,
        };
        looked.full |= is_lost;
        place.full |= looked.full;
        Ok(Some((statements, looked)))
    }

    /// Rows as they stand; those of an old copy, and those that no trigger saw edited, are first put above what is known of them.
    async fn rows_that_are_there(
        &self,
        table: &Table,
        statements: &Statements,
        place: &Place,
        looked: &mut Looked,
    ) -> Result<Vec<Row>, Failure> {
        let mut rows = self.settle("sweep", self.rows(table, statements, place).await)?;
        if self.raise(table, statements, looked, &rows).await? {
            rows = self.settle("sweep", self.rows(table, statements, place).await)?;
        }
        looked.saw(&rows);
        Ok(rows)
    }

    /// Rows that were captured once and that no trigger saw go.
    async fn rows_that_are_gone(
        &self,
        table: &Table,
        statements: &Statements,
        place: &Place,
    ) -> Result<Vec<Row>, Failure> {
        let rows = self.rows(table, statements, place).await;
        // After the rows: whatever hid some of them since does not pass for their end.
        self.sees_all_rows(table).await?;
        match rows {
            Err(error) if failure::is_about_form(&error) => {
                let what = "keys that were captured are none of this table; rows that are gone are not looked for";
                tracing::warn!(table = %table.table, %error, "{what}");
                Ok(Vec::new())
            }
            rows => self.settle("sweep", rows),
        }
    }

    /// What these rows tell.
    fn seen(&self, table: &Table, place: &Place, looked: &Looked, rows: &[Row]) -> Page {
        let mut page = Page::default();
        for row in rows {
            let seen = match (place.gone, &row.status) {
                // It is still there.
                (true, Some(_)) => continue,
                (true, None) => decode::gone(table, row, Source::Sweep, self.now()),
                // The next sweep puts it above what is known of it.
                (false, _) if looked.is_behind(row) => continue,
                (false, _) => decode::row(table, row, Source::Sweep, self.now()),
            };
            match seen {
                Ok(seen) => page.observations.push(seen),
                // It was deleted, or has no status yet.
                Err("no_status") => {}
                Err(_) => page.unreadable.push(unread(table, row)),
            }
        }
        page
    }

    /// The cursor of a sweep through what changed since a moment.
    pub(crate) fn cursor_since(&self, since: Timestamp) -> Option<Value> {
        let mark = Mark { since: since.0, full: self.process.now_ms(), outbox: None, forgot: String::new() };
        let marks: Cursor = self.config.tables.iter().map(|table| (table.kind.to_string(), mark.clone())).collect();
        serde_json::to_value(marks).ok()
    }

    /// How many rows a sweep will compare.
    pub(crate) async fn count(&self, cursor: Option<Value>) -> Result<Option<u64>, Failure> {
        let cursor: Cursor = cursor.and_then(|cursor| serde_json::from_value(cursor).ok()).unwrap_or_default();
        let mut total = 0;
        for (place, table) in self.config.tables.iter().enumerate() {
            let Ok(statements) = self.statements(table).await else { continue };
            let begun = self.begin(place, cursor.clone());
            let query = if begun.full {
                sqlx::query_scalar(AssertSqlSafe(statements.count.clone()))
            } else {
                let since = begun.done.get(table.kind.as_str()).map_or(0, |mark| mark.since);
                sqlx::query_scalar(AssertSqlSafe(statements.count_since.clone()))
                    .bind(table.kind.to_string())
                    .bind(since)
            };
            let counted: i64 = self.settle("count", query.fetch_one(self.pool()).await)?;
            total += u64::try_from(counted).unwrap_or_default();
        }
        Ok(Some(total))
    }

    fn begin(&self, table: usize, done: Cursor) -> Place {
        let started = self.process.now_ms();
        let mark =
            self.config.tables.get(table).and_then(|table| done.get(table.kind.as_str())).cloned().unwrap_or_default();
        let full_ms = i64::try_from(self.config.full_sweep_s).unwrap_or(i64::MAX).saturating_mul(1_000);
        Place {
            table,
            started,
            full: started.saturating_sub(mark.full) >= full_ms,
            looked: None,
            after: None,
            gone: false,
            done,
        }
    }

    async fn rows(&self, table: &Table, statements: &Statements, place: &Place) -> Result<Vec<Row>, sqlx::Error> {
        let (kind, batch) = (table.kind.as_str(), i64::from(self.config.batch));
        let query = |text: &str| sqlx::query(AssertSqlSafe(text.to_owned())).bind(kind.to_owned()).bind(batch);
        let query = match (&place.after, place.full) {
            (after, _) if place.gone => query(&statements.gone).bind(after.clone().unwrap_or_default()),
            (None, true) => query(&statements.first),
            (Some(after), true) => query(&statements.after).bind(after.clone()),
            (after, false) => {
                let since = place.done.get(kind).map_or(0, |mark| mark.since);
                query(&statements.since).bind(after.clone().unwrap_or_default()).bind(since)
            }
        };
        query.fetch_all(self.pool()).await?.iter().map(rows::row).collect()
    }
}

impl Place {
    /// Whether there is more of the table after these rows; then the place is where.
    fn goes_on(&mut self, rows: &[Row], batch: u32) -> bool {
        let is_full = rows.len() >= usize::try_from(batch).unwrap_or(usize::MAX);
        if let (Some(last), true) = (rows.last(), is_full) {
            self.after = Some(last.key.clone());
            return true;
        }
        if self.full && !self.gone {
            (self.after, self.gone) = (None, true);
            return true;
        }
        false
    }

    /// The outbox that the last sweep of the table saw.
    fn known(&self, table: &Table) -> Option<&Outbox> {
        self.done.get(table.kind.as_str()).and_then(|mark| mark.outbox.as_ref())
    }

    /// When the last sweep of the table began, in milliseconds since 1970.
    fn swept_before(&self, table: &Table) -> Option<i64> {
        self.done.get(table.kind.as_str()).map(|mark| mark.since + OVERLAP_MS)
    }

    /// Notes that the table was compared.
    fn note(&mut self, table: &Table, outbox: Option<Outbox>) {
        let mark = self.done.entry(table.kind.to_string()).or_default();
        mark.since = self.started - OVERLAP_MS;
        mark.outbox = outbox;
        if self.full {
            mark.full = self.started;
        }
    }
}

fn end(done: Cursor) -> Page {
    Page { cursor: serde_json::to_value(done).ok(), ..Page::default() }
}

fn unread(table: &Table, row: &Row) -> Unreadable {
    let status = decode::native(row.status.as_deref());
    let content =
        json!({"table": table.table.to_string(), "key": row.key, "status": status.as_str()}).to_string().into();
    let name = format!("{}/{}", table.kind, row.key);
    let why = format!("a key of {} is no name of a record", table.table);
    Unreadable { name, content, code: "unusable_key", why }
}

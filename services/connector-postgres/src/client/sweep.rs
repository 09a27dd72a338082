//! Compares rows: all of them now and then, and in between those whose captured change is recent.

use std::collections::BTreeMap;

use connector::{Failure, Page};
use model::Source;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::AssertSqlSafe;

use super::{Client, rows};
use crate::config::Table;
use crate::decode::{self, Row};

/// How far each sweep reaches back behind the one before: longer than a user's transaction is open, and than clocks differ.
const OVERLAP_MS: i64 = 600_000;

/// Up to when each table was compared, by kind.
type Cursor = BTreeMap<String, Mark>;

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Mark {
    /// Recent changes.
    since: i64,
    /// All rows.
    full: i64,
}

/// A place within a sweep.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    table: usize,
    started: i64,
    full: bool,
    after: Option<String>,
    done: Cursor,
}

impl Client {
    /// One page; see [`connector::Connector::sweep`].
    pub(crate) async fn sweep(&self, cursor: Option<Value>, next: Option<Value>) -> Result<Page, Failure> {
        let cursor: Cursor = cursor.and_then(|cursor| serde_json::from_value(cursor).ok()).unwrap_or_default();
        let place = next.and_then(|next| serde_json::from_value(next).ok());
        let mut place = place.unwrap_or_else(|| self.begin(0, cursor.clone()));
        let Some(table) = self.config.tables.get(place.table) else { return Ok(end(place.done)) };
        let mut observations = Vec::new();
        // A table that cannot be used keeps its mark; readiness says why.
        if let Ok(statements) = self.statements(table).await {
            let page = self.settle("sweep", self.page(table, &statements, &place).await)?;
            let is_last = page.len() < usize::try_from(self.config.batch).unwrap_or(usize::MAX);
            let seen = page.iter().filter_map(|row| decode::row(table, row, Source::Sweep, self.now()).ok());
            observations.extend(seen);
            if let (Some(last), false) = (page.last(), is_last) {
                place.after = Some(last.key.clone());
                return Ok(Page { observations, next: serde_json::to_value(place).ok(), cursor: None });
            }
            let mark = place.done.entry(table.kind.to_string()).or_default();
            mark.since = place.started - OVERLAP_MS;
            if place.full {
                mark.full = place.started;
            }
        }
        if place.table + 1 >= self.config.tables.len() {
            return Ok(Page { observations, ..end(place.done) });
        }
        let place = self.begin(place.table + 1, place.done);
        Ok(Page { observations, next: serde_json::to_value(place).ok(), cursor: None })
    }

    fn begin(&self, table: usize, done: Cursor) -> Place {
        let started = self.process.now_ms();
        let mark =
            self.config.tables.get(table).and_then(|table| done.get(table.kind.as_str())).copied().unwrap_or_default();
        let full_ms = i64::try_from(self.config.full_sweep_s).unwrap_or(i64::MAX).saturating_mul(1_000);
        Place { table, started, full: started.saturating_sub(mark.full) >= full_ms, after: None, done }
    }

    async fn page(
        &self,
        table: &Table,
        statements: &crate::encode::Statements,
        place: &Place,
    ) -> Result<Vec<Row>, sqlx::Error> {
        let (kind, batch) = (table.kind.as_str(), i64::from(self.config.batch));
        let query = |text: &str| sqlx::query(AssertSqlSafe(text.to_owned())).bind(kind.to_owned()).bind(batch);
        let query = match (&place.after, place.full) {
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

fn end(done: Cursor) -> Page {
    Page { observations: Vec::new(), next: None, cursor: serde_json::to_value(done).ok() }
}

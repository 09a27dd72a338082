//! Notices that the database was brought back from an old copy. Then rows stand behind what is known of them, and it is nobody's edit
//! that they do: they are put above it, and are told again what their items have become.

use connector::Failure;
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Row as _};

use super::{Client, failure};
use crate::config::Table;
use crate::decode::Row;
use crate::encode::{self, Statements};

/// What was captured so shortly before may still be on its way, and is above what is known anyway.
const ON_ITS_WAY_MS: i64 = 10_000;

/// Which outbox of which database it is, and how far it has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outbox {
    /// The server's and the database's own names for themselves, and the time line: another one after a recovery to a moment or a
    /// failover.
    line: String,
    /// The outbox as a table.
    entries: i64,
    /// The tracked table.
    tracked: i64,
    /// The last entry's id.
    last: i64,
    /// What the sweep left there; empty after the first one.
    #[serde(default)]
    sweep: String,
}

/// An outbox as it is found, with what the sweep before the last left there: the last one may have ended before its cursor was kept.
#[derive(Debug)]
struct Found {
    outbox: Outbox,
    sweep_before: Option<String>,
    now_ms: i64,
}

/// What became of an outbox since it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    /// It went on.
    Went,
    /// It was made anew beside the same rows: whoever edited them meanwhile was not captured.
    Anew,
    /// The rows are older ones.
    BroughtBack,
}

impl Found {
    fn since(&self, known: &Outbox) -> Since {
        let found = &self.outbox;
        if found.line != known.line {
            return Since::BroughtBack;
        }
        let left =
            known.sweep.is_empty() || found.sweep == known.sweep || self.sweep_before.as_ref() == Some(&known.sweep);
        match (found.entries == known.entries, found.tracked == known.tracked) {
            (true, _) if found.last < known.last || !left => Since::BroughtBack,
            (true, _) => Since::Went,
            (false, true) => Since::Anew,
            (false, false) => Since::BroughtBack,
        }
    }
}

/// What a sweep of a table has to know of its outbox.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Looked {
    pub(super) outbox: Outbox,
    /// Whether all rows are to be compared.
    pub(super) full: bool,
    /// Rows are to be put above what is known of them that were captured before this, in milliseconds since 1970.
    raise: Option<i64>,
}

impl Client {
    /// Looks whether the outbox is still the one that the last sweep of the table saw.
    pub(super) async fn look_at_outbox(&self, table: &Table, known: Option<&Outbox>) -> Result<Looked, Failure> {
        let query = encode::outbox(&self.config.schema);
        let query = sqlx::query(AssertSqlSafe(query)).bind(table.table.quoted()).bind(table.kind.as_str());
        let found = self.settle("outbox", query.fetch_one(self.pool()).await.and_then(|row| read(&row)))?;
        // Whoever reads all of it once leaves nothing.
        let Some(known) = known else { return Ok(Looked { outbox: found.outbox, ..Looked::default() }) };
        let since = found.since(known);
        let Found { mut outbox, now_ms, .. } = found;
        if since != Since::Went {
            let told = if since == Since::Anew { "the outbox" } else { "the database" };
            tracing::warn!(table = %table.table, "{told} is not the one that was known; all rows are compared");
        }
        if since == Since::BroughtBack {
            let unseen = sqlx::query(AssertSqlSafe(encode::bring_back(&self.config.schema))).bind(table.kind.as_str());
            self.settle("outbox", unseen.execute(self.pool()).await)?;
        }
        // While this sweep is not over, what was known still counts.
        let before = (since == Since::Went && !known.sweep.is_empty()).then_some(&known.sweep);
        outbox.sweep = runtime::unique().to_string();
        let leave = sqlx::query(AssertSqlSafe(encode::leave(&self.config.schema)));
        let leave = leave.bind(table.kind.as_str()).bind(&outbox.sweep).bind(before);
        match leave.execute(self.pool()).await {
            // An installation of an older release has no room for it.
            Err(error) if failure::is_about_shape(&error) => outbox.sweep.clear(),
            left => {
                self.settle("outbox", left)?;
            }
        }
        let raise = (since == Since::BroughtBack).then_some(now_ms - ON_ITS_WAY_MS);
        Ok(Looked { outbox, full: since != Since::Went, raise })
    }

    /// Puts rows of an old copy above what is known of them; whether there was anything to do.
    pub(super) async fn raise(
        &self,
        table: &Table,
        statements: &Statements,
        looked: &Looked,
        rows: &[Row],
    ) -> Result<bool, Failure> {
        let Some(before) = looked.raise else { return Ok(false) };
        let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        let raise = sqlx::query(AssertSqlSafe(statements.raise.clone()));
        let raise = raise.bind(table.kind.as_str()).bind(keys).bind(before);
        self.settle("raise", raise.execute(self.pool()).await)?;
        Ok(true)
    }
}

fn read(row: &sqlx::postgres::PgRow) -> Result<Found, sqlx::Error> {
    let outbox = Outbox {
        line: row.try_get("line")?,
        entries: row.try_get("entries")?,
        tracked: row.try_get("tracked")?,
        last: row.try_get("last")?,
        sweep: row.try_get::<Option<String>, _>("sweep")?.unwrap_or_default(),
    };
    Ok(Found { outbox, sweep_before: row.try_get("sweep_before")?, now_ms: row.try_get("now_ms")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_copy_is_told_from_an_outbox_that_was_dropped() {
        let known = Outbox { line: "1/00000001".into(), entries: 10, tracked: 20, last: 7, sweep: "c".into() };
        let found_after = |before: Option<&str>, change: fn(&mut Outbox)| {
            let mut outbox = known.clone();
            change(&mut outbox);
            Found { outbox, sweep_before: before.map(str::to_owned), now_ms: 0 }.since(&known)
        };
        let found = |change| found_after(Some("b"), change);
        assert_eq!(found(|found| found.last = 9), Since::Went);
        assert_eq!(found(|found| found.tracked = 21), Since::Went, "a table that was copied into another of its name");
        assert_eq!(found(|found| (found.entries, found.last) = (11, 0)), Since::Anew);
        assert_eq!(found(|found| (found.entries, found.tracked) = (11, 21)), Since::BroughtBack);
        assert_eq!(found(|found| found.last = 6), Since::BroughtBack);
        assert_eq!(found(|found| found.line = "1/00000002".into()), Since::BroughtBack);
        assert_eq!(
            found_after(Some("c"), |found| found.sweep = "d".into()),
            Since::Went,
            "the next sweep's cursor was lost"
        );
        assert_eq!(found_after(Some("a"), |found| (found.sweep, found.last) = ("b".into(), 9)), Since::BroughtBack);
    }
}

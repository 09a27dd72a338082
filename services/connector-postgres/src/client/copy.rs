//! Notices that the database, or a tracked table alone, was brought back from an old copy. Then rows stand behind what is known of
//! them, and it is nobody's edit that they do: they are put above it, and are told again what their items have become.

use connector::Failure;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::Client;
use super::failure::{failure, is_about_form};
use crate::config::Table;
use crate::decode::Row;
use crate::encode::{self, Statements};
use crate::install::trigger_names;

/// How many versions are looked at in one statement when those of rows that are gone are forgotten, in batches.
const FORGET_BATCHES: i64 = 20;
/// How many such statements follow one sweep.
const FORGET_STEPS_MAX: u32 = 100;

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
    /// The table's triggers, each with the transaction that last made it, or switched it on or off. Empty where an older release
    /// looked.
    #[serde(default)]
    triggers: String,
    /// The last entry's id.
    last: i64,
    /// When the last sweep that left its time there began, in milliseconds since 1970: an old copy has an older one. 0 where none did.
    #[serde(default)]
    sweep: i64,
}

/// What became of an outbox since it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    /// It went on.
    Went,
    /// It was made anew beside the same rows: whoever edited them meanwhile was not captured.
    Anew,
    /// Its triggers were made anew or switched on: whoever edited rows before that may not have been captured.
    Retriggered,
    /// The rows are older ones.
    BroughtBack,
}

impl Outbox {
    fn since(&self, known: &Self) -> Since {
        // A table of the same name whose rows are not the known ones. One that was copied into another of its name looks the same:
        // its rows are equal to what is known, and nothing comes of it.
        if self.line != known.line || self.tracked != known.tracked {
            return Since::BroughtBack;
        }
        if self.entries != known.entries {
            return Since::Anew;
        }
        if self.last < known.last || self.sweep < known.sweep {
            return Since::BroughtBack;
        }
        if !known.triggers.is_empty() && self.triggers != known.triggers {
            return Since::Retriggered;
        }
        Since::Went
    }
}

/// What a sweep of a table has to know of its outbox.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Looked {
    outbox: Outbox,
    /// Whether all rows are to be compared.
    pub(super) full: bool,
    /// When that was, in milliseconds since 1970, where the sweep leaves it there at its end.
    leaves: Option<i64>,
    /// Rows are to be put above what is known of them that were captured before this, in milliseconds since 1970.
    raise: Option<i64>,
    /// One of those was not: somebody held it. The next sweep does it again.
    skipped: bool,
}

impl Client {
    /// Looks whether the outbox is still the one that the last sweep of the table saw. A server that does not tell is swept without.
    pub(super) async fn look_at_outbox(&self, table: &Table, known: Option<&Outbox>) -> Looked {
        let query = encode::outbox(&self.config.schema);
        let query = sqlx::query(AssertSqlSafe(query)).bind(table.table.quoted()).bind(table.kind.as_str());
        let query = query.bind(trigger_names(table));
        let found = query.fetch_one(self.pool()).await.and_then(|row| read(&row));
        let Some((outbox, now_ms)) = told(table, "it is not known whether this is the database that was known", found)
        else {
            return Looked { outbox: known.cloned().unwrap_or_default(), ..Looked::default() };
        };
        // Whoever reads all of it once leaves nothing; and of an outbox that could not be looked at nothing is known.
        let Some(known) = known.filter(|known| !known.line.is_empty()) else {
            return Looked { outbox, ..Looked::default() };
        };
        let since = outbox.since(known);
        let what = match since {
            Since::Went => None,
            Since::Anew => Some("the outbox is not the one that was known"),
            Since::Retriggered => Some("its triggers are not those that the last sweep saw"),
            Since::BroughtBack => Some("the database or the table is not the one that was known"),
        };
        if let Some(what) = what {
            tracing::warn!(table = %table.table, "{what}; all rows are compared");
        }
        if since == Since::BroughtBack {
            let unseen = sqlx::query(AssertSqlSafe(encode::bring_back(&self.config.schema))).bind(table.kind.as_str());
            told(table, "rows that no trigger has seen stay where they were", unseen.execute(self.pool()).await);
        }
        let raise = (since == Since::BroughtBack).then_some(now_ms - ON_ITS_WAY_MS);
        Looked { outbox, full: since != Since::Went, leaves: Some(now_ms), raise, skipped: false }
    }

    /// Puts rows above what is known of them that are an old copy's, or that were edited past their triggers; whether there were any.
    pub(super) async fn raise(
        &self,
        table: &Table,
        statements: &Statements,
        looked: &Looked,
        rows: &[Row],
    ) -> Result<bool, Failure> {
        if looked.raise.is_some() {
            let behind = rows.iter().filter(|row| looked.is_behind(row));
            let raised = self.capture(table, statements, behind, Some(encode::BROUGHT_BACK)).await;
            return Ok(self.settle("raise", raised)? > 0);
        }
        // A dry run writes nothing: it installs nothing, and leaves nothing.
        if !self.config.install && looked.leaves.is_none() {
            return Ok(false);
        }
        let captured = self.capture(table, statements, rows.iter().filter(|row| is_unseen(row)), None).await;
        let means = "edits that no trigger saw may be taken for our own";
        Ok(told(table, means, captured).is_some_and(|captured| captured > 0))
    }

    /// Does what a trigger would, with what the rows show now: to how many. Rows that are locked, whose last change is on its way, or
    /// that were captured since they were read are left alone.
    pub(super) async fn capture(
        &self,
        table: &Table,
        statements: &Statements,
        rows: impl Iterator<Item = &Row>,
        origin: Option<&str>,
    ) -> Result<u64, sqlx::Error> {
        let (keys, versions): (Vec<_>, Vec<_>) = rows.map(|row| (row.key.as_str(), row.capture.version)).unzip();
        if keys.is_empty() {
            return Ok(0);
        }
        let raise = sqlx::query(AssertSqlSafe(statements.raise.clone()));
        let raise = raise.bind(table.kind.as_str()).bind(keys).bind(versions).bind(origin);
        Ok(raise.execute(self.pool()).await?.rows_affected())
    }

    /// Forgets the versions of rows that are gone for long, of those after a key, and says after which the next comparison of all rows
    /// goes on.
    pub(super) async fn forget(
        &self,
        table: &Table,
        statements: &Statements,
        looked: &Looked,
        after: String,
    ) -> String {
        // A dry run changes nothing.
        if looked.leaves.is_none() {
            return after;
        }
        // Most that are looked at stay, and none is sent to us.
        let page = i64::from(self.config.batch) * FORGET_BATCHES;
        let mut after = after;
        for _ in 0..FORGET_STEPS_MAX {
            let step = sqlx::query_as::<_, (i64, Option<String>)>(AssertSqlSafe(statements.forget.clone()));
            let looked_at = step.bind(table.kind.as_str()).bind(page).bind(&after).fetch_one(self.pool()).await;
            // Keys of another type were told when rows that are gone were looked for.
            let looked_at = if looked_at.as_ref().is_err_and(is_about_form) { Ok((0, None)) } else { looked_at };
            match told(table, "versions of rows that are gone are kept", looked_at) {
                Some((count, Some(last))) if count >= page => after = last,
                Some(_) => return String::new(),
                None => return after,
            }
        }
        after
    }

    /// What is known of the outbox from now on, when all rows of a sweep were compared.
    pub(super) async fn swept(&self, table: &Table, looked: Looked, known: Option<Outbox>) -> Option<Outbox> {
        if looked.skipped {
            return known;
        }
        let Looked { mut outbox, leaves, .. } = looked;
        if let Some(sweep) = leaves {
            let leave = sqlx::query(AssertSqlSafe(encode::leave(&self.config.schema)));
            let left = leave.bind(table.kind.as_str()).bind(sweep).execute(self.pool()).await;
            if told(table, "a copy of this database may pass for it", left).is_some() {
                outbox.sweep = sweep;
            }
        }
        Some(outbox)
    }
}

impl Looked {
    /// Whether a row is one of an old copy that was not put above what is known of it yet. What it shows is nobody's edit.
    pub(super) fn is_behind(&self, row: &Row) -> bool {
        let Some(before) = self.raise else { return false };
        // However lately it was captured: what the row shows is not what was captured then.
        row.capture.at_ms > 0 && (row.capture.at_ms < before || row.capture.status != row.status)
    }

    /// Notes whether rows were skipped that were to be put above what is known of them.
    pub(super) fn saw(&mut self, rows: &[Row]) {
        self.skipped |= rows.iter().any(|row| self.is_behind(row));
    }
}

/// Whether a row that was captured once shows a status that was set past its triggers. Until it is captured, a status that is set
/// back in the same way would pass for the one that was captured.
fn is_unseen(row: &Row) -> bool {
    row.capture.at_ms > 0 && row.status.is_some() && row.capture.status != row.status
}

/// What is not essential: without it the sweep goes on, and an operator is told what that means.
fn told<T>(table: &Table, means: &str, answer: Result<T, sqlx::Error>) -> Option<T> {
    let failed = match answer {
        Ok(answer) => return Some(answer),
        Err(error) => failure(&error),
    };
    let grants = if failed.code() == "forbidden" { " --for ROLE" } else { "" };
    tracing::warn!(table = %table.table, error = %failed, "{means}; run `lockstep postgres install --apply{grants}`");
    None
}

fn read(row: &PgRow) -> Result<(Outbox, i64), sqlx::Error> {
    let outbox = Outbox {
        line: row.try_get("line")?,
        entries: row.try_get("entries")?,
        tracked: row.try_get("tracked")?,
        triggers: row.try_get("triggers")?,
        last: row.try_get("last")?,
        sweep: row.try_get("sweep")?,
    };
    Ok((outbox, row.try_get("now_ms")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_copy_is_told_from_an_outbox_that_was_dropped() {
        let triggers = "30/700 31/700 32/700".to_owned();
        let known = Outbox { line: "1/00000001".into(), entries: 10, tracked: 20, triggers, last: 7, sweep: 500 };
        let found = |change: fn(&mut Outbox)| {
            let mut found = known.clone();
            change(&mut found);
            found.since(&known)
        };
        assert_eq!(found(|found| found.last = 9), Since::Went);
        assert_eq!(
            found(|found| found.sweep = 600),
            Since::Went,
            "the last sweep's cursor was lost, or ours is the old copy"
        );
        assert_eq!(found(|found| found.tracked = 21), Since::BroughtBack, "the table alone");
        assert_eq!(found(|found| (found.entries, found.last) = (11, 0)), Since::Anew);
        assert_eq!(found(|found| (found.entries, found.tracked) = (11, 21)), Since::BroughtBack);
        assert_eq!(found(|found| found.last = 6), Since::BroughtBack);
        assert_eq!(found(|found| (found.last, found.sweep) = (9, 400)), Since::BroughtBack, "it was edited since");
        assert_eq!(found(|found| found.triggers = "30/700 31/712 32/700".into()), Since::Retriggered);
        assert_eq!(found(|found| (found.triggers, found.last) = (String::new(), 6)), Since::BroughtBack);
        let older = Outbox { triggers: String::new(), ..known.clone() };
        assert_eq!(known.since(&older), Since::Went, "an older release did not look at the triggers");
        assert_eq!(found(|found| found.line = "1/00000002".into()), Since::BroughtBack);
    }
}

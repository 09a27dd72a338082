//! Notices that the database was brought back from an old copy. Then rows stand behind what is known of them, and it is nobody's edit
//! that they do: they are put above it, and are told again what their items have become.

use connector::Failure;
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Row as _};

use super::Client;
use crate::config::Table;
use crate::decode::Row;
use crate::encode::{self, Statements};

/// What was captured so shortly before may still be on its way, and is above what is known anyway.
const ON_ITS_WAY_MS: i64 = 10_000;

/// Which outbox of which database it is, and how far it has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outbox {
    /// The database's own name for itself, and its time line: another one after a recovery to a moment or a failover.
    line: String,
    /// The outbox as a table.
    entries: i64,
    /// The tracked table.
    tracked: i64,
    /// The last entry's id.
    last: i64,
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

impl Outbox {
    fn since(&self, known: &Self) -> Since {
        if self.line != known.line {
            return Since::BroughtBack;
        }
        match (self.entries == known.entries, self.tracked == known.tracked) {
            (true, _) if self.last < known.last => Since::BroughtBack,
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
        let query = sqlx::query(AssertSqlSafe(query)).bind(table.table.quoted());
        let (outbox, now_ms) = self.settle("outbox", query.fetch_one(self.pool()).await.and_then(|row| read(&row)))?;
        let since = known.map_or(Since::Went, |known| outbox.since(known));
        if since != Since::Went {
            let told = if since == Since::Anew { "the outbox" } else { "the database" };
            tracing::warn!(table = %table.table, "{told} is not the one that was known; all rows are compared");
        }
        if since == Since::BroughtBack {
            let unseen = sqlx::query(AssertSqlSafe(encode::bring_back(&self.config.schema))).bind(table.kind.as_str());
            self.settle("outbox", unseen.execute(self.pool()).await)?;
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

fn read(row: &sqlx::postgres::PgRow) -> Result<(Outbox, i64), sqlx::Error> {
    let outbox = Outbox {
        line: row.try_get("line")?,
        entries: row.try_get("entries")?,
        tracked: row.try_get("tracked")?,
        last: row.try_get("last")?,
    };
    Ok((outbox, row.try_get("now_ms")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_copy_is_told_from_an_outbox_that_was_dropped() {
        let known = Outbox { line: "1/00000001".into(), entries: 10, tracked: 20, last: 7 };
        let found = |change: fn(&mut Outbox)| {
            let mut found = known.clone();
            change(&mut found);
            found.since(&known)
        };
        assert_eq!(found(|found| found.last = 9), Since::Went);
        assert_eq!(found(|found| found.tracked = 21), Since::Went, "a table that was copied into another of its name");
        assert_eq!(found(|found| (found.entries, found.last) = (11, 0)), Since::Anew);
        assert_eq!(found(|found| (found.entries, found.tracked) = (11, 21)), Since::BroughtBack);
        assert_eq!(found(|found| found.last = 6), Since::BroughtBack);
        assert_eq!(found(|found| found.line = "1/00000002".into()), Since::BroughtBack);
    }
}

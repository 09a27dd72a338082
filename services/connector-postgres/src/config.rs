//! The connector's section of the configuration.

use std::collections::BTreeSet;

use model::{Kind, LifecycleName, System};
use runtime::config::Secret;
use serde::Deserialize;

use crate::name::{Name, TableName};

/// Which database, which tables, and how often they are looked at.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The database of the tracked tables: `postgres://user:password@host/database`.
    pub url: Secret,
    /// The schema that holds the outbox.
    pub schema: Name,
    /// Whether the outbox and its triggers are installed at start. Without it, `lockstep postgres install` does it.
    pub install: bool,
    /// How often the outbox is looked at while it is empty, in milliseconds.
    pub poll_ms: u64,
    /// How often rows are compared, in seconds: those that changed since the last time.
    pub sweep_s: u64,
    /// How often all rows are compared, in seconds, which finds what was written past the triggers.
    pub full_sweep_s: u64,
    /// How many entries or rows are taken at once.
    pub batch: u32,
    /// The longest that one statement may take, in milliseconds.
    pub statement_timeout_ms: u64,
    /// The longest that a write waits for a row that somebody holds, in milliseconds.
    pub lock_timeout_ms: u64,
    /// The tracked tables.
    pub tables: Vec<Table>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            schema: default_schema(),
            install: false,
            poll_ms: 50,
            sweep_s: 300,
            full_sweep_s: 86_400,
            batch: 500,
            statement_timeout_ms: 15_000,
            lock_timeout_ms: 5_000,
            tables: Vec::new(),
        }
    }
}

#[expect(clippy::expect_used, reason = "a constant that `Name::new` takes, as a test shows")]
fn default_schema() -> Name {
    Name::new("lockstep_outbox").expect("a usable name")
}

/// One table whose rows are records.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The table, as `schema.table`.
    pub table: TableName,
    /// What its rows are called: the middle of `postgres/<kind>/<key>`.
    pub kind: Kind,
    /// The column that names a row for good: a primary key, or unique and not null.
    #[serde(default = "id")]
    pub key: Name,
    /// The column with the status.
    #[serde(default = "status")]
    pub status: Name,
    /// The column with what people call the row.
    #[serde(default)]
    pub title: Option<Name>,
    /// Columns with identifiers of other records, such as `ENG-1` or `acme/web#7`: they tie the row to those.
    #[serde(default)]
    pub mentions: Vec<Name>,
    /// The lifecycle of the rows' items.
    #[serde(default = "work")]
    pub lifecycle: LifecycleName,
}

#[expect(clippy::expect_used, reason = "a constant that `Name::new` takes, as a test shows")]
fn id() -> Name {
    Name::new("id").expect("a usable name")
}

#[expect(clippy::expect_used, reason = "a constant that `Name::new` takes, as a test shows")]
fn status() -> Name {
    Name::new("status").expect("a usable name")
}

#[expect(clippy::expect_used, reason = "a constant that `LifecycleName::new` takes, as a test shows")]
fn work() -> LifecycleName {
    LifecycleName::new("work").expect("a usable name")
}

/// The system's name, as records carry it.
#[expect(clippy::expect_used, reason = "a constant that `System::new` takes, as a test shows")]
pub(crate) fn system() -> System {
    System::new("postgres").expect("a usable name")
}

impl Config {
    /// Refuses what cannot work, with the key's name.
    pub fn check(&self) -> Result<(), String> {
        let numbers = [
            ("poll_ms", self.poll_ms, 1, 60_000),
            ("sweep_s", self.sweep_s, 1, 604_800),
            ("full_sweep_s", self.full_sweep_s, 1, 31_536_000),
            ("batch", u64::from(self.batch), 1, 10_000),
            ("statement_timeout_ms", self.statement_timeout_ms, 100, 600_000),
            ("lock_timeout_ms", self.lock_timeout_ms, 10, 600_000),
        ];
        for (key, value, least, most) in numbers {
            if !(least..=most).contains(&value) {
                return Err(format!("{key}: is {value}; it must be from {least} to {most}"));
            }
        }
        if !self.tables.is_empty() && self.url.is_empty() {
            return Err(
                "url: is missing: the database of the tracked tables, or DATABASE_URL in the environment".into()
            );
        }
        let mut kinds = BTreeSet::new();
        for table in &self.tables {
            if !kinds.insert(table.kind.as_str()) {
                return Err(format!("tables: the kind {:?} stands at two tables; each needs its own", table.kind));
            }
            if table.key == table.status {
                return Err(format!("tables: {} has {:?} as key and as status", table.table, table.key.as_str()));
            }
        }
        Ok(())
    }

    /// The table of a kind.
    pub fn table(&self, kind: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.kind.as_str() == kind)
    }
}

impl Table {
    /// All columns that are read, the key first.
    pub fn columns(&self) -> impl Iterator<Item = &Name> {
        [&self.key, &self.status].into_iter().chain(&self.title).chain(&self.mentions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Config, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check().map(|()| config)
    }

    #[test]
    fn a_table_needs_only_its_name_and_kind() {
        let config = config("url = \"postgres://h/d\"\n[[tables]]\ntable = \"public.tasks\"\nkind = \"task\"").unwrap();
        let table = config.table("task").unwrap();
        assert_eq!((table.key.as_str(), table.status.as_str(), table.lifecycle.as_str()), ("id", "status", "work"));
        assert_eq!(config.schema.as_str(), "lockstep_outbox");
        assert_eq!(system().as_str(), "postgres");
    }

    #[test]
    fn a_wrong_setting_is_refused_by_its_key() {
        let two = "url = \"postgres://h/d\"\n[[tables]]\ntable = \"a\"\nkind = \"task\"\n[[tables]]\ntable = \"b\"\nkind = \"task\"";
        let cases = [
            ("poll_ms = 0", "poll_ms"),
            ("batch = 100000", "batch"),
            ("[[tables]]\ntable = \"a\"\nkind = \"task\"", "url"),
            (two, "task"),
            ("colour = 1", "colour"),
            ("[[tables]]\ntable = \"a.b.c\"\nkind = \"task\"", "a.b.c"),
        ];
        for (text, named) in cases {
            let refused = config(text).expect_err(text);
            assert!(refused.contains(named), "{text}: {refused}");
        }
    }
}

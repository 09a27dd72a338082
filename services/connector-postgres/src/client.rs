//! The connector's side of the database connection: reads, conditional writes, sweeps. The only files that do I/O.

mod catalog;
mod copy;
mod failure;
mod relay;
mod rows;
mod setup;
mod sweep;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use connector::{Failure, Reading, Written};
use model::{Command, RecordRef, Source, Timestamp};
use runtime::Process;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::Instant;

use crate::config::{Config, Table};
use crate::decode::{self, Row};
use crate::encode::{self, SETTING, Statements};
use failure::failure;

pub(crate) use setup::install;

#[cfg(test)]
mod tests;

/// The most connections that are open at once: one for the relay, the others for reads, writes and the sweep.
const CONNECTIONS_MAX: u32 = 8;
/// How long a connection may take to be made or to become free.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The tracked tables of one database.
pub(crate) struct Client {
    config: Config,
    process: Process,
    options: PgConnectOptions,
    /// Made at the first use: a pool needs a runtime, and a configuration is checked without one.
    pool: OnceLock<PgPool>,
    /// The statements of the tables that were found usable, by kind.
    usable: Mutex<BTreeMap<String, Arc<Statements>>>,
    /// One look at the tables at a time.
    looking: tokio::sync::Mutex<()>,
    /// When the tables that somebody held may be waited for again, by kind.
    held: Mutex<BTreeMap<String, Instant>>,
}

impl Client {
    /// Takes the configuration; connects at the first use.
    pub(crate) fn new(config: Config, process: Process) -> Result<Self, String> {
        let options = options(&config)?;
        Ok(Self {
            config,
            process,
            options,
            pool: OnceLock::new(),
            usable: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
            held: Mutex::default(),
        })
    }

    /// The configuration.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    fn pool(&self) -> &PgPool {
        self.pool.get_or_init(|| pool(&self.config, self.options.clone()))
    }

    fn usable(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Statements>>> {
        self.usable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.process.now_ms())
    }

    /// Counts a call and gives its answer, with the error as a decision.
    fn settle<T>(&self, call: &str, answer: Result<T, sqlx::Error>) -> Result<T, Failure> {
        let answer = answer.map_err(|error| {
            if failure::is_about_shape(&error) {
                // What was known of the tables is not so any more.
                self.usable().clear();
            }
            failure(&error)
        });
        let outcome = answer.as_ref().err().map_or("ok", Failure::code);
        self.process.metrics().connector_calls_total.with_label_values(&["postgres", call, outcome]).inc();
        match &answer {
            Ok(_) => self.process.succeeded("postgres"),
            Err(failure) => self.process.failed("postgres", failure.to_string()),
        }
        answer
    }

    fn table(&self, record: &RecordRef) -> Result<&Table, Failure> {
        let missing = || Failure::refused("unknown_kind", format!("{record}: no table of this kind is configured"));
        self.config.table(record.kind.as_str()).ok_or_else(missing)
    }

    /// What a row shows now: of one that was captured and is there no more, that it was deleted.
    pub(crate) async fn read(&self, record: &RecordRef) -> Result<Reading, Failure> {
        let table = self.table(record)?;
        let statements = self.statements(table).await?;
        let row = self.one(&statements.row, record).await?;
        let observation = match &row {
            Some(row) => decode::row(table, row, Source::Poll, self.now()),
            None => decode::gone(table, &self.last(table, &statements, record).await?, Source::Poll, self.now()),
        };
        let observation =
            observation.map_err(|why| Failure::refused(why, format!("{record} cannot be read: {why}")))?;
        Ok(Reading { observation, extra: serde_json::json!(row.and_then(|row| row.status)) })
    }

    /// What was captured of a row that was not found; [`Failure::Gone`] where nothing was.
    async fn last(&self, table: &Table, statements: &Statements, record: &RecordRef) -> Result<Row, Failure> {
        let last = self.one(&statements.last, record).await?;
        // After the row: whatever hid it since does not pass for its end.
        self.sees_all_rows(table).await?;
        match last {
            Some(row) if row.status.is_some() => {
                Err(Failure::unavailable(format!("{record} was inserted while it was looked for")))
            }
            Some(row) => Ok(row),
            None => Err(Failure::gone(format!("{record}: {} has no such row", table.table))),
        }
    }

    async fn one(&self, statement: &str, record: &RecordRef) -> Result<Option<Row>, Failure> {
        let row = match self.pool().acquire().await {
            Ok(mut connection) => fetch(&mut connection, statement, record).await,
            Err(error) => Err(error),
        };
        // A text that no key of this type can be names no row.
        let row = if row.as_ref().is_err_and(failure::is_about_form) { Ok(None) } else { row };
        self.settle("read", row)
    }

    /// Sets a row's status, if it is still the one that was read.
    pub(crate) async fn write(&self, command: &Command, reading: &Reading) -> Result<Written, Failure> {
        let record = &command.record;
        let statements = self.statements(self.table(record)?).await?;
        // As it stands in the row: what is shown of it may be quoted.
        let expected = reading.extra.as_str();
        let (reached, row) = self.settle("write", self.exchange(&statements, command, expected).await)?;
        let position = row.as_ref().map(|row| decode::position(row.capture.version));
        match row {
            Some(row) if reached => Ok(Written { native: decode::native(row.status.as_deref()), position }),
            Some(row) if row.status.as_deref() == expected && position == reading.observation.position => {
                let why = format!(
                    "{record}: the row is there and shows what was expected, but an UPDATE reached no row: \
                     a policy for UPDATE or a trigger of the table keeps it"
                );
                Err(Failure::refused("not_allowed", why))
            }
            _ => {
                Err(Failure::unavailable(format!("{record} changed between reading and writing; nothing was written")))
            }
        }
    }

    /// One transaction: the tag, the conditional write, whether it reached the row, and what that shows then.
    async fn exchange(
        &self,
        statements: &Statements,
        command: &Command,
        expected: Option<&str>,
    ) -> Result<(bool, Option<Row>), sqlx::Error> {
        let mut transaction = self.pool().begin().await?;
        sqlx::query("SELECT set_config($1, $2, true), set_config('lock_timeout', $3, true)")
            .bind(SETTING)
            .bind(encode::tag(command))
            .bind(format!("{}ms", self.config.lock_timeout_ms))
            .execute(&mut *transaction)
            .await?;
        let written = sqlx::query(AssertSqlSafe(statements.write.clone()))
            .bind(command.native.as_str())
            .bind(command.record.id())
            .bind(expected)
            .execute(&mut *transaction)
            .await?;
        let row = fetch(&mut transaction, &statements.row, &command.record).await?;
        let reached = written.rows_affected() > 0;
        if reached {
            transaction.commit().await?;
        } else {
            transaction.rollback().await?;
        }
        Ok((reached, row))
    }
}

async fn fetch(connection: &mut PgConnection, statement: &str, record: &RecordRef) -> Result<Option<Row>, sqlx::Error> {
    let query = sqlx::query(AssertSqlSafe(statement.to_owned())).bind(record.kind.as_str()).bind(record.id());
    query.fetch_optional(connection).await?.as_ref().map(rows::row).transpose()
}

fn options(config: &Config) -> Result<PgConnectOptions, String> {
    let url = if config.url.is_empty() { "postgres://" } else { config.url.expose() };
    let options = PgConnectOptions::from_str(url);
    // Not the error's own text: it may hold the address with its password.
    let options =
        options.map_err(|_| "url is not a PostgreSQL address: postgres://user:password@host:port/database")?;
    Ok(options.application_name("lockstep"))
}

fn pool(config: &Config, options: PgConnectOptions) -> PgPool {
    let settings = format!(
        "SET statement_timeout = {0}; SET lock_timeout = {1}; SET idle_in_transaction_session_timeout = 60000",
        config.statement_timeout_ms, config.lock_timeout_ms
    );
    let settings: Arc<str> = Arc::from(settings);
    PgPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(CONNECT_TIMEOUT)
        .after_connect(move |connection, _| {
            let settings = Arc::clone(&settings);
            Box::pin(async move {
                sqlx::Executor::execute(connection, sqlx::raw_sql(AssertSqlSafe(settings))).await?;
                Ok(())
            })
        })
        .connect_lazy_with(options)
}

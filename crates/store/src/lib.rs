//! PostgreSQL: migrations, the resolver's batch transaction, and queries.
//!
//! Knows how the model's values lie in tables. Decides nothing.

mod batch;
pub mod fault;
mod known;
mod lives;
mod mark;
mod partitions;
mod query;
#[cfg(any(test, feature = "simulation"))]
mod refused;
mod row;
#[cfg(feature = "simulation")]
pub mod simulation;
mod transaction;

use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use runtime::Process;
use runtime::config::Secret;
use serde::Deserialize;
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgPool, Postgres, Transaction};

pub use batch::Save;
pub use known::Known;
pub use lives::Maker;
pub use mark::Mark;
pub use query::{ConflictRow, EndedBy, HistoryEntry, HistoryPlace, ItemFilter, ItemRow, UnmappedRow};
pub use transaction::Batch;

/// Where PostgreSQL is, and how much of it is used.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `postgres://user:password@host:port/database`.
    pub url: Secret,
    /// The most connections one process opens for what people ask. A resolver opens three more: two for its batches, and one to look up
    /// what another resolver has not told of yet.
    pub connections: u32,
    /// How long a statement may take, in milliseconds.
    pub statement_timeout_ms: u64,
    /// For how many months after its own a line of history is kept, and a conflict after the month in which it ended; 0 keeps them for
    /// ever.
    pub history_months: u32,
}

/// How many connections one process may open: PostgreSQL itself serves some hundreds.
const CONNECTIONS_MAX: u32 = 10_000;

impl Default for Config {
    fn default() -> Self {
        Self { url: Secret::default(), connections: 10, statement_timeout_ms: 30_000, history_months: 0 }
    }
}

impl Config {
    /// Whether it can be used; else the key, and a sentence about its value, which never repeats an address: it may hold a password.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        const URL: &str = "database.url";
        let url = self.url.expose();
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err((URL, "(DATABASE_URL) must start with postgres:// or postgresql://".into()));
        }
        if !(1..=CONNECTIONS_MAX).contains(&self.connections) {
            let why = format!("is {}; it must be from 1 to {CONNECTIONS_MAX}", self.connections);
            return Err(("database.connections", why));
        }
        if self.history_months > HISTORY_MONTHS_MAX {
            let why = format!("must be at most {HISTORY_MONTHS_MAX}; 0 keeps the history for ever");
            return Err(("database.history_months", why));
        }
        let read = PgConnectOptions::from_str(url).map(drop);
        read.map_err(|error| (URL, format!("(DATABASE_URL) is not a PostgreSQL address: {error}")))
    }
}

/// How a database stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The server's version as it counts it: 150004 is 15.4.
    pub version: u32,
    /// Whether we may make a schema.
    pub may_create: bool,
    /// Whether ours is there.
    pub schema: bool,
    /// How many migrations are still to come.
    pub pending: usize,
    /// The schema is of a newer version than this program.
    pub newer: bool,
    /// The server's clock, in milliseconds since 1970.
    pub clock_ms: i64,
}

/// Lockstep's own tables, in the schema `lockstep`.
#[derive(Debug, Clone)]
pub struct Store {
    base: Base,
    history_months: u32,
}

/// What lies under the store.
#[derive(Debug, Clone)]
enum Base {
    Postgres {
        pool: PgPool,
        /// Batches of messages.
        batches: PgPool,
        /// One connection for what a batch may be waiting for.
        beside: PgPool,
    },
    #[cfg(feature = "simulation")]
    Simulated(simulation::Client),
}

/// Partitions are told apart by years of four digits.
const HISTORY_MONTHS_MAX: u32 = 1_200;
/// How many batches one process commits at once: one, and one more where an attempt that failed is still being taken back.
const BATCH_CONNECTIONS: u32 = 2;
/// A transaction whose process froze, or whose machine is gone, holds its locks no longer than this: others wait for them. None of ours
/// pauses for so long between two statements.
const LET_GO: [(&str, &str); 5] = [
    ("idle_in_transaction_session_timeout", "10000"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "25000"),
];
/// How long a connection that was not used counts as alive.
const UNASKED: Duration = Duration::from_secs(1);
/// How long a start waits for PostgreSQL.
const CONNECT_DEADLINE: Duration = Duration::from_secs(30);

impl Store {
    /// Connects, and waits up to 30 s for a server that is still starting.
    pub async fn connect(config: &Config, process: &Process) -> anyhow::Result<Self> {
        let options = PgConnectOptions::from_str(config.url.expose())
            .map_err(|error| anyhow::anyhow!("database.url (DATABASE_URL) is not a PostgreSQL address: {error}"))?;
        let timeout = config.statement_timeout_ms.to_string();
        let options = options
            .application_name("lockstep")
            .options([("search_path", "lockstep"), ("statement_timeout", timeout.as_str())])
            .options(LET_GO);
        // A statement over UNNEST is planned anew each time, which is right for whatever people ask, or once for a guess of how many rows
        // there will be, and then reads whole tables that it thinks small. Batches name their rows by key: planned once, and held to the
        // indexes, small ones spare the time of planning: at half load the median from bus to watcher fell by a third.
        let planned_anew = options.clone().options([("plan_cache_mode", "force_custom_plan")]);
        let by_index = options.options([("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off")]);
        let pool = pool_of(config.connections).connect_lazy_with(planned_anew.clone());
        let batches = pool_of(BATCH_CONNECTIONS).connect_lazy_with(by_index);
        let beside = pool_of(1).connect_lazy_with(planned_anew);
        let store = Self { base: Base::Postgres { pool, batches, beside }, history_months: config.history_months };
        store.await_server(process).await?;
        process.ready("postgres", Ok(()));
        Ok(store)
    }

    async fn await_server(&self, process: &Process) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + CONNECT_DEADLINE;
        let mut pause = Duration::from_millis(250);
        loop {
            match self.ping().await {
                Ok(()) => return Ok(()),
                Err(error) if fault::is_refusal_of_us(&error) => {
                    return Err(error).context("PostgreSQL at database.url (DATABASE_URL) refuses");
                }
                Err(error) if tokio::time::Instant::now() >= deadline => {
                    return Err(error).context("PostgreSQL at database.url (DATABASE_URL) cannot be reached");
                }
                Err(error) => {
                    process.ready("postgres", Err(error.to_string()));
                    tracing::info!(%error, "waiting for PostgreSQL");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
            }
        }
    }

    /// PostgreSQL, for what a simulation has no need of: what people ask.
    #[cfg_attr(not(feature = "simulation"), expect(clippy::unnecessary_wraps, reason = "a simulation has none"))]
    fn pool(&self) -> sqlx::Result<&PgPool> {
        match &self.base {
            Base::Postgres { pool, .. } => Ok(pool),
            #[cfg(feature = "simulation")]
            Base::Simulated(_) => Err(sqlx::Error::PoolClosed),
        }
    }

    /// Whether PostgreSQL answers.
    pub async fn ping(&self) -> Result<(), sqlx::Error> {
        sqlx::query("select 1").execute(self.pool()?).await.map(drop)
    }

    /// The server, what we may do there, and how far the schema is. Changes nothing.
    pub async fn standing(&self) -> sqlx::Result<Standing> {
        let (version, may_create, schema, clock_ms): (i32, bool, bool, i64) = sqlx::query_as(
            "select current_setting('server_version_num')::int,
                    has_database_privilege(current_database(), 'CREATE'),
                    to_regnamespace('lockstep') is not null,
                    (extract(epoch from clock_timestamp()) * 1000)::bigint",
        )
        .fetch_one(self.pool()?)
        .await?;
        let known: bool = sqlx::query_scalar("select to_regclass('lockstep._sqlx_migrations') is not null")
            .fetch_one(self.pool()?)
            .await?;
        let applied: Vec<i64> = if known {
            sqlx::query_scalar("select version from lockstep._sqlx_migrations where success")
                .fetch_all(self.pool()?)
                .await?
        } else {
            Vec::new()
        };
        let all: Vec<i64> = sqlx::migrate!().iter().map(|migration| migration.version).collect();
        let pending = all.iter().filter(|version| !applied.contains(version)).count();
        let newer = applied.iter().any(|version| !all.contains(version));
        Ok(Standing {
            version: u32::try_from(version).unwrap_or_default(),
            may_create,
            schema,
            pending,
            newer,
            clock_ms,
        })
    }

    /// Brings the schema up to date. Safe to run by many at once.
    pub async fn migrate(&self) -> anyhow::Result<()> {
        #[cfg(feature = "simulation")]
        if let Base::Simulated(_) = self.base {
            return Ok(());
        }
        sqlx::query("create schema if not exists lockstep").execute(self.pool()?).await.or_else(already_there)?;
        let mut pause = Duration::from_millis(250);
        // As long as it takes: whoever starts us may end that.
        while let Err(error) = self.try_to_migrate().await {
            if !is_locked_out(&error) {
                return Err(error).context("bringing the schema `lockstep` up to date");
            }
            tracing::info!("another process uses the tables, or brings the schema up to date: it is waited for");
            tokio::time::sleep(pause.mul_f64(0.5 + runtime::jitter() / 2.0)).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
        match self.maintain_partitions().await {
            Err(error) if fault::is_locked_out(&error) => {
                tracing::info!("the history is being read: its partitions are maintained later");
                Ok(())
            }
            other => other.context("maintaining the history's partitions"),
        }
    }

    async fn try_to_migrate(&self) -> Result<(), MigrateError> {
        // One of its own: a migration of much data takes as long as it takes. But who waits for a table holds up all who come after, be it
        // only for a long reader before; and a connection that goes gives back the lock that all migrations take.
        let mut unhurried = self.pool()?.acquire().await?.detach();
        sqlx::raw_sql("set statement_timeout = 0; set lock_timeout = '3s'").execute(&mut unhurried).await?;
        let migrated = match sqlx::migrate!().run_direct(None, &mut unhurried, false).await {
            Ok(()) => partitions::make_this_months(&mut unhurried).await.map_err(MigrateError::Execute),
            Err(error) => Err(error),
        };
        let closed = unhurried.close().await;
        migrated?;
        Ok(closed?)
    }

    /// A transaction whose statements take as long as they take: it writes very many rows.
    async fn unhurried(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        let mut tx = self.pool()?.begin().await?;
        sqlx::query("set local statement_timeout = 0").execute(&mut *tx).await?;
        Ok(tx)
    }

    /// Notes which life of the observation stream is read. Sequences begin anew in a new stream; were those of the old
    /// one kept, everything in the new would look like a redelivery.
    pub async fn enter_epoch(&self, stream: &str, epoch: &str) -> anyhow::Result<()> {
        #[cfg(feature = "simulation")]
        if let Base::Simulated(client) = &self.base {
            return client.enter_epoch(stream, epoch).await;
        }
        let mut tx = self.unhurried().await?;
        let known: Option<String> = sqlx::query_scalar("select epoch from streams where name = $1 for update")
            .bind(stream)
            .fetch_optional(&mut *tx)
            .await?;
        if known.as_deref() != Some(epoch) {
            sqlx::query("insert into streams values ($1, $2) on conflict (name) do update set epoch = excluded.epoch")
                .bind(stream)
                .bind(epoch)
                .execute(&mut *tx)
                .await?;
            let reset = "update records set seq_critical = 0, seq_high = 0, seq_normal = 0, seq_low = 0, seq_said = 0
                         where (seq_critical, seq_high, seq_normal, seq_low, seq_said) <> (0, 0, 0, 0, 0)";
            let records = sqlx::query(reset).execute(&mut *tx).await?.rows_affected();
            tracing::warn!(stream, epoch, records, "a new stream: sequences begin anew");
        }
        tx.commit().await?;
        Ok(())
    }
}

fn pool_of(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(CONNECT_DEADLINE)
        // A connection is asked whether it still lives only after a pause: else every batch would wait for the answer.
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > UNASKED {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
}

/// Whether a migration waited too long for a lock that others hold.
fn is_locked_out(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else { return false };
    fault::is_locked_out(error)
}

/// `create schema if not exists` may lose a race with itself.
fn already_there(error: sqlx::Error) -> Result<sqlx::postgres::PgQueryResult, sqlx::Error> {
    if fault::is_there_already(&error) { Ok(sqlx::postgres::PgQueryResult::default()) } else { Err(error) }
}

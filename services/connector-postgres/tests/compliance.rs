//! The suite of `crates/connector` over a real PostgreSQL: `LOCKSTEP_TEST_DATABASE_URL` names a server on which databases may
//! be made.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use connector::compliance::{Misbehave, World, check};
use connector::{Registration, Webhook};
use connector_postgres::{Config, Postgres, REGISTRATION, install, install_sql};
use model::{Native, RecordRef};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool};

/// Counts our writes, and gets in their way when told to.
const TASKS: &str = "
CREATE TABLE tasks (id bigint PRIMARY KEY, status text NOT NULL DEFAULT 'todo');
CREATE TABLE writes (id bigint);
CREATE TABLE moods (mood text);
CREATE SEQUENCE failures;
CREATE FUNCTION moody() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('application_name') <> 'lockstep' THEN RETURN NEW; END IF;
    IF EXISTS (SELECT FROM moods WHERE mood = 'refuse') THEN RAISE check_violation USING MESSAGE = 'not today'; END IF;
    -- A sequence counts on though the transaction fails.
    IF EXISTS (SELECT FROM moods WHERE mood = 'fail') AND nextval('failures') = 1 THEN RAISE lock_not_available; END IF;
    INSERT INTO writes VALUES (NEW.id);
    RETURN NEW;
END $$;
CREATE TRIGGER moody BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION moody();
";

struct Database {
    server: PgPool,
    pool: PgPool,
    name: String,
    url: String,
    rows: AtomicU64,
    /// Edits pass the triggers by.
    is_silent: AtomicBool,
}

impl Database {
    async fn start() -> Self {
        let url = std::env::var("LOCKSTEP_TEST_DATABASE_URL");
        let url = url.expect("LOCKSTEP_TEST_DATABASE_URL must name a PostgreSQL server on which databases may be made");
        let server = PgPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
        let name = format!("lockstep_{}", uuid::Uuid::new_v4().simple());
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&server).await.unwrap();
        let options = url.parse::<PgConnectOptions>().unwrap().database(&name);
        let url = sqlx::ConnectOptions::to_url_lossy(&options).to_string();
        let pool = PgPoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
        let database = Self { server, pool, name, url, rows: AtomicU64::new(0), is_silent: AtomicBool::new(false) };
        database.run(TASKS).await;
        let config: Config = serde_json::from_value(database.section()).unwrap();
        assert!(install_sql(&config, None).starts_with("BEGIN;"));
        install(&config, None).await.unwrap();
        database
    }

    async fn run(&self, sql: impl Into<String>) {
        sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(&self.pool).await.unwrap();
    }

    async fn drop(self) {
        self.pool.close().await;
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        sqlx::query(AssertSqlSafe(drop)).execute(&self.server).await.unwrap();
    }
}

fn key(record: &RecordRef) -> i64 {
    record.id().parse().unwrap()
}

impl World for Database {
    type Connector = Postgres;

    fn registration(&self) -> Registration {
        REGISTRATION
    }

    fn section(&self) -> Value {
        let table = json!({"table": "public.tasks", "kind": "task"});
        json!({"url": self.url, "sweep_s": 1, "full_sweep_s": 1, "poll_ms": 20, "tables": [table]})
    }

    fn statuses(&self) -> [Native; 2] {
        ["todo", "done"].map(|native| Native::new(native).unwrap())
    }

    fn can(&self, misbehave: Misbehave) -> bool {
        misbehave != Misbehave::LimitOnce
    }

    async fn make(&self) -> RecordRef {
        let id = 1 + self.rows.fetch_add(1, Ordering::Relaxed);
        self.run(format!("INSERT INTO tasks (id) VALUES ({id})")).await;
        format!("postgres/task/{id}").parse().unwrap()
    }

    async fn edit(&self, record: &RecordRef, native: &Native) {
        let role = if self.is_silent.load(Ordering::Relaxed) { "replica" } else { "origin" };
        let mut transaction = self.pool.begin().await.unwrap();
        let silence = sqlx::query("SELECT set_config('session_replication_role', $1, true)").bind(role);
        silence.execute(&mut *transaction).await.unwrap();
        let update = sqlx::query("UPDATE tasks SET status = $1 WHERE id = $2").bind(native.as_str()).bind(key(record));
        assert_eq!(update.execute(&mut *transaction).await.unwrap().rows_affected(), 1);
        transaction.commit().await.unwrap();
    }

    async fn shows(&self, record: &RecordRef) -> Native {
        let status = sqlx::query_scalar::<_, String>("SELECT status FROM tasks WHERE id = $1").bind(key(record));
        Native::new(status.fetch_one(&self.pool).await.unwrap()).unwrap()
    }

    async fn writes(&self, record: &RecordRef) -> u64 {
        let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM writes WHERE id = $1").bind(key(record));
        u64::try_from(count.fetch_one(&self.pool).await.unwrap()).unwrap()
    }

    async fn webhooks(&self) -> Vec<Webhook> {
        Vec::new()
    }

    async fn misbehave(&self, how: Misbehave) {
        self.run("DELETE FROM moods").await;
        self.is_silent.store(how == Misbehave::TellNothing, Ordering::Relaxed);
        match how {
            Misbehave::No | Misbehave::LimitOnce | Misbehave::TellNothing => {}
            Misbehave::FailOnce => {
                self.run("INSERT INTO moods VALUES ('fail'); SELECT setval('failures', 1, false)").await;
            }
            Misbehave::RefuseWrites => self.run("INSERT INTO moods VALUES ('refuse')").await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connector_complies() {
    let database = Database::start().await;
    check(&database).await;
    database.drop().await;
}

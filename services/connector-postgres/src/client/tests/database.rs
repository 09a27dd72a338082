//! A database of its own for one test.

use runtime::Process;
use runtime::config::Secret;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool};

use super::super::Client;
use crate::config::Config;

/// A new database with a table `tasks`.
pub(super) struct Database {
    server: PgPool,
    pool: PgPool,
    name: String,
    url: String,
}

impl Database {
    pub(super) async fn new() -> Self {
        let url = std::env::var("LOCKSTEP_TEST_DATABASE_URL");
        let url = url.expect("LOCKSTEP_TEST_DATABASE_URL must name a PostgreSQL server on which databases may be made");
        let server = PgPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
        let name = format!("lockstep_{}", uuid::Uuid::new_v4().simple());
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&server).await.unwrap();
        let options: PgConnectOptions = url.parse().unwrap();
        let options = options.database(&name);
        let url = sqlx::ConnectOptions::to_url_lossy(&options).to_string();
        let pool = PgPoolOptions::new().max_connections(8).connect_with(options).await.unwrap();
        let database = Self { server, pool, name, url };
        database
            .run("CREATE TABLE tasks (id bigint PRIMARY KEY, status text NOT NULL DEFAULT 'todo', title text, linear_issue text)")
            .await;
        database
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A client that installs what it needs.
    pub(super) fn client(&self) -> Client {
        let tables =
            "[[tables]]\ntable = \"public.tasks\"\nkind = \"task\"\ntitle = \"title\"\nmentions = [\"linear_issue\"]";
        let mut config: Config = toml::from_str(tables).unwrap();
        config.url = Secret::new(&self.url);
        config.install = true;
        Client::new(config, Process::new("connector-postgres", None)).unwrap()
    }

    /// A person's hand.
    pub(super) async fn run(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.pool).await.unwrap();
    }

    pub(super) async fn drop(self) {
        self.pool.close().await;
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        sqlx::query(AssertSqlSafe(drop)).execute(&self.server).await.unwrap();
    }
}

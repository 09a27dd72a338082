//! A database of one test's own in the PostgreSQL that the run provides.

use anyhow::Context as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool};
use std::net::SocketAddr;
use std::str::FromStr as _;

/// A database that is dropped at the end.
pub struct Database {
    server: String,
    name: String,
    pool: PgPool,
}

impl Database {
    /// Makes one in the run's server.
    pub async fn create() -> anyhow::Result<Self> {
        let server = std::env::var("LOCKSTEP_TEST_DATABASE_URL").context(
            "LOCKSTEP_TEST_DATABASE_URL is not set: it names a PostgreSQL server, as `cargo xtask test` starts one",
        )?;
        Self::create_on(server).await
    }

    /// Makes one in this server.
    pub async fn create_on(server: String) -> anyhow::Result<Self> {
        let name = format!("system_{}", uuid::Uuid::new_v4().simple());
        let admin = PgPoolOptions::new().max_connections(1).connect(&server).await.context("PostgreSQL")?;
        sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&admin).await?;
        admin.close().await;
        let options = PgConnectOptions::from_str(&server)?.database(&name).application_name("a person");
        let pool = PgPoolOptions::new().max_connections(4).connect_with(options).await?;
        Ok(Self { server, name, pool })
    }

    /// Its address, as in a configuration.
    pub fn url(&self) -> anyhow::Result<String> {
        let mut url = reqwest::Url::parse(&self.server).context("LOCKSTEP_TEST_DATABASE_URL")?;
        url.set_path(&self.name);
        Ok(url.into())
    }

    /// The same database by way of another address.
    pub fn url_at(&self, address: SocketAddr) -> anyhow::Result<String> {
        let mut url = reqwest::Url::parse(&self.url()?)?;
        url.set_host(Some(&address.ip().to_string()))?;
        url.set_port(Some(address.port())).ok().context("the address takes no port")?;
        Ok(url.into())
    }

    /// Where its server listens.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        let url = reqwest::Url::parse(&self.server)?;
        let addresses = url.socket_addrs(|| Some(5432)).context("LOCKSTEP_TEST_DATABASE_URL names no address")?;
        addresses.first().copied().context("LOCKSTEP_TEST_DATABASE_URL names no address")
    }

    /// Connections of the test's own.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Drops it, whoever is still connected.
    pub async fn remove(self) -> anyhow::Result<()> {
        self.pool.close().await;
        let admin = PgPoolOptions::new().max_connections(1).connect(&self.server).await?;
        sqlx::query(AssertSqlSafe(format!("drop database {} with (force)", self.name))).execute(&admin).await?;
        admin.close().await;
        Ok(())
    }
}

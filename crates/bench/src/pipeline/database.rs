//! A database of the benchmark's own, and the items in it.

use anyhow::{Context, Result, bail};
use runtime::Secret;
use sqlx::{AssertSqlSafe, PgPool};

/// A database that is made for one run, and dropped after it.
pub struct Database {
    server: PgPool,
    /// Its own address.
    pub url: Secret,
    /// For what the benchmark itself asks.
    pub pool: PgPool,
}

const NAME: &str = "lockstep_bench";

impl Database {
    /// Makes it on the server of this address.
    pub async fn create(url: &str) -> Result<Self> {
        let server = PgPool::connect(url).await.context("PostgreSQL at --database")?;
        sqlx::query(AssertSqlSafe(format!("drop database if exists {NAME} with (force)"))).execute(&server).await?;
        sqlx::query(AssertSqlSafe(format!("create database {NAME}"))).execute(&server).await?;
        let own = beside(url, NAME).context("--database must be postgres://user:password@host:port/database")?;
        let pool = PgPool::connect(&own).await?;
        Ok(Self { server, url: Secret::new(own), pool })
    }

    /// Drops it.
    pub async fn drop(&self) -> Result<()> {
        self.pool.close().await;
        sqlx::query(AssertSqlSafe(format!("drop database {NAME} with (force)"))).execute(&self.server).await?;
        Ok(())
    }

    /// Adds the items from one number up to another, for the store and for the baseline, as if each had been seen once and that had
    /// been told by a resolver that ran before.
    pub async fn seed(&self, from: usize, to: usize) -> Result<()> {
        sqlx::query("insert into lockstep.lives (life, published) values ('seed', 1) on conflict do nothing")
            .execute(&self.pool)
            .await?;
        for statement in [ITEMS, RECORDS, STATE] {
            let seed = sqlx::query(statement).bind(i64::try_from(from)?).bind(i64::try_from(to)?);
            seed.execute(&self.pool).await?;
        }
        for table in ["lockstep.items", "lockstep.records", "minimal.state"] {
            sqlx::query(AssertSqlSafe(format!("vacuum analyze {table}"))).execute(&self.pool).await?;
        }
        Ok(())
    }

    /// Refuses a result that came of events which were not persisted.
    pub async fn check(&self, events: usize) -> Result<()> {
        let rows: i64 = sqlx::query_scalar("select count(*) from lockstep.history").fetch_one(&self.pool).await?;
        if rows != i64::try_from(events)? {
            bail!("{events} events were seen, and the history has {rows}");
        }
        Ok(())
    }
}

/// The address of another database of the same server.
fn beside(url: &str, name: &str) -> Option<String> {
    let (address, query) = url.split_once('?').map_or((url, None), |(address, query)| (address, Some(query)));
    let (scheme, rest) = address.split_once("://")?;
    let place = rest.split('/').next()?;
    Some(format!("{scheme}://{place}/{name}{}", query.map(|query| format!("?{query}")).unwrap_or_default()))
}

const ITEMS: &str = "
insert into lockstep.items (id, lifecycle, title, status, status_since, version, changed_by, last_open, made_by, made_in)
select md5('item' || number)::uuid, 'work', 'Task number ' || number, 'todo', now(), 1, 'postgres/task/' || number, 'todo',
       'seed', 1
from generate_series($1::bigint, $2::bigint - 1) as number";

const RECORDS: &str = "
insert into lockstep.records (system, kind, id, item, native, position, agreed, watched, taken_at, position_at)
select 'postgres', 'task', number::text, md5('item' || number)::uuid, 'todo', 1, 1, true, now(), now()
from generate_series($1::bigint, $2::bigint - 1) as number";

const STATE: &str = "
insert into minimal.state (record, status, version, at)
select 'postgres/task/' || number, 'todo', 1, now() from generate_series($1::bigint, $2::bigint - 1) as number";

#[cfg(test)]
mod tests {
    use super::beside;

    #[test]
    fn another_database_of_the_same_server_keeps_who_and_where() {
        let cases = [
            ("postgres://me:secret@host:1/lockstep", "postgres://me:secret@host:1/x"),
            ("postgres://host", "postgres://host/x"),
            ("postgres://host/a?sslmode=disable", "postgres://host/x?sslmode=disable"),
        ];
        for (url, expected) in cases {
            assert_eq!(beside(url, "x").as_deref(), Some(expected));
        }
        assert_eq!(beside("host", "x"), None);
    }
}

//! The tracked table: tasks that name the Linear issue they are about, and a count of the updates each has seen.

use std::collections::BTreeMap;

use sqlx::PgPool;

/// The table `public.tasks`.
#[derive(Clone)]
pub struct Tasks {
    pool: PgPool,
}

const MAKE: [&str; 4] = [
    "create table tasks (id text primary key, title text not null, status text not null, issue text)",
    "create table task_updates (id text not null, status text not null)",
    // Counts every update that writes a status, whoever makes it, and whether or not it changes anything.
    "create function count_update() returns trigger language plpgsql as $$
     begin insert into task_updates values (new.id, new.status); return null; end $$",
    "create trigger count_update after update of status on tasks for each row execute function count_update()",
];

impl Tasks {
    /// Makes the table.
    pub async fn create(pool: &PgPool) -> anyhow::Result<Self> {
        for statement in MAKE {
            sqlx::query(statement).execute(pool).await?;
        }
        Ok(Self { pool: pool.clone() })
    }

    /// Adds a task.
    pub async fn add(&self, id: &str, status: &str, issue: &str) -> anyhow::Result<()> {
        sqlx::query("insert into tasks values ($1, $2, $3, $4)")
            .bind(id)
            .bind(format!("Task {id}"))
            .bind(status)
            .bind(issue)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// What a person types into psql.
    pub async fn update(&self, id: &str, status: &str) -> anyhow::Result<()> {
        let done =
            sqlx::query("update tasks set status = $2 where id = $1").bind(id).bind(status).execute(&self.pool).await?;
        anyhow::ensure!(done.rows_affected() == 1, "there is no task {id}");
        Ok(())
    }

    /// The status of one.
    pub async fn status(&self, id: &str) -> anyhow::Result<String> {
        Ok(sqlx::query_scalar("select status from tasks where id = $1").bind(id).fetch_one(&self.pool).await?)
    }

    /// The status of each.
    pub async fn statuses(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let rows: Vec<(String, String)> = sqlx::query_as("select id, status from tasks").fetch_all(&self.pool).await?;
        Ok(rows.into_iter().collect())
    }

    /// How often each was updated, by anyone.
    pub async fn updates(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("select id, count(*) from task_updates group by id").fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|(id, count)| (id, u64::try_from(count).unwrap_or(0))).collect())
    }

    /// How many entries of the outbox have not been passed on; none before it is installed.
    pub async fn waiting(&self) -> anyhow::Result<i64> {
        let installed: Option<String> =
            sqlx::query_scalar("select to_regclass('lockstep_outbox.entries')::text").fetch_one(&self.pool).await?;
        if installed.is_none() {
            return Ok(0);
        }
        Ok(sqlx::query_scalar("select count(*) from lockstep_outbox.entries").fetch_one(&self.pool).await?)
    }
}

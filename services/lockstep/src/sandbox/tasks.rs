//! The demo's table: somebody's own tasks, tied to the demo's issues by two columns.

use std::time::Duration;

use anyhow::Context;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// One statement, so that a table is either there with its rows or not at all.
const SEED: &str = "
do $$
begin
    if to_regclass('public.tasks') is null then
        create table public.tasks (
            id text primary key,
            title text not null,
            status text not null,
            linear_issue text,
            github_ref text
        );
        insert into public.tasks values
            ('T-1', 'Keep the return address at login', 'todo', 'ENG-1', 'acme/web#1'),
            ('T-2', 'Search long queries quickly', 'todo', 'ENG-2', 'acme/web#2'),
            ('T-3', 'Export the heading to CSV', 'todo', 'ENG-3', 'acme/web#4'),
            ('T-4', 'Settings by user', 'todo', 'ENG-4', null);
    end if;
end
$$";

/// Makes and fills `public.tasks` where it is missing.
pub async fn seed(database: &str) -> anyhow::Result<()> {
    let seeding = async {
        let mut connection = PgConnection::connect(database).await.context("the database cannot be reached")?;
        sqlx::raw_sql(SEED).execute(&mut connection).await.context("public.tasks cannot be made")?;
        connection.close().await.context("the database broke off")
    };
    timeout(PATIENCE, seeding).await.context("the database does not answer")?
}

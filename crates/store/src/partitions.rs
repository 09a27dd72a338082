//! History by month: a partition for this month and the next, and none older than is kept; nor conflicts that ended before.

use sqlx::{Connection as _, PgConnection};
use time::{Date, Month, OffsetDateTime};

use crate::Store;

impl Store {
    /// Makes the partitions that will be needed, and drops those of months that ended more than `history_months` ago. Waits some seconds
    /// for who reads the history, and is an error then: meanwhile all who write it wait as well. It can be done later.
    pub async fn maintain_partitions(&self) -> sqlx::Result<()> {
        let this = this_month();
        let mut tx = self.pool()?.begin().await?;
        sqlx::query("set local lock_timeout = '3s'").execute(&mut *tx).await?;
        lock(&mut tx).await?;
        for month in [this, following(this)] {
            make(&mut tx, month).await?;
        }
        let oldest = (self.history_months > 0).then(|| {
            (0..self.history_months).fold(this, |first, _| first_of_month(first.previous_day().unwrap_or(first)))
        });
        if let Some(oldest) = oldest {
            drop_before(&mut tx, oldest).await?;
        }
        tx.commit().await?;
        if let Some(oldest) = oldest {
            self.forget_before(oldest).await?;
        }
        Ok(())
    }

    /// Forgets what is older and in no month's partition: lines that came before there was one, and conflicts.
    async fn forget_before(&self, oldest: Date) -> sqlx::Result<()> {
        // A few at a time, so that nobody waits for long.
        for forget in [
            "delete from history_default where ctid = any(array(
                 select ctid from history_default where recorded_at < $1 limit 10000))",
            "delete from conflicts where id = any(array(
                 select id from conflicts where resolved_at < $1
                   and not exists (select from items where held = conflicts.id) limit 10000))",
        ] {
            let oldest = oldest.midnight().assume_utc();
            while sqlx::query(forget).bind(oldest).execute(self.pool()?).await?.rows_affected() > 0 {}
        }
        Ok(())
    }
}

/// Makes this month's partition: what is written before there is one keeps it from being made later.
pub(crate) async fn make_this_months(connection: &mut PgConnection) -> sqlx::Result<()> {
    let mut tx = connection.begin().await?;
    lock(&mut tx).await?;
    make(&mut tx, this_month()).await?;
    tx.commit().await
}

/// One at a time, whoever it is: two processes that start together would both create.
async fn lock(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtext('lockstep.history'))").execute(connection).await.map(drop)
}

async fn make(connection: &mut PgConnection, month: Date) -> sqlx::Result<()> {
    let name = name(month);
    let exists: bool = sqlx::query_scalar("select to_regclass('lockstep.' || $1) is not null")
        .bind(&name)
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        // Names and dates are our own: nothing from outside is in this text.
        let (from, to) = (month, following(month));
        let create = format!("create table {name} partition of history for values from ('{from}') to ('{to}')");
        sqlx::query(sqlx::AssertSqlSafe(create)).execute(connection).await?;
    }
    Ok(())
}

async fn drop_before(connection: &mut PgConnection, oldest: Date) -> sqlx::Result<()> {
    let names: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_inherits join pg_class on oid = inhrelid
         where inhparent = 'lockstep.history'::regclass and relname like 'history\\_2%' and relname < $1",
    )
    .bind(name(oldest))
    .fetch_all(&mut *connection)
    .await?;
    for name in names {
        tracing::info!(partition = name, "history older than database.history_months is dropped");
        sqlx::query(sqlx::AssertSqlSafe(format!("drop table {name}"))).execute(&mut *connection).await?;
    }
    Ok(())
}

fn name(month: Date) -> String {
    format!("history_{}_{:02}", month.year(), u8::from(month.month()))
}

fn this_month() -> Date {
    first_of_month(OffsetDateTime::now_utc().date())
}

fn first_of_month(date: Date) -> Date {
    date.replace_day(1).unwrap_or(date)
}

fn following(first: Date) -> Date {
    let year = if first.month() == Month::December { first.year() + 1 } else { first.year() };
    Date::from_calendar_date(year, first.month().next(), 1).unwrap_or(first)
}

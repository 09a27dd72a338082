//! A mark that stands in PostgreSQL and on the bus, to notice that one of them was brought back from an old copy; and what else is noted
//! of the sweeps that begin anew.

use crate::Store;

/// The mark as it stands in PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// When it was made, in milliseconds since 1970.
    pub at: i64,
    /// What the bus had then. So it still has, where the process died before it was told of the new one; afterwards the same as `at`.
    pub before: Option<i64>,
}

impl Store {
    /// The mark; `None` where none was made yet, or all is lost.
    pub async fn mark(&self) -> sqlx::Result<Option<Mark>> {
        let known: Option<(i64, Option<i64>)> =
            sqlx::query_as("select at, before from mark").fetch_optional(self.pool()?).await?;
        Ok(known.map(|(at, before)| Mark { at, before }))
    }

    /// Makes a new mark in place of the one that was `known`; `false` when another process made one meanwhile.
    pub async fn set_mark(&self, known: Option<Mark>, mark: Mark) -> sqlx::Result<bool> {
        let done = sqlx::query(
            "insert into mark (at, before) values ($1, $2)
             on conflict (one) do update set at = excluded.at, before = excluded.before where mark.at = $3",
        )
        .bind(mark.at)
        .bind(mark.before)
        .bind(known.map(|known| known.at))
        .execute(self.pool()?)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// What statuses meant when this was last noted; `None` where it never was.
    pub async fn meaning(&self) -> sqlx::Result<Option<String>> {
        sqlx::query_scalar("select meaning from anew").fetch_one(self.pool()?).await
    }

    /// Notes what statuses mean now.
    pub async fn set_meaning(&self, meaning: &str) -> sqlx::Result<()> {
        sqlx::query("update anew set meaning = $1").bind(meaning).execute(self.pool()?).await.map(drop)
    }

    /// When all systems are to be swept anew once more, in milliseconds since 1970; `None` where they are not.
    pub async fn sweep_again_at(&self) -> sqlx::Result<Option<i64>> {
        sqlx::query_scalar("select again_at from anew").fetch_one(self.pool()?).await
    }

    /// Notes that it is at `at`, or later where a later time was noted before.
    pub async fn sweep_again_from(&self, at: i64) -> sqlx::Result<()> {
        let noted = sqlx::query("update anew set again_at = greatest(again_at, $1)").bind(at);
        noted.execute(self.pool()?).await.map(drop)
    }

    /// Puts it off to `at`, where it is to be done before that.
    pub async fn put_off_sweep_again(&self, at: i64) -> sqlx::Result<()> {
        let put_off = sqlx::query("update anew set again_at = $1 where again_at < $1").bind(at);
        put_off.execute(self.pool()?).await.map(drop)
    }

    /// Notes that it was done which was to be done then. Another time that was noted meanwhile stays.
    pub async fn swept_again(&self, at: i64) -> sqlx::Result<()> {
        let done = sqlx::query("update anew set again_at = null where again_at = $1").bind(at);
        done.execute(self.pool()?).await.map(drop)
    }

    /// Counts no command as on its way any more: nobody knows which of them are. That they were sent still matters, they may yet be
    /// carried out. Of how many records that was so.
    pub async fn void_commands(&self) -> sqlx::Result<u64> {
        // In one order, as batches take them.
        let voided = sqlx::query(
            "with pending as (
                 select id from items
                 where id in (select item from records where sent is not null) order by id for update
             )
             update records set resent = 0,
                 sent = (select jsonb_agg(jsonb_set(one, '{version}', '0')) from jsonb_array_elements(sent) as one)
             where sent is not null and item in (select id from pending)",
        );
        let mut tx = self.unhurried().await?;
        let records = voided.execute(&mut *tx).await?.rows_affected();
        tx.commit().await?;
        Ok(records)
    }
}

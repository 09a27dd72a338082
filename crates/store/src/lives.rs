//! What the lives of resolver processes published: while one lasts, all that was committed in it is published in its order.

use std::collections::HashMap;

use sqlx::PgPool;

use crate::row::{signed, unsigned};
use crate::{Base, Store};

/// Who made a version of an item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maker {
    /// The life of a resolver process; empty where an older release did not say.
    pub life: String,
    /// Which of its batches, counted from 1.
    pub batch: u64,
}

impl Store {
    /// Notes that of this life everything up to this batch is published. Waits for no batch's connection.
    pub async fn note_published(&self, published: &Maker) -> sqlx::Result<()> {
        match &self.base {
            Base::Postgres { beside, .. } => note(beside, published).await,
            #[cfg(feature = "simulation")]
            Base::Simulated(client) => client.note_published(published).await,
        }
    }

    /// Up to which batch of these lives everything is known to be published. Waits for no batch's connection.
    pub async fn published(&self, lives: &[String]) -> sqlx::Result<HashMap<String, u64>> {
        match &self.base {
            Base::Postgres { beside, .. } => published(beside, lives).await,
            #[cfg(feature = "simulation")]
            Base::Simulated(client) => client.published(lives).await,
        }
    }

    /// Forgets lives of which nothing was noted for a month. Whoever meets one of their items asks the bus.
    pub async fn forget_lives(&self) -> anyhow::Result<()> {
        sqlx::query("delete from lives where noted_at < now() - interval '30 days'").execute(self.pool()?).await?;
        Ok(())
    }
}

async fn note(pool: &PgPool, published: &Maker) -> sqlx::Result<()> {
    sqlx::query(
        "insert into lives (life, published) values ($1, $2)
         on conflict (life) do update set published = greatest(lives.published, excluded.published), noted_at = now()",
    )
    .bind(&published.life)
    .bind(signed(published.batch))
    .execute(pool)
    .await?;
    Ok(())
}

async fn published(pool: &PgPool, lives: &[String]) -> sqlx::Result<HashMap<String, u64>> {
    let known: Vec<(String, i64)> =
        sqlx::query_as("select life, published from lives where life = any($1)").bind(lives).fetch_all(pool).await?;
    Ok(known.into_iter().map(|(life, batch)| (life, unsigned(batch))).collect())
}

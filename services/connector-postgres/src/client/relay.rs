//! Passes the outbox on to the bus.

use std::future::Future;
use std::time::Duration;

use connector::{Failure, Sink};
use model::{Backoff, Observation};
use runtime::Metrics;
use sqlx::{AssertSqlSafe, Postgres, Transaction};
use tokio::time::Instant;

use super::{Client, rows};
use crate::config::Table;
use crate::decode::{self, Entry};
use crate::encode;

/// The waits between looks at a table that cannot be used.
const LOOKS: Backoff = Backoff { first_ms: 1_000, max_ms: 30_000, attempts: u32::MAX };

/// How often it is counted what waits.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// How far.
const WAITING_MAX: i64 = 10_000;

/// The labels of the gauge of what waits.
const LABELS: [&str; 1] = ["postgres"];

/// The gauge of what waits, for as long as this process counts: afterwards another may, and an old number would pass for the one of now.
struct Shown<'a>(&'a Metrics);

impl Shown<'_> {
    fn forget(&self) {
        // An error means that it is gone already.
        let _ = self.0.outbox_waiting.remove_label_values(&LABELS);
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.forget();
    }
}

/// Where entries are passed on to. What it answers `Ok` to is stored.
pub(crate) trait Publish: Sync {
    /// Publishes in this order, and waits until all are stored.
    fn publish(&self, observations: Vec<Observation>) -> impl Future<Output = Result<(), Failure>> + Send;
}

impl Publish for Sink {
    async fn publish(&self, observations: Vec<Observation>) -> Result<(), Failure> {
        self.observe_all(observations).await
    }
}

impl Client {
    /// Passes entries on for as long as all goes well.
    pub(crate) async fn watch(&self, sink: &impl Publish) -> Result<(), Failure> {
        if self.config.tables.is_empty() {
            std::future::pending::<()>().await;
        }
        // Beside it: while the bus takes nothing, passing on is what does not come to an end.
        tokio::select! {
            ended = self.pass_all_on(sink) => ended,
            never = self.count_over_and_over() => never,
        }
    }

    async fn pass_all_on(&self, sink: &impl Publish) -> Result<(), Failure> {
        let (mut looks, mut next_look) = (0_u32, Instant::now());
        loop {
            if self.config.tables.iter().any(|table| !self.is_usable(table)) && Instant::now() >= next_look {
                self.look_at_all().await;
                looks = looks.saturating_add(1);
                next_look = Instant::now() + LOOKS.wait(looks, None, runtime::jitter());
            }
            // Without one usable table nobody knows whether there is an outbox.
            if self.usable().is_empty() || self.pass_on(sink).await? == 0 {
                tokio::time::sleep(Duration::from_millis(self.config.poll_ms)).await;
            }
        }
    }

    /// Never ends. What cannot be counted is not shown, and counted the next time; readiness says why.
    pub(super) async fn count_over_and_over(&self) -> ! {
        let shown = Shown(self.process.metrics());
        loop {
            if self.usable().is_empty() || self.count_waiting().await.is_err() {
                shown.forget();
            }
            tokio::time::sleep(COUNT_EVERY).await;
        }
    }

    /// Counts what waits in the outbox, for the metrics.
    pub(super) async fn count_waiting(&self) -> Result<(), Failure> {
        let count = sqlx::query_scalar::<_, i64>(AssertSqlSafe(encode::count_waiting(&self.config.schema)));
        let count = self.settle("outbox", count.bind(WAITING_MAX).fetch_one(self.pool()).await)?;
        self.process.metrics().outbox_waiting.with_label_values(&LABELS).set(count);
        Ok(())
    }

    fn is_usable(&self, table: &Table) -> bool {
        self.usable().contains_key(table.kind.as_str())
    }

    /// Readiness tells what stands in the way of those that cannot be used.
    async fn look_at_all(&self) {
        for table in &self.config.tables {
            let _ = self.statements(table).await;
        }
    }

    /// Publishes the oldest entries and forgets them: how many.
    ///
    /// They are deleted in a transaction that commits only once JetStream has stored what they tell. A crash between the
    /// two publishes them again, with the same ids.
    pub(super) async fn pass_on(&self, sink: &impl Publish) -> Result<usize, Failure> {
        let waiting = sqlx::query_scalar::<_, bool>(AssertSqlSafe(encode::waiting(&self.config.schema)));
        if !self.settle("outbox", waiting.fetch_one(self.pool()).await)? {
            return Ok(0);
        }
        let Some((transaction, entries)) = self.settle("outbox", self.claim().await)? else { return Ok(0) };
        let observations = entries.iter().filter_map(|entry| self.observation(entry)).collect::<Vec<_>>();
        if !observations.is_empty() {
            sink.publish(observations).await?;
        }
        self.settle("outbox", transaction.commit().await)?;
        Ok(entries.len())
    }

    /// The oldest entries, held until the transaction ends; `None` while another relay works.
    async fn claim(&self) -> Result<Option<(Transaction<'static, Postgres>, Vec<Entry>)>, sqlx::Error> {
        let mut transaction = self.pool().begin().await?;
        // Claims of two relays could overtake each other on the way to the bus, and a row's older status arrive last.
        let alone =
            sqlx::query_scalar::<_, bool>("SELECT pg_try_advisory_xact_lock(hashtext('lockstep relay'), hashtext($1))");
        if !alone.bind(self.config.schema.as_str()).fetch_one(&mut *transaction).await? {
            transaction.rollback().await?;
            return Ok(None);
        }
        let claim = sqlx::query(AssertSqlSafe(encode::claim(&self.config.schema))).bind(i64::from(self.config.batch));
        let claimed = claim.fetch_all(&mut *transaction).await?;
        let mut entries = claimed.iter().map(rows::entry).collect::<Result<Vec<_>, _>>()?;
        // An entry's id is given under the lock of its row, so this is also the order of each row's versions.
        entries.sort_unstable_by_key(|entry| entry.id);
        Ok(Some((transaction, entries)))
    }

    fn observation(&self, entry: &Entry) -> Option<Observation> {
        let table = self.config.table(&entry.kind);
        let observation = table.ok_or("unknown_kind").and_then(|table| decode::entry(table, entry));
        match observation {
            Ok(observation) => Some(observation),
            Err(why @ ("no_status" | "is_back")) => {
                tracing::debug!(kind = entry.kind, why, "an entry of the outbox tells nothing");
                None
            }
            // Somebody's edit that cannot be told further: a person must mend the row, and then the trigger tells again.
            Err(why) => {
                tracing::warn!(kind = entry.kind, key = entry.key, why, "an edit of a tracked row cannot be told");
                None
            }
        }
    }
}

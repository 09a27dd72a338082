//! The baseline: one loop from JetStream into two tables.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::{self, AckKind, stream};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use proto::v1;
use sqlx::PgPool;
use tokio::task::JoinHandle;

use super::database::Database;
use super::seen::Seen;
use super::trial::Target;

/// The loop, while it runs.
pub struct Minimal {
    context: jetstream::Context,
    target: Target,
    task: JoinHandle<Result<()>>,
}

const STREAM: &str = "MINIMAL";
const BATCH: usize = 500;

/// A message that was read.
struct Read {
    record: String,
    status: String,
    at_ms: i64,
    id: String,
    sequence: u64,
}

impl Minimal {
    /// Makes its stream and tables, and starts it.
    pub async fn start(url: &str, database: &Database) -> Result<Self> {
        let client = async_nats::connect(url).await?;
        let context = jetstream::new(client);
        let config =
            stream::Config { name: STREAM.into(), subjects: vec!["minimal.>".into()], ..stream::Config::default() };
        let consumer = pull::Config {
            durable_name: Some("minimal".into()),
            ack_policy: AckPolicy::All,
            max_ack_pending: 5_000,
            ..pull::Config::default()
        };
        let stream = context.create_stream(config).await?;
        let consumer = stream.create_consumer(consumer).await?;
        for statement in TABLES {
            sqlx::query(*statement).execute(&database.pool).await?;
        }
        let seen = Seen::new();
        let task = tokio::spawn(carry(consumer, database.pool.clone(), seen.clone()));
        Ok(Self { context, target: Target { prefix: "minimal.", seen }, task })
    }

    /// Where it takes messages, and what it carried.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Ends it, and removes its stream.
    pub async fn stop(self) -> Result<()> {
        self.task.abort();
        match self.task.await {
            Err(error) if error.is_cancelled() => {}
            Err(error) => bail!("the baseline's loop panicked: {error}"),
            Ok(ended) => ended.context("the baseline's loop ended")?,
        }
        self.context.delete_stream(STREAM).await?;
        Ok(())
    }
}

async fn carry(consumer: PullConsumer, pool: PgPool, seen: Seen) -> Result<()> {
    let messages = consumer.stream().max_messages_per_batch(1_000).expires(Duration::from_secs(30)).messages();
    let mut messages = messages.await?;
    while let Some(first) = messages.next().await {
        let mut last = first?;
        let mut batch = vec![read(&last)?];
        // What is there, without waiting for more.
        while batch.len() < BATCH {
            let Some(Some(message)) = tokio::task::unconstrained(messages.next()).now_or_never() else { break };
            last = message?;
            batch.push(read(&last)?);
        }
        write(&pool, &batch).await?;
        last.ack_with(AckKind::Ack).await.map_err(|error| anyhow::anyhow!("{error}"))?;
        seen.note(&batch.iter().map(|message| message.sequence).collect::<Vec<_>>());
    }
    bail!("the baseline's messages ended")
}

fn read(message: &jetstream::Message) -> Result<Read> {
    let sequence = message.info().map_err(|error| anyhow::anyhow!("{error}"))?.stream_sequence;
    let payload: &Bytes = &message.payload;
    let observation: v1::Observation = proto::decode(None, payload)?;
    let v1::Observation { record, native, occurred_at, id, .. } = observation;
    Ok(Read { record, status: native, at_ms: occurred_at, id, sequence })
}

async fn write(pool: &PgPool, batch: &[Read]) -> Result<()> {
    // One statement cannot update a row twice: the last of a batch counts.
    let newest: HashMap<&str, &Read> = batch.iter().map(|message| (message.record.as_str(), message)).collect();
    let mut tx = pool.begin().await?;
    sqlx::query(STATE)
        .bind(newest.keys().copied().collect::<Vec<_>>())
        .bind(newest.values().map(|message| message.status.as_str()).collect::<Vec<_>>())
        .bind(newest.values().map(|message| message.at_ms).collect::<Vec<_>>())
        .execute(&mut *tx)
        .await?;
    sqlx::query(HISTORY)
        .bind(batch.iter().map(|message| message.record.as_str()).collect::<Vec<_>>())
        .bind(batch.iter().map(|message| message.status.as_str()).collect::<Vec<_>>())
        .bind(batch.iter().map(|message| message.at_ms).collect::<Vec<_>>())
        .bind(batch.iter().map(|message| message.id.as_str()).collect::<Vec<_>>())
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

const TABLES: &[&str] = &[
    "create schema minimal",
    "create table minimal.state (
         record text primary key, status text not null, version bigint not null, at timestamptz not null
     ) with (fillfactor = 80)",
    "create table minimal.history (
         number bigint generated always as identity primary key,
         record text not null, status text not null, at timestamptz not null, message text not null
     )",
];

const STATE: &str = "
insert into minimal.state (record, status, version, at)
select record, status, 1, to_timestamp(at_ms / 1000.0)
from unnest($1::text[], $2::text[], $3::bigint[]) as new (record, status, at_ms)
on conflict (record) do update set
    status = excluded.status, version = state.version + 1, at = excluded.at";

const HISTORY: &str = "
insert into minimal.history (record, status, at, message)
select record, status, to_timestamp(at_ms / 1000.0), message
from unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) as new (record, status, at_ms, message)";

//! `kill -9` at random moments.

use rand::Rng as _;
use system_tests::fleet::SERVICES;

use crate::round::{Ground, rounds};

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_one_of_each_service() -> anyhow::Result<()> {
    rounds("kill -9 of one of each service", Ground::default(), async |parts| {
        for service in SERVICES {
            let which = parts.random.random_range(0..2);
            parts.fleet.of(service)[which].kill().await?;
            parts.a_while(100..1_500).await;
            parts.fleet.of(service)[which].start()?;
            parts.a_while(0..300).await;
        }
        parts.fleet.ready().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_all_services_at_once() -> anyhow::Result<()> {
    rounds("kill -9 of all services at once", Ground::default(), async |parts| {
        for member in &mut parts.fleet.members {
            member.kill().await?;
        }
        parts.a_while(200..1_000).await;
        for member in &mut parts.fleet.members {
            member.start()?;
        }
        parts.fleet.ready().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_nats() -> anyhow::Result<()> {
    rounds("kill -9 of NATS", Ground::default(), async |parts| {
        for _ in 0..2 {
            parts.nats.kill();
            parts.a_while(200..2_000).await;
            parts.nats.restart()?;
            parts.a_while(500..2_000).await;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_postgresql() -> anyhow::Result<()> {
    rounds("kill -9 of PostgreSQL", Ground { own_postgres: true, ..Ground::default() }, async |parts| {
        for _ in 0..2 {
            if let Some(postgres) = parts.postgres.as_deref_mut() {
                postgres.kill()?;
            }
            parts.a_while(200..2_000).await;
            if let Some(postgres) = parts.postgres.as_deref_mut() {
                postgres.restart().await?;
            }
            parts.a_while(500..2_000).await;
        }
        Ok(())
    })
    .await
}

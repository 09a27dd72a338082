//! `kill -9` of the whole process: what was acknowledged is not lost, and everything agrees afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use system_tests::edits::{Edits, Order, history};
use system_tests::face::Face;
use system_tests::settings::credentials;
use system_tests::signature::signature;
use system_tests::{DEADLINE, Settings, eventually, with_world};

const PIECES: usize = 40;
const EDITS: usize = 1_000;
/// It is killed at the end of each but the last.
const LIVES: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_amid_a_thousand_edits_everything_agrees_and_every_edit_is_in_the_history() -> anyhow::Result<()> {
    let settings = Settings { pieces: PIECES, ..Settings::default() };
    with_world(settings, async |world| {
        let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
        eprintln!("SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut edits = Edits::default();
        for life in 1..=LIVES {
            while edits.count() < EDITS * life / LIVES {
                edits.make(&world.people(), &mut random).await?;
            }
            if life < LIVES {
                world.lockstep.kill().await?;
                // Edits go on while nobody listens; the webhooks of these are lost.
                for _ in 0..EDITS / 20 {
                    edits.make(&world.people(), &mut random).await?;
                }
                world.lockstep.start().await?;
            }
        }
        let edited = Instant::now();
        world.agrees(DEADLINE * 2).await?;
        eprintln!("{} edits; everything agreed {:.1} s after the last", edits.count(), edited.elapsed().as_secs_f64());
        edits.check(world, Order::AsMade).await
    })
    .await
}

/// Publishes statuses of new records until the address goes away; answers what was acknowledged.
async fn publish_until_gone(face: Face, lane: usize) -> Vec<(i64, String)> {
    let mut acknowledged = Vec::new();
    for number in 0..100_000 {
        let batch: Vec<_> =
            (0..5).map(|place| (format!("acme/job/{lane}-{number}-{place}"), "in_progress".to_owned())).collect();
        match face.publish(&batch).await {
            Ok(accepted) => acknowledged.extend(accepted.into_iter().map(|one| (one.sequence, one.record))),
            Err(_) => break,
        }
    }
    acknowledged
}

/// Sends webhooks of new issues, like one that Linear sent, until the address goes away; answers the acknowledged ids.
async fn send_until_gone(face: Face, like: Value) -> anyhow::Result<BTreeSet<String>> {
    let mut acknowledged = BTreeSet::new();
    for number in 0..100_000 {
        let (id, delivery) = (uuid::Uuid::new_v4().to_string(), uuid::Uuid::new_v4().to_string());
        let mut body = like.clone();
        body["data"]["id"] = id.as_str().into();
        body["data"]["identifier"] = format!("ENG-{}", 10_000 + number).into();
        body["webhookTimestamp"] = now_ms()?.into();
        let body = body.to_string().into_bytes();
        let signed = signature(credentials::LINEAR_SECRET, &body)?;
        let headers = [
            ("content-type", "application/json"),
            ("linear-event", "Issue"),
            ("linear-delivery", delivery.as_str()),
            ("linear-signature", signed.as_str()),
        ];
        match face.webhook("linear", &headers, body).await {
            Ok(status) if status.is_success() => acknowledged.insert(id),
            Ok(status) => anyhow::bail!("a webhook was answered with {status}"),
            Err(_) => break,
        };
    }
    Ok(acknowledged)
}

/// Now, in milliseconds since 1970.
pub fn now_ms() -> anyhow::Result<u64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(u64::try_from(now.as_millis())?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ingest_answered_with_2xx_is_in_the_history_even_if_the_process_dies_at_once() -> anyhow::Result<()> {
    let settings = Settings { pieces: 1, ..Settings::default() };
    with_world(settings, async |world| {
        world.linear.move_issue("ENG-1", "In Progress")?;
        world.agrees(DEADLINE).await?;
        let sent = world.linear.webhooks().deliveries();
        let like = sent.iter().find(|sent| sent.event == "Issue").context("Linear sent no webhook")?.body.clone();
        let publishers = [0, 1].map(|lane| tokio::spawn(publish_until_gone(world.face.clone(), lane)));
        let sender = tokio::spawn(send_until_gone(world.face.clone(), like));
        // Killed at any moment: what matters is that requests are under way.
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(300..900))).await;
        world.lockstep.kill().await?;
        let mut statuses = Vec::new();
        for publisher in publishers {
            statuses.extend(publisher.await?);
        }
        let webhooks = sender.await??;
        eprintln!("acknowledged before the end: {} statuses, {} webhooks", statuses.len(), webhooks.len());
        ensure!(!statuses.is_empty() && !webhooks.is_empty(), "nothing was acknowledged before the end");
        world.lockstep.start().await?;
        eventually(DEADLINE, "all that was acknowledged is in the history", async || {
            let rows = history(world.database.pool()).await?;
            let told: BTreeSet<(i64, &str)> =
                rows.iter().map(|row| (row.cause_sequence, row.record.as_str())).collect();
            let issues: BTreeSet<&str> =
                rows.iter().filter_map(|row| row.record.strip_prefix("linear/issue/")).collect();
            let lost =
                statuses.iter().filter(|(sequence, record)| !told.contains(&(*sequence, record.as_str()))).count();
            let deaf = webhooks.iter().filter(|id| !issues.contains(id.as_str())).count();
            ensure!(lost + deaf == 0, "{lost} statuses and {deaf} webhooks are not in it");
            Ok(Some(()))
        })
        .await?;
        let rows = history(world.database.pool()).await?;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.record.starts_with("acme/job/")) {
            *counts.entry(row.record.as_str()).or_default() += 1;
        }
        let doubled: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
        ensure!(doubled.is_empty(), "told more than once: {doubled:?}");
        Ok(())
    })
    .await
}

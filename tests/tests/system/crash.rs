//! `kill -9` of the whole process: what was acknowledged is not lost, and everything agrees afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use sqlx::PgPool;
use system_tests::face::Face;
use system_tests::oracle::{self, REPO};
use system_tests::settings::credentials;
use system_tests::signature::signature;
use system_tests::{DEADLINE, Settings, World, eventually, with_world};

/// The last two end the work. A record that nobody can write does not open it again, so a job gets none of those: what it
/// showed next would be noted and change nothing, and ending it once more would be no news.
const STATUSES: [&str; 6] = ["backlog", "todo", "in_progress", "in_review", "done", "canceled"];
const PIECES: usize = 40;
const EDITS: usize = 1_000;
const JOBS: usize = 40;
/// It is killed at the end of each but the last.
const LIVES: usize = 3;

/// A row of history, as far as it is judged.
#[derive(Debug, sqlx::FromRow)]
struct Row {
    record: String,
    kind: String,
    native: String,
    cause_sequence: i64,
}

/// All history, in the order of the stream.
async fn history(pool: &PgPool) -> anyhow::Result<Vec<Row>> {
    let query = "select record, kind, native, cause_sequence from lockstep.history order by cause_sequence, ordinal";
    Ok(sqlx::query_as(query).fetch_all(pool).await?)
}

/// Rows by record, without those that tell of ties: a tie is not an edit.
fn by_record(rows: Vec<Row>) -> BTreeMap<String, Vec<Row>> {
    let mut all: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in rows.into_iter().filter(|row| row.kind != "linked" && row.kind != "unlinked") {
        all.entry(row.record.clone()).or_default().push(row);
    }
    all
}

/// Another status than the last one.
fn next(random: &mut StdRng, among: &[&'static str], last: &str) -> &'static str {
    let others: Vec<&str> = among.iter().copied().filter(|status| *status != last).collect();
    others.choose(random).copied().unwrap_or("todo")
}

/// Every edit that was made, by record and in order.
#[derive(Default)]
struct Edits {
    /// By id of the task: an UPDATE is an edit from its commit on.
    tasks: BTreeMap<String, Vec<&'static str>>,
    /// By record, each with its place on the stream: a status is an edit once it was answered with 202.
    jobs: BTreeMap<String, Vec<(i64, &'static str)>>,
    /// By key: Linear may be read only after the next edit has been made.
    linear: BTreeMap<String, Vec<&'static str>>,
    /// By number, in GitHub's words: GitHub as well.
    github: BTreeMap<u64, Vec<&'static str>>,
}

impl Edits {
    fn count(&self) -> usize {
        let jobs: usize = self.jobs.values().map(Vec::len).sum();
        let github: usize = self.github.values().map(Vec::len).sum();
        jobs + github + [&self.tasks, &self.linear].into_iter().flat_map(BTreeMap::values).map(Vec::len).sum::<usize>()
    }
}

/// One edit, in any system or through the status API. A status that was not accepted is no edit.
async fn edit(world: &World, random: &mut StdRng, edits: &mut Edits) -> anyhow::Result<()> {
    // Each piece is edited in one system only: where two edit one item, an edit may be no news.
    let place = random.random_range(0..PIECES);
    let piece = &world.pieces[place];
    match (random.random_range(0..10), place % 4) {
        (0..7, 0 | 1) => {
            let made = edits.tasks.entry(piece.task.clone()).or_default();
            let status = next(random, &STATUSES, made.last().copied().unwrap_or("todo"));
            world.tasks.update(&piece.task, status).await?;
            made.push(status);
        }
        (0..7, 2) => {
            let made = edits.linear.entry(piece.key.clone()).or_default();
            let status = next(random, &STATUSES, made.last().copied().unwrap_or("todo"));
            world.linear.move_issue(&piece.key, oracle::linear(status).unwrap_or("Todo"))?;
            made.push(status);
        }
        (0..7, _) => {
            let made = edits.github.entry(piece.issue).or_default();
            if made.last().is_some_and(|last| *last != "open") {
                world.github.reopen_issue(REPO, piece.issue)?;
                made.push("open");
            } else {
                let native = *["closed/completed", "closed/not_planned"].choose(random).unwrap_or(&"closed/completed");
                world.github.close_issue(REPO, piece.issue, native.trim_start_matches("closed/"))?;
                made.push(native);
            }
        }
        _ => {
            let record = format!("acme/job/{}", random.random_range(0..JOBS));
            let made = edits.jobs.entry(record.clone()).or_default();
            let status = next(random, &STATUSES[..4], made.last().map_or("", |(_, status)| status));
            if let Ok(accepted) = world.face.publish(&[(record, status.to_owned())]).await {
                made.extend(accepted.first().map(|accepted| (accepted.sequence, status)));
            }
        }
    }
    Ok(())
}

/// Each edit of the table and of the status API is in the history, in order and once. Linear and GitHub say what they show,
/// not what they showed: of a record's edits the last is in the history, and none that nobody made.
fn check(edits: &Edits, world: &World, rows: &BTreeMap<String, Vec<Row>>) -> anyhow::Result<()> {
    let none = Vec::new();
    let told =
        |record: &str| rows.get(record).unwrap_or(&none).iter().map(|row| row.native.as_str()).collect::<Vec<_>>();
    for (task, made) in &edits.tasks {
        // The first row is the task as it was found.
        let told = told(&format!("postgres/task/{task}"));
        ensure!(told.get(1..) == Some(&made[..]), "{task}: made {made:?}, told {told:?}");
    }
    for (record, made) in &edits.jobs {
        // One whose answer was lost with the process may be there as well: nobody was told that it was not taken.
        let told: Vec<_> =
            rows.get(record).unwrap_or(&none).iter().map(|row| (row.cause_sequence, row.native.as_str())).collect();
        let lost: Vec<_> = made.iter().filter(|edit| !told.contains(edit)).collect();
        ensure!(lost.is_empty(), "{record}: lost {lost:?}; acknowledged {made:?}, told {told:?}");
        ensure!(told.len() <= made.len() + 1, "{record}: acknowledged {made:?}, told {told:?}");
    }
    let took = |record: &str| -> Vec<&str> {
        let rows = rows.get(record).unwrap_or(&none).iter().filter(|row| row.kind == "changed");
        rows.map(|row| row.native.as_str()).collect()
    };
    for (key, made) in &edits.linear {
        let took = took(&format!("linear/issue/{}", world.linear.issue(key)?.id));
        let made: Vec<&str> = made.iter().filter_map(|status| oracle::linear(status)).collect();
        let took = took.get(1..).unwrap_or_default();
        ensure!(is_within(took, &made), "{key}: made {made:?}, took {took:?}");
        ensure!(took.last() == made.last(), "{key}: made {made:?}, took {took:?}");
    }
    for (number, made) in &edits.github {
        // Two edits may share a second, which is all that GitHub says of their order.
        let took = took(&format!("github/issue/{REPO}#{number}"));
        ensure!(
            took.iter().all(|native| *native == "open" || made.contains(native)),
            "#{number}: made {made:?}, took {took:?}"
        );
        ensure!(took.last() == made.last(), "#{number}: made {made:?}, took {took:?}");
    }
    Ok(())
}

/// Whether all of `part` come in `whole`, in that order.
fn is_within(part: &[&str], whole: &[&str]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|wanted| whole.any(|one| one == wanted))
}

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
                edit(world, &mut random, &mut edits).await?;
            }
            if life < LIVES {
                world.lockstep.kill().await?;
                // Edits go on while nobody listens; the webhooks of these are lost.
                for _ in 0..EDITS / 20 {
                    edit(world, &mut random, &mut edits).await?;
                }
                world.lockstep.start().await?;
            }
        }
        let edited = Instant::now();
        world.agrees(DEADLINE * 2).await?;
        eprintln!("{} edits; everything agreed {:.1} s after the last", edits.count(), edited.elapsed().as_secs_f64());
        for (task, made) in &edits.tasks {
            let status = world.tasks.status(task).await?;
            ensure!(made.last().copied() == Some(&status), "{task} is {status}, and was last set to {:?}", made.last());
        }
        check(&edits, world, &by_record(history(world.database.pool()).await?))
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

fn now_ms() -> anyhow::Result<u64> {
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

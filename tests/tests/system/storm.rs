//! Webhooks that are lost, doubled, late and out of order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use sandbox::faults::Faults;
use system_tests::edits::standing;
use system_tests::eventually::eventually;
use system_tests::oracle::{self, REPO};
use system_tests::{DEADLINE, Settings, World, with_world};

const THIRD: f64 = 1.0 / 3.0;
const PIECES: usize = 12;
const EDITS: usize = 72;
const SWEEP_S: u64 = 4;

/// Who edits a piece of work: where only one system does, the last edit must win.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Editor {
    Linear,
    Github,
    Table,
    Anyone,
}

const STATUSES: [&str; 6] = ["backlog", "todo", "in_progress", "in_review", "done", "canceled"];

fn editor(place: usize) -> Editor {
    [Editor::Linear, Editor::Github, Editor::Table, Editor::Anyone][place % 4]
}

/// One edit by a person; answers the statuses that the item may have after it, if nobody edits it again.
async fn edit(world: &World, place: usize, random: &mut StdRng) -> anyhow::Result<Vec<&'static str>> {
    let piece = &world.pieces[place];
    let status = *STATUSES.choose(random).unwrap_or(&"todo");
    let by = match editor(place) {
        Editor::Anyone => *[Editor::Linear, Editor::Github, Editor::Table].choose(random).unwrap_or(&Editor::Table),
        one => one,
    };
    match by {
        Editor::Linear => {
            world.linear.move_issue(&piece.key, system_tests::oracle::linear(status).unwrap_or("Todo"))?;
            Ok(vec![status])
        }
        Editor::Github => {
            let open = world.github.issue(REPO, piece.issue)?["state"] == "open";
            let completed = random.random::<bool>();
            if !open {
                world.github.reopen_issue(REPO, piece.issue)?;
                return Ok(vec!["backlog", "todo", "in_progress", "blocked", "in_review"]);
            }
            let (reason, status) = if completed { ("completed", "done") } else { ("not_planned", "canceled") };
            world.github.close_issue(REPO, piece.issue, reason)?;
            Ok(vec![status])
        }
        Editor::Table | Editor::Anyone => {
            world.tasks.update(&piece.task, status).await?;
            Ok(vec![status])
        }
    }
}

/// The second in which a piece's issue on GitHub last changed.
fn updated_at(world: &World, place: usize) -> anyhow::Result<serde_json::Value> {
    Ok(world.github.issue(REPO, world.pieces[place].issue)?["updated_at"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_third_of_the_webhooks_lost_doubled_late_and_out_of_order_one_sweep_makes_everything_agree()
-> anyhow::Result<()> {
    let settings = Settings { sweep_s: SWEEP_S, pieces: PIECES, ..Settings::default() };
    with_world(settings, async |world| {
        let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
        eprintln!("SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        for faults in [world.linear.faults(), world.github.faults()] {
            faults.set(Faults {
                webhook_drop: THIRD,
                webhook_double: THIRD,
                webhook_reorder: THIRD,
                webhook_delay_ms_max: 500,
                seed: random.random(),
                ..Faults::default()
            });
        }
        let before = standing(world).await?;
        let (mut last, mut edits, mut doubtful) = (BTreeMap::new(), [0; PIECES], [0; PIECES]);
        for _ in 0..EDITS {
            let place = random.random_range(0..PIECES);
            let shown = updated_at(world, place)?;
            last.insert(place, edit(world, place, &mut random).await?);
            edits[place] += 1;
            // Of edits within one of GitHub's seconds nobody can tell which webhook is the older one: an edit may be heard again.
            let on_github = matches!(editor(place), Editor::Github | Editor::Anyone);
            doubtful[place] += u64::from(on_github && shown == updated_at(world, place)?);
            // People do not wait for each other, and nobody edits a thousand times in one instant.
            tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
        }
        let edited = Instant::now();
        // The sweep that was due, the one after it for what was edited in its second, and what both lead to.
        world.agrees(DEADLINE).await?;
        eprintln!(
            "everything agreed {:.1} s after the last edit, sweeps being {SWEEP_S} s apart",
            edited.elapsed().as_secs_f64()
        );
        let counted = [world.linear.webhooks(), world.github.webhooks()].map(|webhooks| {
            let all = webhooks.deliveries();
            let dropped = all.iter().filter(|one| one.outcome == sandbox::webhooks::Outcome::Dropped).count();
            (all.len(), dropped)
        });
        eprintln!("webhooks and those lost: Linear {:?}, GitHub {:?}", counted[0], counted[1]);
        let edits = edits.into_iter().zip(doubtful);
        for ((piece, (edits, doubtful)), (before, after)) in
            world.pieces.iter().zip(edits).zip(before.iter().zip(standing(world).await?))
        {
            let (changes, writes) = (after.version - before.version, after.writes - before.writes);
            let key = &piece.key;
            if changes > edits + doubtful {
                let observed = oracle::observed(world, piece).await?;
                bail!("{key} changed {changes} times, and was edited {edits} times; observed:\n{observed}");
            }
            // Three records, each told of each change at most once, but that a closed issue is opened and closed to have another
            // reason; the table counts people's updates with ours.
            ensure!(writes <= 4 * changes + edits, "{key} changed {changes} times, and was written {writes} times");
        }
        for (place, possible) in last {
            if editor(place) == Editor::Anyone {
                continue;
            }
            let key = &world.pieces[place].key;
            // A webhook that GitHub was asked for again may bring back an edit of the same second, until the next sweep.
            let counts = eventually(DEADLINE, "the last edit counts", async || {
                let item = world.face.item(key).await?.unwrap_or_default();
                let status = item["status"].as_str().unwrap_or_default();
                ensure!(possible.contains(&status), "{key} is {status}; its last edit says {possible:?}");
                Ok(Some(()))
            });
            if let Err(error) = counts.await {
                let observed = oracle::observed(world, &world.pieces[place]).await?;
                bail!("{key} is edited by {:?} alone: {error:#}; observed:\n{observed}", editor(place));
            }
        }
        Ok(())
    })
    .await
}

//! Servers and systems that go away and come back, under edits.

use std::time::Instant;

use anyhow::bail;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use sandbox::faults::Faults;
use system_tests::{DEADLINE, Settings, World, oracle, with_world};

const STATUSES: [&str; 6] = ["backlog", "todo", "in_progress", "in_review", "done", "canceled"];
const PIECES: usize = 10;

fn random() -> StdRng {
    let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Edits pieces, each in one system only: even ones in the table, odd ones in Linear. The last status of each.
async fn edit(world: &World, random: &mut StdRng, count: usize, last: &mut [&'static str]) -> anyhow::Result<()> {
    for _ in 0..count {
        let place = random.random_range(0..PIECES);
        let piece = &world.pieces[place];
        let status = *STATUSES.choose(random).unwrap_or(&"todo");
        if place % 2 == 0 {
            world.tasks.update(&piece.task, status).await?;
        } else {
            world.linear.move_issue(&piece.key, oracle::linear(status).unwrap_or("Todo"))?;
        }
        last[place] = status;
    }
    Ok(())
}

async fn ends_as_edited(world: &World, last: &[&str]) -> anyhow::Result<()> {
    let edited = Instant::now();
    world.agrees(DEADLINE * 2).await?;
    eprintln!("everything agreed {:.1} s after the last edit", edited.elapsed().as_secs_f64());
    for (piece, last) in world.pieces.iter().zip(last) {
        let item = world.face.item(&piece.key).await?.unwrap_or_default();
        if item["status"] != *last {
            let observed = oracle::observed(world, piece).await?;
            bail!("{} is {}, and was last set to {last}; observed:\n{observed}", piece.key, item["status"]);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_nats_amid_edits_loses_none() -> anyhow::Result<()> {
    with_world(Settings { pieces: PIECES, sweep_s: 5, ..Settings::default() }, async |world| {
        let (mut random, mut last) = (random(), ["todo"; PIECES]);
        edit(world, &mut random, 40, &mut last).await?;
        world.nats.kill();
        edit(world, &mut random, 40, &mut last).await?;
        world.nats.restart()?;
        edit(world, &mut random, 40, &mut last).await?;
        ends_as_edited(world, &last).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn systems_that_answer_with_errors_are_told_in_the_end() -> anyhow::Result<()> {
    with_world(Settings { pieces: PIECES, sweep_s: 5, ..Settings::default() }, async |world| {
        let (mut random, mut last) = (random(), ["todo"; PIECES]);
        let faults = Faults { error_5xx: 0.2, slow_ms: 20, seed: random.random(), ..Faults::default() };
        world.linear.faults().set(faults.clone());
        world.github.faults().set(faults);
        edit(world, &mut random, 60, &mut last).await?;
        ends_as_edited(world, &last).await
    })
    .await
}

//! One round of a fault: people edit while it happens, and afterwards everything agrees and no edit is lost.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bus::testing::Server;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use system_tests::edits::{Edits, Order, standing};
use system_tests::face::Face;
use system_tests::fleet::Fleet;
use system_tests::postgres::Postgres;
use system_tests::{DEADLINE, Settings, World};
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

/// How long everything may take to agree after a fault: leases and connections expire first.
const RECOVERED: Duration = Duration::from_secs(90);
const PIECES: usize = 12;
/// People do not wait for each other, and nobody edits a thousand times in one instant.
const PAUSE_MS: std::ops::Range<u64> = 5..50;

/// What a round stands on.
#[derive(Default)]
pub struct Ground {
    /// A PostgreSQL of its own.
    pub own_postgres: bool,
    /// Where JetStream keeps its data.
    pub disk: Option<PathBuf>,
}

/// What a fault may touch.
pub struct Parts<'a> {
    pub fleet: &'a mut Fleet,
    pub nats: &'a mut Server,
    pub postgres: Option<&'a mut Postgres>,
    pub face: &'a Face,
    pub random: &'a mut StdRng,
}

impl Parts<'_> {
    /// Lets people edit for a while, which differs from round to round.
    pub async fn a_while(&mut self, ms: std::ops::Range<u64>) {
        tokio::time::sleep(Duration::from_millis(self.random.random_range(ms))).await;
    }
}

/// Whoever has it has the machine: each test runs a whole Lockstep twice.
static TURN: Mutex<()> = Mutex::const_new(());

/// Waits until no other test of this process runs.
pub async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// Lets a fault happen in a world of its own, as many rounds as are asked for. What it broke, the fault mends before it ends.
pub async fn rounds(
    name: &str,
    ground: Ground,
    mut fault: impl AsyncFnMut(&mut Parts<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let _turn = turn().await;
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    for round in 0..number("LOCKSTEP_FAULTS").unwrap_or(1) {
        let seed = number("SEED").map_or_else(rand::random, |seed| seed + round);
        eprintln!("{name}: SEED={seed}");
        let settings =
            Settings { pieces: PIECES, sweep_s: 3, own_postgres: ground.own_postgres, ..Settings::default() };
        let nats = match &ground.disk {
            Some(disk) => Server::start_in(disk.join(round.to_string()))?,
            None => Server::start()?,
        };
        let world = World::make_on(nats, &settings).await?;
        let said = one(name, world, StdRng::seed_from_u64(seed), &mut fault).await;
        eprintln!("{}", said.with_context(|| format!("{name}: SEED={seed}"))?);
    }
    Ok(())
}

async fn one(
    name: &str,
    mut world: World,
    mut random: StdRng,
    fault: &mut impl AsyncFnMut(&mut Parts<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let mut fleet = Fleet::start(&mut world).await?;
    let outcome = judged(name, &mut world, &mut fleet, &mut random, fault).await;
    if outcome.is_err() {
        let why =
            system_tests::oracle::explained(&world).await.unwrap_or_else(|error| format!("cannot be told: {error:#}"));
        eprintln!("--- what was observed of what does not agree ---\n{why}");
        eprintln!("--- what the services said ---\n{}\n--- end ---", fleet.said().0);
    }
    let stopped = if outcome.is_ok() { fleet.stop().await } else { Ok(()) };
    let (_, panicked) = fleet.said();
    drop(fleet);
    world.database.remove().await?;
    let line = outcome?;
    stopped?;
    ensure!(!panicked, "a task panicked");
    Ok(line)
}

async fn judged(
    name: &str,
    world: &mut World,
    fleet: &mut Fleet,
    random: &mut StdRng,
    fault: &mut impl AsyncFnMut(&mut Parts<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    world.agrees(DEADLINE * 2).await.context("at the start")?;
    let before = standing(world).await?;
    let mut edits = Edits::default();
    let mut theirs = StdRng::seed_from_u64(random.random());
    let over = CancellationToken::new();
    let mended;
    {
        let World { pieces, tasks, linear, github, face, nats, postgres, .. } = &mut *world;
        let people = system_tests::edits::People { pieces, tasks, linear, github, face };
        let editing = async {
            while !over.is_cancelled() {
                edits.make(&people, &mut theirs).await?;
                tokio::time::sleep(Duration::from_millis(theirs.random_range(PAUSE_MS))).await;
            }
            anyhow::Ok(())
        };
        let mut parts = Parts { fleet, nats, postgres: postgres.as_mut(), face, random };
        let breaking = async {
            parts.a_while(300..1_500).await;
            let ended = fault(&mut parts).await;
            let mended = Instant::now();
            over.cancel();
            ended.map(|()| mended)
        };
        let (edited, ended) = tokio::join!(editing, breaking);
        mended = ended.context("the fault itself")?;
        edited.context("the people")?;
    }
    world.agrees(RECOVERED).await?;
    let recovered = mended.elapsed();
    edits.check(world, Order::Any).await?;
    let doubled = edits.doubled(world, &before).await?;
    // A write whose maker was ended before it was told of it is looked for before it is made again.
    ensure!(doubled == 0, "{doubled} writes more than there may be");
    Ok(format!(
        "fault: {name}: edits {}, refused {}, lost 0, doubled writes {doubled}, recovered in {:.1} s",
        edits.count(),
        edits.refused(),
        recovered.as_secs_f64()
    ))
}

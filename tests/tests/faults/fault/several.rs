//! Two of each share the work, keep the order, and take over from each other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use async_nats::jetstream;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use system_tests::fleet::Fleet;
use system_tests::proxy::Weather;
use system_tests::watcher::Watcher;
use system_tests::{DEADLINE, Settings, World, eventually};

use crate::round::turn;

/// The groups whose partitions are divided, and the service whose processes do that.
const GROUPS: [(&str, &str); 4] = [
    ("observations", "resolver"),
    ("commands/linear", "connector-linear"),
    ("commands/github", "connector-github"),
    ("commands/postgres", "connector-postgres"),
];
/// As many as `nats.partitions` by default.
const PARTITIONS: usize = 2;

/// Which process holds each partition of a group.
async fn holders(leases: &jetstream::kv::Store, group: &str) -> anyhow::Result<BTreeMap<usize, u32>> {
    let mut holders = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let Some(holder) = leases.get(format!("{group}/{partition}")).await? else { continue };
        // `<host>-<pid>-<random>/…`
        let instance = String::from_utf8(holder.to_vec())?;
        let instance = instance.split('/').next().unwrap_or_default();
        holders.insert(partition, instance.rsplit('-').nth(1).context("an instance without a pid")?.parse()?);
    }
    Ok(holders)
}

async fn leases(world: &World) -> anyhow::Result<jetstream::kv::Store> {
    let client = async_nats::connect(world.nats.url()).await?;
    Ok(jetstream::new(client).get_key_value("LEASES").await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_each_hold_one_partition_each_and_the_survivor_takes_both() -> anyhow::Result<()> {
    let _turn = turn().await;
    let mut world = World::make(&Settings::default()).await?;
    let mut fleet = Fleet::start(&mut world).await?;
    world.agrees(DEADLINE).await?;
    let leases = leases(&world).await?;
    for (group, service) in GROUPS {
        let mut both: Vec<u32> = fleet.of(service).iter().filter_map(|member| member.id()).collect();
        both.sort_unstable();
        eventually(DEADLINE, &format!("{group}: each holds one partition"), async || {
            let mut holding: Vec<u32> = holders(&leases, group).await?.into_values().collect();
            holding.sort_unstable();
            Ok((holding == both).then_some(()))
        })
        .await?;
    }
    for (group, service) in GROUPS {
        let mut members = fleet.of(service);
        let survivor = members[1].id().context("it does not run")?;
        members[0].kill().await?;
        let killed = Instant::now();
        eventually(DEADLINE, &format!("{group}: the survivor holds all"), async || {
            let holding = holders(&leases, group).await?;
            Ok((holding.len() == PARTITIONS && holding.values().all(|holder| *holder == survivor)).then_some(()))
        })
        .await?;
        eprintln!("fault: kill -9 of one of two {service}: its share moved in {:.1} s", killed.elapsed().as_secs_f64());
    }
    world.linear.move_issue("ENG-1", "In Progress")?;
    world.agrees(DEADLINE).await?;
    drop(fleet);
    world.database.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_hear_versions_in_order_though_two_resolvers_share_items() -> anyhow::Result<()> {
    let _turn = turn().await;
    let mut world = World::make(&Settings { pieces: 4, sweep_s: 3, ..Settings::default() }).await?;
    let mut fleet = Fleet::start(&mut world).await?;
    world.agrees(DEADLINE).await?;
    let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let watcher = Watcher::join(world.face.told()).await?;
    // What one resolver publishes comes half a second after its commit; the other has committed and published more by then.
    fleet.of("resolver")[0].nats.set(Weather::Late(Duration::from_millis(500)));
    for _ in 0..80 {
        let piece = world.pieces.choose(&mut random).context("there are pieces")?;
        let status = *["todo", "in_progress", "in_review"].choose(&mut random).unwrap_or(&"todo");
        if random.random() {
            world.tasks.update(&piece.task, status).await?;
        } else {
            world.linear.move_issue(&piece.key, system_tests::oracle::linear(status).unwrap_or("Todo"))?;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(20..120))).await;
    }
    fleet.of("resolver")[0].nats.set(Weather::Fair);
    world.agrees(DEADLINE * 2).await?;
    let mut heard = 0;
    for piece in &world.pieces {
        let versions = watcher.versions(&piece.key);
        heard += versions.len();
        let item = world.face.item(&piece.key).await?.unwrap_or_default();
        ensure!(versions.last().copied() == item["version"].as_u64(), "{}: {versions:?}, and is {item}", piece.key);
        ensure!(versions.windows(2).all(|two| two[0] + 1 == two[1]), "{} was heard to take {versions:?}", piece.key);
    }
    eprintln!("fault: one resolver half a second behind the other: {heard} changes heard once each, in order");
    drop(fleet);
    world.database.remove().await
}

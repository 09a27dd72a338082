//! A sweep that is interrupted.

use serde_json::{Value, json};

use super::*;

/// A first sweep has read its first page, and does not get the second.
async fn interrupted(failure: Failure) -> World {
    let fake = Fake::default();
    fake.page(&[("one", "open")], Some("second"), None);
    fake.fail_behind_pages(Some(failure));
    let mut world = world(fake).await;
    assert_eq!(world.observation().await.1.native, "open");
    tokio::time::timeout(DEADLINE, world.fake.failed()).await.unwrap();
    world
}

/// Another process goes on where the world's stops.
async fn restarted(mut world: World) -> World {
    world.process.shutdown().cancel();
    world.process.finished(DEADLINE).await.unwrap();
    world.process = Process::new("connector-fake", None);
    let config = bus::Config { partitions: 1, ..world.server.config() };
    world.bus = Bus::connect(&config, &world.process).await.unwrap();
    let (successor, bus) = (world.fake.successor(), world.bus.clone());
    world.fake = connector::run(successor, settings(3), world.process.clone(), bus).await.unwrap();
    world
}

async fn stored(world: &World, name: &str, right: impl Fn(&Value) -> bool) -> Value {
    let stored = async {
        loop {
            let stored = world.bus.cursor(name).await.unwrap().filter(|stored| !stored.is_empty());
            match stored.map(|stored| serde_json::from_slice(&stored).unwrap()).filter(&right) {
                Some(stored) => return stored,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(DEADLINE, stored).await.expect("so stored in time")
}

/// Where the first page that was asked for after so many begins.
async fn asked_after(world: &World, count: usize) -> Option<String> {
    tokio::time::timeout(DEADLINE, world.fake.asked(count + 1)).await.unwrap();
    world.fake.sweeps()[count].1.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_was_interrupted_goes_on_from_its_place_in_another_process() {
    let world = restarted(interrupted(Failure::unavailable("503")).await).await;
    world.fake.page(&[("two", "open")], None, Some("noon"));
    world.fake.fail_behind_pages(None);
    stored(&world, "sweep/fake", |cursor| cursor == "noon").await;
    let asked = world.fake.sweeps();
    let to_noon: Vec<_> = asked.iter().take_while(|(cursor, _)| cursor.is_none()).collect();
    assert!(to_noon[0].1.is_none() && to_noon[1..].iter().all(|(_, next)| next.is_some()), "{asked:?}");
    let furthest = |stand: &Value| stand["furthest"].as_object().is_some_and(|furthest| furthest.len() == 2);
    // What its first page showed of where the system stands is known as well.
    stored(&world, "stand/fake", furthest).await;
    let ended = to_noon.len();
    assert_eq!(asked_after(&world, ended).await, None, "the next one begins at its first page");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_the_system_does_not_take_is_forgotten() {
    let world = interrupted(Failure::refused("malformed", "no such page")).await;
    let asked = async {
        for count in 1.. {
            world.fake.asked(count).await;
            if world.fake.sweeps().iter().skip_while(|(_, next)| next.is_none()).any(|(_, next)| next.is_none()) {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, asked).await.expect("a sweep from its first page");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_wants_all_to_be_read_anew_voids_the_place() {
    let world = interrupted(Failure::refused("unauthorized", "the token has ended")).await;
    let place = stored(&world, "place/fake", |_| true).await;
    world.process.shutdown().cancel();
    world.process.finished(DEADLINE).await.unwrap();
    let bus = Bus::connect(&bus::Config { partitions: 1, ..world.server.config() }, &Process::new("else", None)).await;
    bus.unwrap().begin_sweeps_anew().await.unwrap();
    let so_far = world.fake.sweeps().len();
    let world = restarted(world).await;
    assert_eq!(asked_after(&world, so_far).await, None, "and not from {place}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_of_long_ago_is_not_gone_on_from() {
    let world = interrupted(Failure::refused("unauthorized", "the token has ended")).await;
    let mut place = stored(&world, "place/fake", |_| true).await;
    world.process.shutdown().cancel();
    world.process.finished(DEADLINE).await.unwrap();
    let process = Process::new("else", None);
    let bus = Bus::connect(&bus::Config { partitions: 1, ..world.server.config() }, &process).await.unwrap();
    place["at_ms"] = json!(process.now_ms() - 7 * 60 * 60 * 1_000);
    bus.store_cursor("place/fake", place.to_string().into()).await.unwrap();
    let so_far = world.fake.sweeps().len();
    let world = restarted(world).await;
    assert_eq!(asked_after(&world, so_far).await, None);
}

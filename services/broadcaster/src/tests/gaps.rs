//! What the bus has thrown away before it could be told: nobody goes on over it as if there had been nothing.

use bus::testing::Server;
use bus::{Bus, Stream};
use runtime::Process;

use super::*;

/// What comes of going on from a position: `None` when all that was missed is told, else the reason.
async fn reset(running: &Running, rooms: &[&str], position: &Value) -> Option<Value> {
    let mut client = Client::to(running).await;
    client.say(json!({"type": "subscribe", "rooms": rooms, "position": position})).await;
    let resumed = client.hear().await["resumed"] == true;
    if resumed { None } else { Some(client.hear_of("reset").await["reason"].clone()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcaster_that_has_just_started_knows_what_is_not_there_any_more() {
    let (world, first) = world(|_| ()).await;
    let mut client = Client::to(&first).await;
    client.subscribe(&["all"]).await;
    for stream in [Stream::Changes, Stream::Live] {
        let mut positions = Vec::new();
        for version in 1..=3 {
            match stream {
                Stream::Changes => world.announce(1, version).await,
                _ => {
                    world
                        .tell("agent_state", "a", json!({"agent": "a", "status": "idle", "task": version.to_string()}))
                        .await;
                }
            }
            positions.push(client.hear().await["position"].clone());
        }
        world.bus.purge(stream).await.unwrap();
        let second = world.start(|_| ()).await.unwrap();
        assert_eq!(reset(&second, &["all"], &positions[1]).await, Some("too_old".into()), "{stream:?}");
        assert_eq!(reset(&second, &["all"], &positions[2]).await, None, "{stream:?}: it had read all that is gone");
        assert_eq!(reset(&first, &["all"], &positions[0]).await, None, "{stream:?}: the first one remembers it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_place_in_telemetry_does_not_grow_old_while_only_measurements_come_or_none() {
    let (world, running) = world(|config| config.metrics_wait_ms = 1).await;
    let metric = |number: u64| json!({"name": "m", "value": number, "unit": "ms", "category": "latency"});
    let mut client = Client::to(&running).await;
    client.subscribe(&["performance_metrics", "agent_states"]).await;
    for measured in [true, false] {
        let mut position = Value::Null;
        for number in 0..3 {
            if measured {
                world.tell("performance_metric", "m", metric(number)).await;
            } else {
                world.tell("agent_state", "a", json!({"agent": "a", "status": "idle"})).await;
            }
            position = client.hear().await["position"].clone();
        }
        world.bus.purge(Stream::Live).await.unwrap();
        let second = world.start(|_| ()).await.unwrap();
        assert_eq!(reset(&second, &["all", "performance_metrics"], &position).await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcaster_that_was_cut_off_knows_what_it_could_not_read() {
    let (mut world, running) = world(|_| ()).await;
    let mut client = Client::to(&running).await;
    client.subscribe(&["all"]).await;
    world.announce_all(1, 1..=3).await;
    let mut position = Value::Null;
    for _ in 1..=3 {
        position = client.hear().await["position"].clone();
    }
    world.nats.kill();
    {
        // The same server, where the broadcaster does not reach it.
        let elsewhere = Server::start_in(world.nats.data().to_owned()).unwrap();
        let bus = Bus::connect(&elsewhere.config(), &Process::new("elsewhere", None)).await.unwrap();
        bus.publish_all((4..=6).map(|version| World::change(1, version)).collect()).await.unwrap();
        bus.purge(Stream::Changes).await.unwrap();
    }
    world.nats.restart().unwrap();
    world.announce(1, 7).await;
    let change = client.hear_of("status_changed").await;
    assert_eq!(change["version"], 7);
    assert_eq!(reset(&running, &["all"], &position).await, Some("too_old".into()));
    assert_eq!(reset(&running, &["all"], &change["position"]).await, None);
}

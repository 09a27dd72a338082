//! Going on from a position, here or at another broadcaster, through restarts of the bus.

use super::*;
use crate::position::{Feed, Place, Position};

async fn subscribe(client: &mut Client, rooms: &[&str], position: &str) -> Value {
    client.say(json!({"type": "subscribe", "rooms": rooms, "position": position})).await;
    client.hear_of("subscribed").await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_gets_exactly_what_it_missed_from_any_broadcaster() {
    let (world, first) = world(|_| ()).await;
    world.announce_all(2, 1..=10).await;
    let mut client = Client::to(&first).await;
    client.subscribe(&["all"]).await;
    world.announce_all(1, 1..=5).await;
    let mut position = String::new();
    for version in 1..=3 {
        let change = client.hear().await;
        assert_eq!(change["version"], version);
        change["position"].as_str().unwrap().clone_into(&mut position);
    }
    drop(client);
    world.announce_all(1, 6..=8).await;
    world.tell("agent_state", "a", json!({"agent": "a", "status": "idle"})).await;
    // One that was there all the time, and one that has just come.
    let second = world.start(|_| ()).await.unwrap();
    for running in [&first, &second] {
        let mut client = Client::to(running).await;
        assert_eq!(subscribe(&mut client, &["all"], &position).await["resumed"], true);
        let mut told = Vec::new();
        for _ in 4..=9 {
            told.push(client.hear().await);
        }
        let versions: Vec<u64> = told.iter().filter_map(|message| message["version"].as_u64()).collect();
        assert_eq!(versions, [4, 5, 6, 7, 8]);
        assert_eq!(told.iter().filter(|message| message["type"] == "agent_state").count(), 1);
        client.hears_nothing().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_is_too_old_gets_a_reset_and_a_fresh_snapshot() {
    let (world, running) = world(|config| config.history_max = 10).await;
    world.rows.commit(1, 50);
    let mut client = Client::to(&running).await;
    client.subscribe(&["all"]).await;
    world.announce(1, 51).await;
    let old = client.hear().await["position"].as_str().unwrap().to_owned();
    world.announce_all(1, 52..=80).await;
    while client.hear().await["version"] != 80 {}
    world.rows.commit(1, 80);
    let mut again = Client::to(&running).await;
    assert_eq!(subscribe(&mut again, &["all"], &old).await["resumed"], false);
    assert_eq!(again.hear().await, json!({"type": "reset", "rooms": ["all"], "reason": "too_old"}));
    assert_eq!(again.hear().await["items"][0]["version"], 80);
    world.announce(1, 81).await;
    assert_eq!(again.hear().await["version"], 81);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_bus_restarts_and_telemetry_goes_on() {
    let (mut world, running) = world(|_| ()).await;
    let mut client = Client::to(&running).await;
    client.subscribe(&["all", "deliveries"]).await;
    world.announce_all(1, 1..=5).await;
    world.tell("agent_state", "a", json!({"agent": "a", "status": "idle"})).await;
    let mut position = String::new();
    for _ in 0..6 {
        client.hear().await["position"].as_str().unwrap().clone_into(&mut position);
    }
    world.nats.restart().unwrap();
    world.announce_all(1, 6..=10).await;
    for version in 6..=10 {
        assert_eq!(client.hear_of("status_changed").await["version"], version);
    }
    // Its stream is kept in memory, and counts from 1 again.
    world.tell("agent_state", "a", json!({"agent": "a", "status": "working"})).await;
    assert_eq!(client.hear_of("agent_state").await["status"], "working");
    let mut again = Client::to(&running).await;
    assert_eq!(subscribe(&mut again, &["all"], &position).await["resumed"], true);
    let mut told = Vec::new();
    for _ in 0..6 {
        told.push(again.hear().await);
    }
    let versions: Vec<u64> = told.iter().filter_map(|message| message["version"].as_u64()).collect();
    assert_eq!(versions, [6, 7, 8, 9, 10]);
    again.hears_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_that_hear_no_telemetry_go_on_where_that_was_lost_with_the_bus() {
    let (mut world, first) = world(|_| ()).await;
    let mut client = Client::to(&first).await;
    client.subscribe(&["all"]).await;
    world.tell("agent_state", "a", json!({"agent": "a", "status": "idle"})).await;
    world.announce_all(1, 1..=3).await;
    let mut position = String::new();
    for _ in 0..4 {
        client.hear().await["position"].as_str().unwrap().clone_into(&mut position);
    }
    drop(client);
    world.announce_all(1, 4..=6).await;
    world.deliver(1, 6).await;
    world.rows.commit(1, 6);
    world.nats.restart().unwrap();
    // It knows nothing of what was there before; telemetry counts from 1 again.
    let second = world.start(|_| ()).await.unwrap();
    world.tell("agent_state", "a", json!({"agent": "a", "status": "working"})).await;
    let mut client = Client::to(&second).await;
    let rooms = ["item:K1", "all", "deliveries", "health"];
    let subscribed = subscribe(&mut client, &rooms, &position).await;
    assert_eq!((&subscribed["resumed"], &subscribed["rooms"]), (&json!(true), &json!(rooms)));
    let mut reset = Value::Null;
    let (mut versions, mut delivered, mut shown) = (Vec::new(), 0, Vec::new());
    while versions.len() < 3 || delivered < 1 || shown.len() < 2 {
        let message = client.hear().await;
        match message["type"].as_str().unwrap() {
            "reset" => reset = message,
            "snapshot" => shown.push(message["room"].as_str().unwrap().to_owned()),
            "status_changed" => versions.push(message["version"].as_u64().unwrap()),
            "delivery" => delivered += 1,
            "agent_state" => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(reset, json!({"type": "reset", "rooms": ["all", "health"], "reason": "other_epoch"}));
    assert_eq!((versions, delivered, shown), (vec![4, 5, 6], 1, vec!["all".to_owned(), "health".to_owned()]));
    world.announce(1, 7).await;
    assert_eq!(client.hear_of("status_changed").await["version"], 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_clients_position_does_not_grow_old() {
    let (world, running) = world(|config| config.history_max = 10).await;
    let mut client = Client::to(&running).await;
    client.subscribe(&["agent:a"]).await;
    let mut busy = Client::to(&running).await;
    busy.subscribe(&["all"]).await;
    world.announce_all(1, 1..=50).await;
    while busy.hear().await["version"] != 50 {}
    client.say(json!({"type": "ping"})).await;
    let position = client.hear().await["position"].as_str().unwrap().to_owned();
    let mut again = Client::to(&running).await;
    assert_eq!(subscribe(&mut again, &["agent:a"], &position).await["resumed"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn measurements_come_in_batches_and_each_once() {
    let (world, running) = world(|config| (config.metrics_batch, config.metrics_wait_ms) = (10, 50)).await;
    let mut client = Client::to(&running).await;
    client.subscribe(&["performance_metrics"]).await;
    let mut positions = Vec::new();
    let metric =
        |number: u64| json!({"name": format!("m{number}"), "value": number, "unit": "ms", "category": "latency"});
    for number in 0..25 {
        world.tell("performance_metric", &format!("m{number}"), metric(number)).await;
    }
    let mut heard: Vec<u64> = Vec::new();
    while heard.len() < 25 {
        let batch = client.hear().await;
        assert_eq!(
            (batch["type"].as_str(), batch["category"].as_str()),
            (Some("performance_metrics"), Some("latency"))
        );
        let metrics = batch["metrics"].as_array().unwrap();
        assert!(metrics.len() <= 10);
        heard.extend(metrics.iter().map(number));
        positions.push((batch["position"].as_str().unwrap().to_owned(), heard.len()));
    }
    assert_eq!(heard, (0..25).collect::<Vec<_>>());
    // Another broadcaster cuts its batches elsewhere.
    let second = world.start(|config| (config.metrics_batch, config.metrics_wait_ms) = (7, 1)).await.unwrap();
    let (position, known) = positions.first().unwrap();
    let mut again = Client::to(&second).await;
    subscribe(&mut again, &["performance_metrics"], position).await;
    let mut rest: Vec<u64> = Vec::new();
    while rest.len() < 25 - known {
        let batch = again.hear().await;
        rest.extend(batch["metrics"].as_array().unwrap().iter().map(number));
    }
    assert_eq!(rest, (*known as u64..25).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcaster_that_has_just_started_remembers_the_newest_of_all_streams() {
    let (world, first) = world(|_| ()).await;
    let mut client = Client::to(&first).await;
    client.subscribe(&["all", "deliveries"]).await;
    world.announce_all(1, 1..=1_500).await;
    let deliveries: Vec<_> = (1..=1_500).map(|version| World::delivery(1, version)).collect();
    for some in deliveries.chunks(500) {
        world.publish_all(some.to_vec()).await;
    }
    let position = loop {
        let message = client.hear().await;
        if message["type"] == "delivery" && message["version"] == 1_500 {
            break message["position"].as_str().unwrap().to_owned();
        }
    };
    drop(client);
    for number in 0..5 {
        let agent = format!("a{number}");
        world.tell("agent_state", &agent, json!({"agent": agent, "status": "idle"})).await;
    }
    // All streams have more than it remembers, and telemetry, the newest, is read first.
    let second = world.start(|config| config.history_max = 2_000).await.unwrap();
    let mut client = Client::to(&second).await;
    assert_eq!(subscribe(&mut client, &["all"], &position).await["resumed"], true);
    for number in 0..5 {
        assert_eq!(client.hear().await["agent"], format!("a{number}"));
    }
}

/// A measurement's value, as it was numbered.
fn number(metric: &Value) -> u64 {
    metric["name"].as_str().and_then(|name| name.strip_prefix('m')).and_then(|number| number.parse().ok()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_subscriptions_missed_is_told_in_order_and_once() {
    let (world, running) = world(|_| ()).await;
    let mut client = Client::to(&running).await;
    client.subscribe(&["all"]).await;
    world.announce(1, 1).await;
    let position = client.hear().await["position"].clone();
    drop(client);
    for version in 2..=400 {
        world.announce(u128::from(version % 2), version).await;
    }
    let mut client = Client::to(&running).await;
    for (room, filter) in [("item:K1", json!({"statuses": ["done"]})), ("lifecycle:work", json!({}))] {
        client.say(json!({"type": "subscribe", "rooms": [room], "filter": filter, "position": position})).await;
    }
    let mut versions = Vec::new();
    while versions.len() < 399 {
        let message = client.hear().await;
        versions.extend(message["version"].as_u64());
    }
    // The first one may have been told some before the second came; from there on both are told in order.
    assert!(versions.windows(2).filter(|two| two[0] > two[1]).count() <= 1, "{versions:?}");
    versions.sort_unstable();
    assert_eq!(versions, (2..=400).collect::<Vec<_>>());
    client.hears_nothing().await;
}

/// The position of a message.
fn position_of(message: &Value) -> Position {
    message["position"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcaster_that_lets_clients_in_has_told_all_that_was_there() {
    let world = World::new().await.unwrap();
    world.announce_all(1, 1..=5_000).await;
    world
        .tell("performance_metric", "m0", json!({"name": "m0", "value": 0, "unit": "ms", "category": "latency"}))
        .await;
    // A measurement waits for others longer than the test does.
    let running = world.start(|config| config.metrics_wait_ms = 600_000).await.unwrap();
    let mut client = Client::to(&running).await;
    client.say(json!({"type": "subscribe", "rooms": ["all", "performance_metrics"], "snapshot": false})).await;
    let told = position_of(&client.hear_of("subscribed").await);
    assert_eq!((told.at(Feed::Changes).sequence, told.at(Feed::Metrics).sequence), (5_000, 1));
    client.hears_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_never_goes_back_where_a_broadcaster_that_has_just_started_tells_what_was_missed() {
    let (world, first) = world(|_| ()).await;
    let mut client = Client::to(&first).await;
    client.subscribe(&["all", "deliveries"]).await;
    world.announce_all(1, 1..=3).await;
    world.tell("agent_state", "a", json!({"agent": "a", "status": "idle"})).await;
    world.tell("system_alert", "d", json!({"id": "d", "severity": "warning", "component": "c", "message": "m"})).await;
    for version in 1..=3 {
        world.deliver(1, version).await;
    }
    let mut read = Position::default();
    for _ in 0..8 {
        read = position_of(&client.hear().await);
    }
    assert!(Feed::ALL.iter().take(4).all(|feed| read.at(*feed).sequence > 0), "{read}");
    drop(client);
    world.announce_all(1, 4..=6).await;
    // It reads the feeds anew, each for itself: the changes come with places in the others that the client has passed long ago.
    let second = world.start(|_| ()).await.unwrap();
    for missed in [4..=6, 5..=6, 6..=6] {
        let mut client = Client::to(&second).await;
        let resumed = subscribe(&mut client, &["all", "deliveries"], &read.to_string()).await;
        assert_eq!(resumed["resumed"], true);
        let before = read;
        for version in missed {
            let change = client.hear().await;
            assert_eq!(change["version"], version, "{change}");
            let now = position_of(&change);
            for feed in Feed::ALL {
                let Place { epoch, sequence } = now.at(feed);
                assert!(epoch == read.at(feed).epoch && sequence >= read.at(feed).sequence, "{read} {now}");
            }
            if read == before {
                read = now;
            }
        }
        client.hears_nothing().await;
    }
}

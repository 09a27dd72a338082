//! What those are told who are not live: all that they missed while they were away, and of what they were too slow for the newest.

use super::*;

/// A client that follows `all` from before a first change on, which it heard; and that one's position.
async fn heard_one(world: &World, running: &Running) -> (Client, Value) {
    let mut client = Client::to(running).await;
    client.subscribe(&["all"]).await;
    world.announce(1, 1).await;
    let position = client.hear().await["position"].clone();
    (client, position)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_away_for_more_than_is_conflated_is_told_every_change() {
    const MISSED: u64 = 6_000;
    assert!(MISSED > Config::default().conflate_over as u64);
    let (world, running) = world(|_| ()).await;
    let (mut witness, position) = heard_one(&world, &running).await;
    world.announce_all(1, 2..=1 + MISSED).await;
    while witness.hear().await["version"] != 1 + MISSED {}
    let mut client = Client::to(&running).await;
    client.say(json!({"type": "subscribe", "rooms": ["all"], "position": position})).await;
    assert_eq!(client.hear().await["resumed"], true);
    for version in 2..=1 + MISSED {
        assert_eq!(client.hear().await["version"], version);
    }
    client.hears_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_while_it_waits_to_be_told_begins_anew() {
    let (world, running) = world(|config| config.history_max = 50).await;
    let (mut witness, position) = heard_one(&world, &running).await;
    world.announce(1, 2).await;
    while witness.hear().await["version"] != 2 {}
    // An item that is followed by its key is looked up before anything is told.
    let held = world.rows.hold().await;
    let mut client = Client::to(&running).await;
    client.say(json!({"type": "subscribe", "rooms": ["all", "item:K1"], "position": position})).await;
    assert_eq!(client.hear().await["resumed"], true);
    world.announce_all(1, 3..=102).await;
    while witness.hear().await["version"] != 102 {}
    world.rows.commit(1, 102);
    drop(held);
    let reset = client.hear().await;
    assert_eq!(reset, json!({"type": "reset", "rooms": ["all", "item:K1"], "reason": "too_old"}));
    for room in ["all", "item:K1"] {
        let snapshot = client.hear().await;
        assert_eq!((snapshot["room"].as_str(), snapshot["items"][0]["version"].as_u64()), (Some(room), Some(102)));
    }
    client.hears_nothing().await;
    world.announce(1, 103).await;
    assert_eq!(client.hear().await["version"], 103, "it goes on from there");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_far_behind_is_told_the_newest_of_each_level() {
    const STATES: u64 = 500;
    let (world, running) = world(|config| config.conflate_over = 10).await;
    let (mut client, mut witness) = (Client::to(&running).await, Client::to(&running).await);
    for client in [&mut client, &mut witness] {
        client.subscribe(&["agent_states"]).await;
    }
    let held = world.rows.hold().await;
    client.say(json!({"type": "subscribe", "rooms": ["all"]})).await;
    assert_eq!(client.hear().await["type"], "subscribed");
    for number in 1..=STATES {
        let agent = format!("a{}", number % 5);
        let state = json!({"agent": agent, "status": "working", "task": number.to_string()});
        world.tell("agent_state", &agent, state).await;
    }
    let last = STATES.to_string();
    while witness.hear().await["task"] != *last {}
    drop(held);
    assert_eq!(client.hear().await["type"], "snapshot");
    let mut told = Vec::new();
    while told.last() != Some(&STATES) {
        told.push(client.hear().await["task"].as_str().unwrap().parse().unwrap());
    }
    let newest: Vec<u64> = (STATES - 4..=STATES).collect();
    assert_eq!(told, newest, "each agent's last, and no other");
}

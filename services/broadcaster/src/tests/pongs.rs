//! Where a client is, as the answer to its ping says it: nowhere as long as it is owed something.

use super::*;

async fn pinged(client: &mut Client) -> Value {
    client.say(json!({"type": "ping"})).await;
    let pong = client.hear().await;
    assert_eq!(pong["type"], "pong", "{pong}");
    pong["position"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_for_a_snapshot_is_not_where_others_are() {
    let (world, running) = world(|_| ()).await;
    let (mut client, mut witness) = (Client::to(&running).await, Client::to(&running).await);
    for client in [&mut client, &mut witness] {
        client.subscribe(&["deliveries"]).await;
    }
    assert_ne!(pinged(&mut client).await, Value::Null);
    let held = world.rows.hold().await;
    client.say(json!({"type": "subscribe", "rooms": ["all"]})).await;
    assert_eq!(client.hear().await["type"], "subscribed");
    world.deliver(1, 1).await;
    let position = witness.hear_of("delivery").await["position"].clone();
    assert_eq!(pinged(&mut client).await, Value::Null, "the delivery is not told yet");
    drop(held);
    assert_eq!(client.hear().await["type"], "snapshot");
    assert_eq!(client.hear().await["position"], position);
    assert_eq!(pinged(&mut client).await, position);
}

/// A position after which something was delivered of an item that is known by its key; the database is away by then.
async fn owed(world: &World, running: &Running) -> Value {
    world.rows.commit_as(2, 1, "acme/web#3");
    let mut witness = Client::to(running).await;
    witness.subscribe(&["deliveries"]).await;
    world.deliver(1, 1).await;
    let position = witness.hear().await["position"].clone();
    world.deliver(2, 2).await;
    witness.hear_of("delivery").await;
    world.rows.be_away(true);
    position
}

/// A client that comes back to that item and to another one.
async fn back(running: &Running, position: &Value) -> Client {
    let mut client = Client::to(running).await;
    client.say(json!({"type": "subscribe", "rooms": ["item:acme/web#3", "item:K1"], "position": position})).await;
    assert_eq!(client.hear().await["resumed"], true);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_seeks_an_item_is_not_where_others_are() {
    let (world, running) = world(|_| ()).await;
    let position = owed(&world, &running).await;
    let mut again = back(&running, &position).await;
    // What is told of the other item shows that nothing else is waited for.
    world.announce(1, 1).await;
    assert_eq!(again.hear().await["key"], "K1");
    assert_eq!(pinged(&mut again).await, Value::Null, "the delivery names the item's id only, and is owed");
    world.rows.be_away(false);
    assert_eq!(again.hear().await["record"], "x/y/2");
    assert_ne!(pinged(&mut again).await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_seeks_an_item_comes_back_to_what_it_is_owed() {
    let (world, running) = world(|_| ()).await;
    let position = owed(&world, &running).await;
    let mut client = back(&running, &position).await;
    let mut told = Vec::new();
    for version in 1..=2 {
        world.announce(1, version).await;
        let change = client.hear_of("status_changed").await;
        assert_eq!(change["version"], version);
        told.push(change["position"].clone());
    }
    assert_eq!(told, [position.clone(), position], "further on it would miss the delivery");
    drop(client);
    world.rows.be_away(false);
    let mut again = back(&running, &told[1]).await;
    assert_eq!(again.hear().await["record"], "x/y/2");
    assert_eq!(again.hear().await["version"], 1, "what it had heard is told once more");
    assert_eq!(again.hear().await["version"], 2);
}

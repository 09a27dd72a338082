//! Following an item by a key: what names only its id is heard, too, for as long as the key's room is asked for, and no longer.

use super::*;

/// Resumes in rooms at a position.
async fn resume(running: &Running, rooms: &[&str], position: &Value) -> Client {
    let mut client = Client::to(running).await;
    client.say(json!({"type": "subscribe", "rooms": rooms, "position": position})).await;
    assert_eq!(client.hear().await["resumed"], true);
    client
}

async fn unsubscribe(client: &mut Client, room: &str) {
    client.say(json!({"type": "unsubscribe", "rooms": [room]})).await;
    assert_eq!(client.hear().await["rooms"], json!([room]));
}

/// How many subscriptions to items there are.
async fn items(running: &Running) -> u64 {
    let counted = ask(running, "GET", "/api/v1/websocket/status", &[]).await.1;
    counted["subscriptions"]["item"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_missed_under_another_key_or_by_the_id_is_told() {
    let (world, running) = world(|_| ()).await;
    // Its changes carry the key `K2`.
    world.rows.commit_as(2, 1, "acme/web#3");
    let mut client = Client::to(&running).await;
    client.subscribe(&["item:acme/web#3"]).await;
    world.announce(2, 2).await;
    let change = client.hear().await;
    assert_eq!(change["key"], "K2");
    drop(client);
    world.announce(2, 3).await;
    world.announce(1, 4).await;
    world.deliver(2, 3).await;
    world.announce(2, 4).await;
    let mut again = resume(&running, &["item:acme/web#3"], &change["position"]).await;
    let mut told = [again.hear().await, again.hear().await, again.hear().await];
    told.sort_by_key(|message| (message["type"].to_string(), message["version"].as_u64()));
    let told: Vec<_> = told.iter().map(|message| (message["type"].as_str(), message["version"].as_u64())).collect();
    let expected = [(Some("delivery"), Some(3)), (Some("status_changed"), Some(3)), (Some("status_changed"), Some(4))];
    assert_eq!(told, expected);
    again.hears_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_comes_to_be_later_is_followed_by_its_id_from_then_on() {
    let (world, running) = world(|_| ()).await;
    let mut client = Client::to(&running).await;
    client.subscribe(&["item:K5", "item:K6"]).await;
    world.announce(5, 1).await;
    assert_eq!(client.hear().await["key"], "K5");
    world.deliver(5, 1).await;
    assert_eq!(client.hear().await["type"], "delivery");
    unsubscribe(&mut client, "item:K5").await;
    world.deliver(5, 2).await;
    world.announce(6, 1).await;
    assert_eq!(client.hear().await["key"], "K6");
    client.hears_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_room_of_the_id_goes_with_the_room_of_the_key() {
    let (world, running) = world(|config| config.ping_ms = 80).await;
    world.rows.commit(1, 1);
    world.rows.commit(2, 1);
    let mut client = Client::to(&running).await;
    client.subscribe(&["item:K1", "item:K2", "deliveries"]).await;
    unsubscribe(&mut client, "item:K2").await;
    unsubscribe(&mut client, "deliveries").await;
    world.deliver(2, 1).await;
    world.deliver(1, 1).await;
    assert_eq!(client.hear().await["record"], "x/y/1");
    // Another filter takes the place of the first, also for what names only the id.
    for _ in 0..5 {
        let filter = json!({"statuses": ["nothing"]});
        client.say(json!({"type": "subscribe", "rooms": ["item:K1"], "filter": filter})).await;
        client.hear_of("snapshot").await;
    }
    world.deliver(1, 2).await;
    let mut other = Client::to(&running).await;
    other.subscribe(&["deliveries"]).await;
    world.deliver(3, 3).await;
    while other.hear().await["record"] != "x/y/3" {}
    client.hears_nothing().await;
    let counted = async { while items(&running).await != 2 {} };
    timeout(DEADLINE, counted).await.expect("one room of the key and one of the id");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_a_room_of_a_key_is_joined_again_is_not_lost() {
    let (world, running) = world(|_| ()).await;
    world.rows.commit_as(2, 0, "acme/web#3");
    let mut client = Client::to(&running).await;
    client.subscribe(&["item:acme/web#3"]).await;
    let publishing = world.announce_all(2, 1..=3_000);
    let listening = async {
        let mut versions = Vec::new();
        while versions.len() < 3_000 {
            let message = client.hear().await;
            if let Some(version) = message["version"].as_u64() {
                versions.push(version);
                if version % 100 == 0 {
                    client.say(json!({"type": "subscribe", "rooms": ["item:acme/web#3"], "snapshot": false})).await;
                }
            }
        }
        assert_eq!(versions, (1..=3_000).collect::<Vec<_>>());
    };
    tokio::join!(publishing, listening);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_for_a_while_takes_nothing_from_whoever_comes_back() {
    let (world, running) = world(|_| ()).await;
    world.rows.commit_as(2, 1, "acme/web#3");
    world.rows.commit(1, 1);
    let mut client = Client::to(&running).await;
    client.subscribe(&["item:K1", "item:acme/web#3"]).await;
    world.announce(1, 2).await;
    let position = client.hear().await["position"].clone();
    drop(client);
    world.deliver(2, 3).await;
    world.announce(1, 3).await;
    world.rows.be_away(true);
    let mut again = resume(&running, &["item:K1", "item:acme/web#3"], &position).await;
    // What needs no database is told at once.
    assert_eq!(again.hear_of("status_changed").await["version"], 3);
    world.announce(1, 4).await;
    assert_eq!(again.hear().await["version"], 4);
    world.rows.be_away(false);
    let delivery = again.hear().await;
    assert_eq!((delivery["type"].as_str(), delivery["version"].as_u64()), (Some("delivery"), Some(3)));
    world.deliver(2, 4).await;
    assert_eq!(again.hear().await["version"], 4);
    again.hears_nothing().await;
}

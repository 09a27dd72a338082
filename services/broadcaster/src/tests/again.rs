//! Asking for a room again while an earlier asking is under way, or in effect.

use super::*;
use crate::position::{Feed, Place, Position};

/// The version of the one item of a snapshot.
fn shown(snapshot: &Value) -> Option<u64> {
    snapshot["items"][0]["version"].as_u64()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_second_snapshot_of_a_room_in_effect_tells_is_told_as_a_change_too() {
    let (world, running) = world(|_| ()).await;
    world.rows.commit(1, 4);
    let mut client = Client::to(&running).await;
    client.subscribe(&["all"]).await;
    // Committed, and not yet on the bus: whoever follows the room since the first snapshot has to hear of it.
    world.rows.commit(1, 5);
    client.subscribe(&["all"]).await;
    world.announce_all(1, 4..=5).await;
    assert_eq!(
        client.hear().await["version"],
        5,
        "the first snapshot told the fourth version, and only the second the fifth"
    );
    client.hears_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_was_left_and_joined_again_is_shown_as_it_was_read_for_the_second_time() {
    let (world, running) = world(|_| ()).await;
    world.rows.commit(1, 1);
    let mut client = Client::to(&running).await;
    let held = world.rows.hold().await;
    client.say(json!({"type": "subscribe", "rooms": ["all"]})).await;
    assert_eq!(client.hear().await["type"], "subscribed");
    client.say(json!({"type": "unsubscribe", "rooms": ["all"]})).await;
    assert_eq!(client.hear().await["type"], "unsubscribed");
    client.say(json!({"type": "subscribe", "rooms": ["all"], "ref": "2"})).await;
    assert_eq!(client.hear().await["ref"], "2");
    drop(held);
    assert_eq!(shown(&client.hear().await), Some(1));
    client.hears_nothing().await;
    world.announce_all(1, 1..=2).await;
    assert_eq!(client.hear().await["version"], 2);
}

/// A client that has read one change more, elsewhere, than is on the bus; and its position.
async fn ahead(running: &Running) -> (Client, String) {
    let mut client = Client::to(running).await;
    client.say(json!({"type": "ping"})).await;
    let here: Position = client.hear().await["position"].as_str().unwrap().parse().unwrap();
    let place = here.at(Feed::Changes);
    let position = here.with(Feed::Changes, Place { sequence: place.sequence + 1, ..place });
    (client, position.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_is_left_before_its_client_could_come_back_to_it_stays_left() {
    let (world, running) = world(|_| ()).await;
    let (mut client, position) = ahead(&running).await;
    client.say(json!({"type": "subscribe", "rooms": ["all"], "position": position})).await;
    client.say(json!({"type": "unsubscribe", "rooms": ["all"], "ref": "left"})).await;
    client.say(json!({"type": "ping"})).await;
    let pong = client.hear().await;
    assert_eq!((&pong["type"], &pong["position"]), (&json!("pong"), &Value::Null), "it has been further already");
    world.announce(1, 1).await;
    assert_eq!(client.hear().await["resumed"], true);
    assert_eq!(client.hear().await, json!({"type": "unsubscribed", "rooms": ["all"], "ref": "left"}));
    world.announce(1, 2).await;
    let mut other = Client::to(&running).await;
    other.subscribe(&["all"]).await;
    world.announce(1, 3).await;
    while other.hear().await["version"] != 3 {}
    client.hears_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_is_not_replaced_by_an_earlier_one_that_waited() {
    let (world, running) = world(|_| ()).await;
    let (mut client, position) = ahead(&running).await;
    client.say(json!({"type": "subscribe", "rooms": ["all"], "position": position, "ref": "1"})).await;
    let filter = json!({"ids": ["K2"]});
    client.say(json!({"type": "subscribe", "rooms": ["all"], "filter": filter, "snapshot": false, "ref": "2"})).await;
    client.hears_nothing().await;
    world.announce(1, 1).await;
    assert_eq!(client.hear().await["ref"], "1");
    assert_eq!(client.hear().await["ref"], "2");
    world.announce(1, 2).await;
    world.announce(2, 1).await;
    assert_eq!(client.hear().await["key"], "K2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_that_is_referred_to_is_answered_after_what_was_said_before_it() {
    let (world, running) = world(|_| ()).await;
    let (mut client, position) = ahead(&running).await;
    client.say(json!({"type": "subscribe", "rooms": ["all"], "position": position, "ref": "1"})).await;
    client.say(json!({"type": "subscribe", "rooms": ["deliveries"], "ref": "2"})).await;
    client.say(json!({"type": "ping", "ref": "2"})).await;
    client.hears_nothing().await;
    world.announce(1, 1).await;
    let mut said = Vec::new();
    while said.last().is_none_or(|(kind, _)| kind != "pong") {
        let message = client.hear().await;
        said.push((message["type"].clone(), message["ref"].clone()));
    }
    said.retain(|(kind, _)| kind != "snapshot");
    assert_eq!(json!(said), json!([["subscribed", "1"], ["subscribed", "2"], ["pong", "2"]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn however_much_a_client_says_while_it_waits_each_room_that_it_leaves_is_left() {
    let (_world, running) = world(|config| (config.messages_per_s, config.messages_burst) = (10_000, 10_000)).await;
    let (mut client, position) = ahead(&running).await;
    client.say(json!({"type": "subscribe", "rooms": ["all"], "position": position, "ref": "1"})).await;
    for number in 0..100 {
        client.say(json!({"type": "subscribe", "rooms": ["health"], "snapshot": false})).await;
        client.say(json!({"type": "unsubscribe", "rooms": ["health"], "ref": number.to_string()})).await;
    }
    for number in 0..100 {
        assert_eq!(client.hear_of("unsubscribed").await["ref"], number.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waited_in_vain_for_what_it_has_read_elsewhere_begins_anew() {
    let (world, running) = world(|_| ()).await;
    world.rows.commit(1, 1);
    let (mut client, position) = ahead(&running).await;
    client.say(json!({"type": "subscribe", "rooms": ["all"], "position": position})).await;
    let subscribed = client.hear().await;
    assert_eq!((&subscribed["type"], &subscribed["resumed"]), (&json!("subscribed"), &json!(false)));
    assert_eq!(client.hear().await, json!({"type": "reset", "rooms": ["all"], "reason": "ahead"}));
    assert_eq!(shown(&client.hear_of("snapshot").await), Some(1));
}

//! Frames and rooms.

use super::*;

#[tokio::test]
async fn a_subscriber_gets_the_snapshot_and_then_each_change_in_order() {
    let world = World::start(|_| ()).await;
    world.commit(1, 3);
    let mut client = world.socket().await;
    client.subscribe(&["all"]).await;
    assert_eq!(client.hear().await, json!({"type": "subscribed", "rooms": ["all"]}));
    let snapshot = client.hear().await;
    assert_eq!((snapshot["type"].as_str(), snapshot["items"][0]["version"].as_u64()), (Some("snapshot"), Some(3)));
    // The database is ahead of the bus: what the snapshot told is not told again, what it did not tell is.
    for version in 1..=5 {
        world.announce(1, version);
    }
    world.announce(2, 1);
    let mut told = Vec::new();
    for _ in 0..3 {
        let change = client.hear().await;
        told.push((change["key"].as_str().unwrap().to_owned(), change["version"].as_u64().unwrap()));
    }
    assert_eq!(told, [("K1".into(), 4), ("K1".into(), 5), ("K2".into(), 1)]);
}

#[tokio::test]
async fn a_client_in_two_matching_rooms_gets_one_copy() {
    let world = World::start(|_| ()).await;
    world.commit(1, 1);
    let mut client = world.socket().await;
    client.subscribe(&["all", "item:K1", "record:x/y/1"]).await;
    for _ in 0..4 {
        client.hear().await;
    }
    world.announce(1, 2);
    world.announce(1, 3);
    assert_eq!(client.hear().await["version"], 2);
    assert_eq!(client.hear().await["version"], 3);
}

#[tokio::test]
async fn a_room_of_one_item_or_record_hears_of_no_other() {
    let world = World::start(|_| ()).await;
    let id = Uuid::from_u128(3).to_string();
    for rooms in [["item:K3"], ["record:x/y/3"], [&*format!("item:{id}")]] {
        let mut client = world.socket().await;
        client.subscribe(&rooms).await;
        assert_eq!(client.hear().await["type"], "subscribed");
        // An item that nobody has seen yet can be waited for.
        assert_eq!(client.hear().await["items"], json!([]));
        world.announce(2, 1);
        world.announce(3, 1);
        assert_eq!(client.hear().await["key"], "K3");
    }
}

#[tokio::test]
async fn an_item_asked_for_by_one_key_is_followed_under_another() {
    let world = World::start(|_| ()).await;
    world.commit(1, 1);
    let mut client = world.socket().await;
    client.subscribe(&["item:K1"]).await;
    client.skip(2).await;
    let change = v1::Change { item: Uuid::from_u128(1).to_string(), key: "OTHER".into(), ..v1::Change::default() };
    world.hub.hand_out(vec![Event::change(change, 9, None).unwrap()], Some(9));
    assert_eq!(client.hear().await["key"], "OTHER");
    client.say(r#"{"type":"unsubscribe","rooms":["item:K1"]}"#).await;
    assert_eq!(client.hear().await, json!({"type": "unsubscribed", "rooms": ["item:K1"]}));
    assert!(!world.hub.has_single_rooms());
}

#[tokio::test]
async fn deliveries_reach_the_rooms_of_their_record() {
    let world = World::start(|_| ()).await;
    let mut client = world.socket().await;
    client.subscribe(&["record:x/y/1"]).await;
    client.skip(2).await;
    let delivery = v1::Delivery { record: "x/y/1".into(), outcome: "applied".into(), ..v1::Delivery::default() };
    world.hub.hand_out(vec![Event::delivery(delivery, 4, None).unwrap()], None);
    let heard = client.hear().await;
    assert_eq!((heard["type"].as_str(), heard["outcome"].as_str()), (Some("delivery"), Some("applied")));
}

#[tokio::test]
async fn a_malformed_frame_is_answered_and_ends_nothing() {
    let world = World::start(|_| ()).await;
    let mut client = world.socket().await;
    for (frame, code) in [
        ("null", "malformed"),
        ("{", "malformed"),
        ("{\"type\":null}", "malformed"),
        ("{\"type\":\"subscribe\",\"rooms\":[]}", "malformed"),
        ("{\"type\":\"fly\"}", "unknown_type"),
        ("{\"type\":\"subscribe\",\"rooms\":[\"\"]}", "bad_room"),
        ("{\"type\":\"subscribe\",\"rooms\":[\"agent_states\"]}", "bad_room"),
    ] {
        client.say(frame).await;
        let answer = client.hear().await;
        assert_eq!((answer["type"].as_str(), answer["code"].as_str()), (Some("error"), Some(code)), "{frame}");
        assert!(answer["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    }
    client.0.send(Message::binary(vec![0, 255])).await.unwrap();
    assert_eq!(client.hear().await["code"], "malformed");
    client.say(r#"{"type":"ping"}"#).await;
    assert_eq!(client.hear().await["type"], "pong");
    client.say(r#"{"type":"unsubscribe","rooms":["all"]}"#).await;
    assert_eq!(client.hear().await["rooms"], json!([]));
    assert_eq!(client.hear().await["code"], "not_subscribed");
}

#[tokio::test]
async fn one_wrong_room_does_not_keep_the_others_out() {
    let world = World::start(|_| ()).await;
    let mut client = world.socket().await;
    client.subscribe(&["nowhere", "all"]).await;
    assert_eq!(client.hear().await["rooms"], json!(["all"]));
    let refused = client.hear().await;
    assert_eq!((refused["code"].as_str(), refused["room"].as_str()), (Some("bad_room"), Some("nowhere")));
    assert_eq!(client.hear().await["type"], "snapshot");
}

#[tokio::test]
async fn the_address_can_name_the_rooms() {
    let world = World::start(|_| ()).await;
    let (socket, _) = connect_async(format!("ws://{}/v1/ws?room=all&room=item:K1", world.url)).await.unwrap();
    assert_eq!(Client(socket).hear().await["rooms"], json!(["all", "item:K1"]));
}

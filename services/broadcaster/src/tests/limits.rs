//! What the server does to those who want too much.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_closed_with_1013_and_the_others_go_on() {
    let (world, running) = world(|config| (config.history_max, config.stall_ms) = (2_000, 60_000)).await;
    let (mut slow, mut good) = (Client::to(&running).await, Client::to(&running).await);
    slow.subscribe(&["all"]).await;
    good.subscribe(&["all"]).await;
    // Until the kernel's buffers are full and the history has gone on, in pieces that a reader keeps up with.
    let mut version = 0;
    while ask(&running, "GET", "/api/v1/websocket/status", &[]).await.1["clients_blocked"] != 1 {
        assert!(version < 1_000_000, "the slow client was never blocked");
        world.announce_all(1, version + 1..=version + 500).await;
        version += 500;
        while good.hear().await["version"] != version {}
    }
    // It may have been the other one that was blocked for a moment: more than any kernel buffers is told.
    for _ in 0..80 {
        world.announce_all(1, version + 1..=version + 500).await;
        version += 500;
        while good.hear().await["version"] != version {}
    }
    let mut last = 0;
    let (code, reason) = loop {
        match slow.raw().await {
            Message::Text(text) => {
                let heard: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(heard["version"], last + 1, "what is told is told in order and without a gap");
                last += 1;
            }
            Message::Close(Some(frame)) => break (u16::from(frame.code), frame.reason.to_string()),
            _ => {}
        }
    };
    assert_eq!(code, 1013);
    assert!(reason.starts_with("too_slow: "), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_for_long_is_closed() {
    let (world, running) = world(|config| (config.stall_ms, config.patience_ms) = (200, 200)).await;
    let mut dead = Client::to(&running).await;
    dead.subscribe(&["all"]).await;
    let mut version = 0;
    while ask(&running, "GET", "/api/v1/health", &[]).await.1["clients"] == 1 {
        assert!(version < 1_000_000, "the client was never blocked");
        world.announce_all(1, version + 1..=version + 500).await;
        version += 500;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_too_many_is_told_so() {
    let (_world, running) = world(|config| config.clients_max = 1).await;
    let _first = Client::to(&running).await;
    let (status, problem) = Client::with(&running, "", &[]).await.err().unwrap();
    assert_eq!((status, problem["code"].as_str()), (503, Some("too_many_clients")));
    assert_eq!(ask(&running, "GET", "/v1/sse", &[]).await.0, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_room_or_message_too_many_is_answered() {
    let limits = |config: &mut Config| {
        (config.rooms_max, config.messages_per_s, config.messages_burst) = (2, 1, 4);
    };
    let (_world, running) = world(limits).await;
    let mut client = Client::to(&running).await;
    client.subscribe(&["item:A", "item:B"]).await;
    client.say(json!({"type": "subscribe", "rooms": ["item:C"]})).await;
    assert_eq!(client.hear().await["code"], "too_many_rooms");
    let mut refused = 0;
    for _ in 0..20 {
        // After the last one nobody listens any more.
        let _ = client.0.send(Message::text("null")).await;
    }
    let end = loop {
        match client.raw().await {
            Message::Text(text) => refused += u32::from(text.contains("too_many_messages")),
            Message::Close(Some(frame)) => break frame,
            _ => {}
        }
    };
    assert!(refused >= 4, "{refused}");
    assert_eq!(u16::from(end.code), 1008);
    assert!(end.reason.starts_with("too_many_messages: "), "{}", end.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_and_pongs_count_as_messages() {
    for frame in [Message::Ping("x".into()), Message::Pong("x".into())] {
        let (_world, running) = world(|config| (config.messages_per_s, config.messages_burst) = (1, 4)).await;
        let mut client = Client::to(&running).await;
        for _ in 0..20 {
            // After the last one nobody listens any more.
            let _ = client.0.send(frame.clone()).await;
        }
        let (code, reason) = client.close().await;
        assert_eq!(code, 1008, "{frame:?}");
        assert!(reason.starts_with("too_many_messages: "), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filters_of_a_client_have_so_many_bytes_together() {
    let (_world, running) = world(|config| config.filters_max_bytes = 1_000).await;
    let mut client = Client::to(&running).await;
    let subscribe = |room: &str, word: &str| json!({"type": "subscribe", "rooms": [room], "filter": {"ids": [word]}, "snapshot": false});
    let (one, other) = ("a".repeat(600), "b".repeat(600));
    client.say(subscribe("item:A", &one)).await;
    assert_eq!(client.hear().await["type"], "subscribed");
    client.say(subscribe("item:B", &other)).await;
    let refused = client.hear().await;
    assert_eq!((refused["type"].as_str(), refused["code"].as_str()), (Some("error"), Some("too_many_filters")));
    // The same counts once, and one that takes the place of another counts for it.
    for (room, word) in [("item:B", &one), ("item:C", &"c".repeat(300))] {
        client.say(subscribe(room, word)).await;
        assert_eq!(client.hear().await["rooms"], json!([room]));
    }
    client.say(json!({"type": "unsubscribe", "rooms": ["item:A", "item:C"]})).await;
    assert_eq!(client.hear().await["type"], "unsubscribed");
    client.say(subscribe("item:B", &other)).await;
    assert_eq!(client.hear().await["type"], "subscribed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_closes_with_1009() {
    let (_world, running) = world(|config| config.message_max_bytes = 200).await;
    let (socket, _) = connect_async(format!("ws://{}/v1/ws", running.address)).await.unwrap();
    let mut client = Client(socket);
    assert_eq!(client.hear().await["message_max_bytes"], 200, "it was told");
    client.text(&"x".repeat(300)).await;
    assert_eq!(client.close().await.0, 1009);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_sign_of_life_is_closed_with_1001() {
    let (_world, running) = world(|config| (config.ping_ms, config.patience_ms) = (50, 50)).await;
    let mut client = Client::to(&running).await;
    // A client that reads answers pings by itself, so the first one is only noticed: nothing is read until the end.
    assert!(matches!(client.raw().await, Message::Ping(_)));
    until_clients(&running, 0).await;
    let (code, reason) = client.close().await;
    assert_eq!(code, 1001);
    assert!(reason.starts_with("no_sign_of_life: "), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_answers_pings_stays() {
    let (_world, running) = world(|config| (config.ping_ms, config.patience_ms) = (50, 100)).await;
    let mut client = Client::to(&running).await;
    for _ in 0..10 {
        assert!(matches!(client.raw().await, Message::Ping(_)));
        // Reading on sends the answer.
        client.say(json!({"type": "ping"})).await;
        while !matches!(client.raw().await, Message::Text(_)) {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_for_which_much_is_to_be_shown_may_go_on_asking() {
    let (world, running) = world(|config| (config.snapshot_max, config.stall_ms) = (20_000, 60_000)).await;
    for number in 0..20_000 {
        world.rows.commit(number, 1);
    }
    let mut client = Client::to(&running).await;
    let times = 20;
    for _ in 0..times {
        client.say(json!({"type": "subscribe", "rooms": ["all"]})).await;
    }
    let status = async || ask(&running, "GET", "/api/v1/websocket/status", &[]).await.1;
    // More waits by then than a client's own answers may be.
    while status().await["clients_blocked"] != 1 {}
    client.say(json!({"type": "ping", "ref": "last"})).await;
    let mut shown = 0;
    while shown < times * 20_000 {
        shown += client.hear_of("snapshot").await["items"].as_array().unwrap().len();
    }
    world.announce(1, 2).await;
    assert_eq!(client.hear_of("status_changed").await["version"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_rooms_are_read_for_one_client_at_once() {
    let (world, running) = world(|config| config.rooms_max = 2).await;
    let mut client = Client::to(&running).await;
    let held = world.rows.hold().await;
    let rooms = json!(["item:A", "item:B"]);
    for _ in 0..2 {
        client.say(json!({"type": "subscribe", "rooms": rooms})).await;
        assert_eq!(client.hear().await["type"], "subscribed");
    }
    client.say(json!({"type": "subscribe", "rooms": rooms, "ref": "3"})).await;
    let refused = client.hear().await;
    assert_eq!((refused["code"].as_str(), refused["ref"].as_str()), (Some("busy"), Some("3")));
    drop(held);
    for _ in 0..4 {
        assert_eq!(client.hear().await["type"], "snapshot");
    }
    client.say(json!({"type": "subscribe", "rooms": rooms})).await;
    assert_eq!(client.hear().await["type"], "subscribed");
}

//! What the server does to those who want too much, and how much it can do.

use super::*;

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_with_1013_and_the_others_go_on() {
    let world = World::start(|config| config.waiting_max_bytes = 1024 * 1024).await;
    let (mut slow, mut good) = (world.socket().await, world.socket().await);
    for client in [&mut slow, &mut good] {
        client.subscribe(&["all"]).await;
        client.skip(2).await;
    }
    // Until the kernel's buffers and the inbox are full, in pieces that a reader keeps up with.
    let mut version = 0;
    while world.hub.clients() == 2 {
        assert!(version < 1_000_000, "the slow client was not cut off");
        let events = (0..500).map(|offset| event(1, version + offset + 1)).collect();
        version += 500;
        world.hub.hand_out(events, Some(version));
        while good.hear().await["version"] != version {}
    }
    let (code, reason) = slow.close().await;
    assert_eq!(code, 1013);
    assert!(reason.contains("slowly"), "{reason}");
}

#[tokio::test]
async fn one_client_too_many_is_told_so() {
    let world = World::start(|config| config.clients_max = 1).await;
    let mut first = world.socket().await;
    first.say(r#"{"type":"ping"}"#).await;
    first.hear().await;
    assert_eq!(world.socket().await.close().await.0, 1013);
    let sse = reqwest_get(&world, "/v1/sse").await;
    assert_eq!(sse.status(), 503);
}

#[tokio::test]
async fn one_room_or_frame_too_many_is_answered() {
    let world = World::start(|config| (config.rooms_max, config.frames_per_minute) = (2, 3)).await;
    let mut client = world.socket().await;
    client.subscribe(&["item:A", "item:B"]).await;
    for _ in 0..3 {
        client.hear().await;
    }
    client.subscribe(&["item:C"]).await;
    assert_eq!(client.hear().await["code"], "too_many_rooms");
    client.say("null").await;
    assert_eq!(client.hear().await["code"], "malformed");
    for _ in 0..3 {
        client.say("null").await;
        assert_eq!(client.hear().await["code"], "too_many_frames");
    }
    client.say("null").await;
    assert_eq!(client.close().await.0, 1008);
}

#[tokio::test]
async fn a_frame_that_is_too_large_closes_with_1009() {
    let world = World::start(|config| config.frame_max_bytes = 100).await;
    let mut client = world.socket().await;
    client.say(&"x".repeat(200)).await;
    assert_eq!(client.close().await.0, 1009);
}

#[tokio::test]
async fn a_client_without_a_sign_of_life_is_closed_with_1001() {
    let world = World::start(|config| (config.ping_ms, config.patience_ms) = (50, 50)).await;
    let mut client = world.socket().await;
    // A client that reads answers pings by itself, so the first one is only noticed: nothing is read until the end.
    assert!(matches!(client.raw().await, Message::Ping(_)));
    let hub = Arc::clone(&world.hub);
    let gone = async {
        while hub.clients() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), gone).await.unwrap();
    assert_eq!(client.close().await.0, 1001);
}

#[tokio::test]
async fn a_server_that_goes_down_says_so() {
    let world = World::start(|_| ()).await;
    let mut client = world.socket().await;
    world.process.shutdown().cancel();
    assert_eq!(client.close().await.0, 1001);
    world.process.finished(Duration::from_secs(15)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_changes_a_second_reach_a_client_in_order() {
    const COUNT: u64 = 60_000;
    let world = World::start(|_| ()).await;
    let mut client = world.socket().await;
    client.subscribe(&["all"]).await;
    client.skip(2).await;
    let events = (1..=COUNT).map(|version| event(1, version)).collect::<Vec<_>>();
    let hub = Arc::clone(&world.hub);
    let started = std::time::Instant::now();
    let mut events = events.into_iter();
    let mut read = 0;
    while read < COUNT {
        let batch: Vec<_> = events.by_ref().take(500).collect();
        let target = read + batch.len() as u64;
        hub.hand_out(batch, Some(target));
        while read < target {
            let Message::Text(text) = client.raw().await else { panic!("not a text") };
            read += 1;
            assert!(text.starts_with(&format!("{{\"type\":\"change\",\"position\":{read},")), "{text}");
        }
    }
    let rate = u128::from(COUNT) * 1_000 / started.elapsed().as_millis().max(1);
    println!("{rate} changes/s");
    assert!(rate >= 20_000, "{rate} changes/s");
}

async fn reqwest_get(world: &World, path: &str) -> reqwest::Response {
    runtime::install_crypto();
    reqwest::get(format!("http://{}{path}", world.url)).await.unwrap()
}

#[tokio::test]
async fn a_frame_that_calls_itself_text_and_is_none_ends_the_connection_with_its_reason() {
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    let world = World::start(|_| ()).await;
    let mut client = world.socket().await;
    let frame = Frame::message(vec![b'"', 0xff, b'"'], OpCode::Data(Data::Text), true);
    client.0.send(Message::Frame(frame)).await.unwrap();
    let (code, reason) = client.close().await;
    assert_eq!(code, 1007, "{reason}");
    assert_eq!(reqwest_get(&world, "/v1/ws").await.headers()["content-type"], "application/problem+json");
}

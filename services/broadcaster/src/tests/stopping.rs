//! How clients are let go when a broadcaster stops.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_and_let_go_one_after_another_and_miss_nothing() {
    let_go(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_several_threads_lets_its_clients_go() {
    let_go(3).await;
}

/// By a broadcaster of so many threads.
async fn let_go(threads: usize) {
    let (world, running) = world(|config| (config.drain_ms, config.threads) = (2_000, threads)).await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(Client::to(&running).await);
    }
    for client in &mut clients {
        client.say(json!({"type": "subscribe", "rooms": ["all"], "snapshot": false})).await;
        assert_eq!(client.hear().await["type"], "subscribed");
    }
    running.process.shutdown().cancel();
    let mut due = Vec::new();
    for client in &mut clients {
        due.push(client.hear_of("going_away").await["in_ms"].as_u64().unwrap());
    }
    // What happens meanwhile is still told to whoever is here.
    world.announce(1, 1).await;
    due.sort_unstable();
    due.dedup();
    assert!(due.len() > 100 && due.last() < Some(&2_000), "they go at moments of their own");
    let mut told = 0;
    for client in &mut clients {
        let (code, reason) = loop {
            match client.raw().await {
                Message::Text(text) => told += u32::from(text.contains("status_changed")),
                Message::Close(Some(frame)) => break (u16::from(frame.code), frame.reason.to_string()),
                _ => {}
            }
        };
        assert_eq!(code, 1001);
        assert!(reason.starts_with("going_away: "), "{reason}");
    }
    assert!(told > 50, "{told}");
    running.process.finished(Duration::from_secs(15)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcaster_without_clients_stops_at_once() {
    for threads in [1, 3] {
        let (_world, running) = world(|config| config.threads = threads).await;
        running.process.shutdown().cancel();
        timeout(Duration::from_secs(5), running.process.finished(Duration::from_secs(15))).await.unwrap().unwrap();
    }
}

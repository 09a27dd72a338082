//! How a broadcaster says that it is.

use super::*;

/// The status, once it is as expected.
pub(super) async fn status_when(running: &Running, expected: impl Fn(&Value) -> bool) -> Value {
    let reached = async {
        loop {
            let status = ask(running, "GET", "/api/v1/websocket/status", &[]).await.1;
            if expected(&status) {
                return status;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, reached).await.expect("the status is as expected in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_counts_those_who_are_behind() {
    for threads in [1, 3] {
        Box::pin(those_who_are_behind(threads)).await;
    }
}

/// With a broadcaster of so many threads.
async fn those_who_are_behind(threads: usize) {
    let (world, running) = world(|config| config.threads = threads).await;
    let (mut live, mut held) = (Client::to(&running).await, Client::to(&running).await);
    live.subscribe(&["all"]).await;
    let both = status_when(&running, |status| status["connections"]["websocket"] == 2).await;
    assert_eq!((&both["clients_behind"], &both["threads"]), (&json!(0), &json!(threads)));
    let lock = world.rows.hold().await;
    held.say(json!({"type": "subscribe", "rooms": ["all"]})).await;
    // What is told while its snapshot is read waits for it.
    world.announce_all(1, 1..=3).await;
    while live.hear().await["version"] != 3 {}
    status_when(&running, |status| status["clients_behind"] == 1).await;
    drop(lock);
    held.hear_of("snapshot").await;
    while held.hear().await["version"] != 3 {}
    status_when(&running, |status| status["clients_behind"] == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_tells_how_much_is_told_and_remembered() {
    let (world, running) = world(|config| config.history_max = 150).await;
    let quiet = status_when(&running, |_| true).await;
    assert_eq!(quiet["history"], json!({"events": 0, "bytes": 0, "events_max": 150}));
    assert_eq!(quiet["messages_per_second"], 0);
    let mut client = Client::to(&running).await;
    client.subscribe(&["all"]).await;
    world.announce_all(1, 1..=100).await;
    while client.hear().await["version"] != 100 {}
    // The rate is that of a whole second, which may end amid the events; after another one without events it is none again.
    let told = |status: &Value| status["messages_per_second"] != 0 && status["messages"]["websocket"] == 100;
    let busy = status_when(&running, told).await;
    assert!(busy["messages_per_second"].as_u64().is_some_and(|rate| rate <= 100), "{busy}");
    assert_eq!(busy["history"]["events"], 100);
    assert!(busy["history"]["bytes"].as_u64().is_some_and(|bytes| bytes > 100 * 100), "{busy}");
    status_when(&running, |status| status["messages_per_second"] == 0).await;
    world.announce_all(1, 101..=200).await;
    while client.hear().await["version"] != 200 {}
    assert_eq!(status_when(&running, |_| true).await["history"]["events"], 150, "the oldest are forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_says_what_is_wrong() {
    let (_world, running) = world(|_| ()).await;
    let health = async || ask(&running, "GET", "/api/v1/health", &[]).await;
    let well = json!({"health": "healthy", "stopping": false, "faults": {}, "clients": 0});
    assert_eq!(health().await, (200, well.clone()));
    let part = running.process.of("broadcaster");
    part.ready("feed", Err("the bus is away".into()));
    let faults = json!({"feed": "the bus is away"});
    let degraded = json!({"health": "degraded", "stopping": false, "faults": faults, "clients": 0});
    assert_eq!(health().await, (503, degraded));
    part.ready("feed", Ok(()));
    assert_eq!(health().await, (200, well));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_and_the_metrics_tell_the_transports_apart() {
    let (world, running) = world(|config| config.message_max_bytes = 200).await;
    let mut listener = super::listening::listen(&running, "?room=all", &[]).await;
    let status = status_when(&running, |status| status["subscriptions"]["all"] == 1).await;
    assert_eq!(status["connections"], json!({"websocket": 0, "sse": 1}));
    let mut client = Client::to(&running).await;
    client.text(&"x".repeat(300)).await;
    assert_eq!(client.close().await.0, 1009);
    drop(client);
    world.announce_all(1, 1..=3).await;
    let told = json!({"websocket": 0, "sse": 3});
    status_when(&running, |status| status["messages"] == told).await;
    for line in [
        "lockstep_broadcast_clients{transport=\"sse\"} 1",
        "lockstep_broadcast_clients{transport=\"websocket\"} 0",
        "lockstep_broadcast_messages_total{transport=\"sse\"} 3",
        "lockstep_broadcast_closed_total{word=\"too_large\"} 1",
    ] {
        metrics_when(&running, line).await;
    }
    assert!(listener.chunk().await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_of_the_broadcast_that_does_not_come_back_says_so() {
    let (mut world, running) = world(|_| ()).await;
    world.nats.kill();
    let (status, problem) = ask(&running, "POST", "/api/v1/websocket/broadcast/test", &[]).await;
    assert_eq!((status, problem["code"].as_str()), (503, Some("not_broadcast")), "{problem}");
}

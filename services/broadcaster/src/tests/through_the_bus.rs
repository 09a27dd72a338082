//! With a real server: what is published reaches the clients, through its restart.

use bus::{Bus, Outgoing};

use super::*;

async fn publish(bus: &Bus, version: u64) {
    let change = v1::Change {
        id: format!("i:{version}"),
        kind: "status_changed".into(),
        item: Uuid::from_u128(1).to_string(),
        version,
        lifecycle: "work".into(),
        record: "x/y/1".into(),
        ..v1::Change::default()
    };
    bus.publish(Outgoing::change(&change).unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_and_deliveries_reach_clients_in_order_and_none_is_lost_when_the_server_restarts() {
    let mut server = bus::testing::Server::start().unwrap();
    let world = World::start(|_| ()).await;
    let bus = Bus::connect(&server.config(), &world.process).await.unwrap();
    bus.ensure_topology().await.unwrap();
    source::start(&world.process, &bus, &world.hub).await.unwrap();
    let mut client = world.socket().await;
    client.subscribe(&["all", "record:x/y/1"]).await;
    client.skip(3).await;
    for version in 1..=5 {
        publish(&bus, version).await;
    }
    for version in 1..=5 {
        let change = client.hear().await;
        assert_eq!((change["version"].as_u64(), change["position"].as_u64()), (Some(version), Some(version)));
    }
    let delivery =
        v1::Delivery { id: "d:1".into(), record: "x/y/1".into(), outcome: "applied".into(), ..v1::Delivery::default() };
    bus.publish(Outgoing::delivery(&delivery).unwrap()).await.unwrap();
    assert_eq!(client.hear().await["outcome"], "applied");
    server.restart().unwrap();
    for version in 6..=10 {
        publish(&bus, version).await;
    }
    for version in 6..=10 {
        assert_eq!(client.hear().await["version"], version);
    }
    world.process.shutdown().cancel();
}

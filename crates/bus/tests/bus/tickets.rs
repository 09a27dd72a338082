//! Tickets: each counts once, whoever is asked.

use bus::Bus;
use bytes::Bytes;
use runtime::Process;

use crate::{World, world};

async fn second(world: &World) -> Bus {
    Bus::connect(&world.server.config(), &Process::new("second", None)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_two_ask_for_at_once_is_given_to_one() {
    let world = world(1).await;
    let (here, there) = (&world.bus, &second(&world).await);
    for round in 0..100_u8 {
        let digest = [round; 32];
        let value = Bytes::from(vec![round, 1]);
        here.put_ticket(&digest, value.clone()).await.unwrap();
        let taken = tokio::join!(
            here.take_ticket(&digest),
            there.take_ticket(&digest),
            here.take_ticket(&digest),
            there.take_ticket(&digest)
        );
        let taken: Vec<Bytes> =
            [taken.0, taken.1, taken.2, taken.3].into_iter().filter_map(|taken| taken.unwrap()).collect();
        assert_eq!(taken, [value], "round {round}");
        assert_eq!(there.take_ticket(&digest).await.unwrap(), None, "round {round}, afterwards");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_nothing_behind_a_ticket_that_nobody_made() {
    let world = world(1).await;
    assert_eq!(world.bus.take_ticket(&[7; 32]).await.unwrap(), None);
    assert!(world.bus.put_ticket(&[7; 32], Bytes::new()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_are_kept_in_memory_and_for_thirty_seconds() {
    let world = world(1).await;
    let client = async_nats::connect(world.server.url()).await.unwrap();
    let mut stream = async_nats::jetstream::new(client).get_stream("KV_TICKETS").await.unwrap();
    let config = &stream.info().await.unwrap().config;
    assert_eq!(config.max_age, Bus::TICKET_EXPIRES);
    assert_eq!(config.max_age.as_secs(), 30);
    assert_eq!(config.storage, async_nats::jetstream::stream::StorageType::Memory);
    assert!(config.max_bytes > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_go_on_after_the_server_lost_its_memory() {
    let mut world = world(1).await;
    world.bus.put_ticket(&[1; 32], Bytes::from_static(b"before")).await.unwrap();
    world.server.restart().unwrap();
    // The bucket is made anew with the next connection.
    let deadline = tokio::time::Instant::now() + crate::DEADLINE;
    while world.bus.put_ticket(&[2; 32], Bytes::from_static(b"after")).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "the bucket did not come back");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(world.bus.take_ticket(&[1; 32]).await.unwrap(), None);
    assert_eq!(world.bus.take_ticket(&[2; 32]).await.unwrap(), Some(Bytes::from_static(b"after")));
}

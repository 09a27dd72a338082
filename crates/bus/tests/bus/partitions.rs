//! What is in the way of other partitions, and how it is got out of it.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_a_system_that_is_gone_can_be_got_out_of_the_way() {
    let world = world(4).await;
    let told = Outgoing::command(&command("one", 1), 4);
    let linear = System::new("linear").unwrap();
    for partition in 0..4 {
        drop(world.bus.commands(&linear, partition).await.unwrap());
    }
    world.bus.publish(told).await.unwrap();
    let fewer = bus::Config { partitions: 2, ..world.server.config() };
    let fewer = Bus::connect(&fewer, &world.process).await.unwrap();
    let refused = fewer.ensure_topology().await.unwrap_err().to_string();
    let (_, consumer) = refused.split_once("`nats consumer rm COMMANDS ").expect("it says what to do");
    let consumer = consumer.trim_end_matches('`');
    let jetstream = async_nats::jetstream::new(async_nats::connect(world.server.url()).await.unwrap());
    jetstream.get_stream("COMMANDS").await.unwrap().delete_consumer(consumer).await.unwrap();
    fewer.ensure_topology().await.unwrap();
}

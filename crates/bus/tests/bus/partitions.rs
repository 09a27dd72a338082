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

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_are_not_divided_anew_under_those_who_read_them() {
    let world = world(4).await;
    let resolver = world.process.of("resolver");
    let lease = world.bus.lease("observations/3", &resolver).await.unwrap();
    let fewer = bus::Config { partitions: 2, ..world.server.config() };
    let fewer = Bus::connect(&fewer, &world.process).await.unwrap();
    let refused = fewer.ensure_topology().await.unwrap_err().to_string();
    let reader = format!("resolver ({})", resolver.instance());
    for part in ["nats.partitions is 2", &reader, "read the streams in 4", "stop all resolvers and connectors"] {
        assert!(refused.contains(part), "{part:?} is not in {refused:?}");
    }
    world.bus.ensure_topology().await.unwrap();
    drop(lease);
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while let Err(error) = fewer.ensure_topology().await {
        assert!(tokio::time::Instant::now() < deadline, "nobody reads any more: {error:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_partitions_ends_when_they_are_another_divisions() {
    let world = world(4).await;
    let reader = Process::new("resolver", None);
    let bus = Bus::connect(&bus::Config { partitions: 4, ..world.server.config() }, &reader).await.unwrap();
    let _share = bus.share("observations", &reader).await.unwrap();
    // It holds nothing yet, so nobody sees it.
    let fewer = bus::Config { partitions: 2, ..world.server.config() };
    Bus::connect(&fewer, &world.process).await.unwrap().ensure_topology().await.unwrap();
    tokio::time::timeout(DEADLINE, reader.shutdown().cancelled()).await.expect("it ends");
    let why = reader.finished(DEADLINE).await.unwrap_err();
    let why = format!("{why:#}");
    assert!(why.contains("nats.partitions is 4, and the streams were divided into 2"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_one_stream_is_refused_its_new_size_all_keep_their_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("nats.conf");
    // Room for the streams, the cursors, and a larger WEBHOOKS; not for a larger OBSERVATIONS.
    std::fs::write(&settings, format!("jetstream {{ max_file_store: {} }}", 370 * 1024 * 1024)).unwrap();
    let server = Server::start_with(&["-c", settings.to_str().unwrap()]).unwrap();
    let process = Process::new("test", None);
    Bus::connect(&server.config(), &process).await.unwrap().ensure_topology().await.unwrap();
    let jetstream = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let bytes = async |name: &str| jetstream.get_stream(name).await.unwrap().cached_info().config.max_bytes;
    let before = bytes("WEBHOOKS").await;
    let larger = bus::Config { storage_mb: 512, ..server.config() };
    let refused = Bus::connect(&larger, &process).await.unwrap().ensure_topology().await.unwrap_err();
    assert!(format!("{refused:#}").contains("OBSERVATIONS"), "{refused:#}");
    assert_eq!(bytes("WEBHOOKS").await, before);
}

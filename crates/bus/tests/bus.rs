//! The bus against a real nats-server.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

#[path = "bus/credentials.rs"]
mod credentials;
#[path = "bus/cursors.rs"]
mod cursors;
#[path = "bus/dead_letters.rs"]
mod dead_letters;
#[path = "bus/lag.rs"]
mod lag;
#[path = "bus/lost_end.rs"]
mod lost_end;
#[path = "bus/partitions.rs"]
mod partitions;
#[path = "bus/tickets.rs"]
mod tickets;

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::consumer::{Info, pull};
use bus::testing::Server;
use bus::{Bus, Feed, Outgoing, Received, Stream, Tail, ack_all, topology};
use model::{
    Command, CommandMode, ItemId, Lane, Native, Observation, RecordRef, Source, Status, System, Timestamp, Version,
};
use runtime::Process;

const DEADLINE: Duration = Duration::from_secs(40);

struct World {
    server: Server,
    process: Process,
    bus: Bus,
}

async fn world(partitions: u32) -> World {
    let server = Server::start().unwrap();
    let process = Process::new("test", None);
    let config = bus::Config { partitions, publish_timeout_ms: 30_000, ..server.config() };
    let bus = Bus::connect(&config, &process).await.unwrap();
    bus.ensure_topology().await.unwrap();
    World { server, process, bus }
}

fn record(id: &str) -> RecordRef {
    RecordRef::new(System::new("linear").unwrap(), model::Kind::new("issue").unwrap(), id).unwrap()
}

fn seen(id: &str, native: &str, message_id: &str) -> Observation {
    Observation {
        metadata: std::collections::BTreeMap::default(),
        ..Observation::new(message_id.into(), record(id), Native::new(native).unwrap(), Source::Api, Timestamp(1))
    }
}

fn numbered(range: std::ops::Range<u64>) -> Vec<Outgoing> {
    range.map(|at| Outgoing::observation(Lane::Normal, &seen("one", "Todo", &at.to_string()))).collect()
}

fn command(id: &str, version: u64) -> Command {
    Command {
        record: record(id),
        item: ItemId(uuid::Uuid::from_u128(7)),
        version: Version(version),
        status: Status::new("done").unwrap(),
        previous: None,
        native: Native::new("Done").unwrap(),
        mode: CommandMode::Tell,
        expects: Vec::new(),
        earlier: vec![],
        position: None,
        key: None,
        cause: version,
    }
}

async fn batch(feed: &mut Feed, max: usize) -> Vec<Received> {
    tokio::time::timeout(DEADLINE, feed.next_batch(max)).await.expect("messages in time").unwrap()
}

/// Reads until `count` messages are in hand.
async fn take(feed: &mut Feed, count: usize) -> Vec<Received> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(batch(feed, count - all.len()).await);
    }
    all
}

fn ids(messages: &[Received]) -> Vec<&str> {
    messages.iter().map(Received::id).collect()
}

/// Nothing comes: another message published after all that could come is what comes next.
async fn next_is(world: &World, feed: &mut Feed, id: &str) {
    world.bus.publish(Outgoing::observation(Lane::Normal, &seen("one", "Todo", id))).await.unwrap();
    assert_eq!(ids(&take(feed, 1).await), [id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topology_can_be_made_over_and_over() {
    let world = world(4).await;
    world.bus.ensure_topology().await.unwrap();
    let wider = bus::Config { partitions: 8, ..world.server.config() };
    let bus = Bus::connect(&wider, &world.process).await.unwrap();
    bus.ensure_topology().await.unwrap();
    assert!(bus.observations(8).await.is_err());
    assert!(bus.observations(7).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_would_lose_messages_change_nothing() {
    let world = world(4).await;
    let jetstream = async_nats::jetstream::new(async_nats::connect(world.server.url()).await.unwrap());
    let made = async || jetstream.get_stream("OBSERVATIONS").await.unwrap().cached_info().config.clone();
    let as_it_was = made().await;
    let with = async |change: fn(&mut bus::Config)| {
        let mut config = bus::Config { partitions: 4, ..world.server.config() };
        change(&mut config);
        Bus::connect(&config, &world.process).await.unwrap()
    };
    let smaller = with(|config| config.storage_mb = 64).await;
    let refused = smaller.ensure_topology().await.unwrap_err().to_string();
    assert!(refused.contains("nats.storage_mb is 64, and the streams have 256"), "{refused}");
    world.bus.publish_all(numbered(0..3)).await.unwrap();
    let fewer = with(|config| config.partitions = 2).await;
    let refused = fewer.ensure_topology().await.unwrap_err().to_string();
    assert!(refused.contains("nats.partitions is 2, and the streams have 4"), "{refused}");
    // An operator's command has what it needs.
    for other in [&smaller, &fewer] {
        other.complete_topology().await.unwrap();
    }
    assert_eq!(made().await, as_it_was);
    jetstream.delete_stream("LIVE").await.unwrap();
    fewer.complete_topology().await.unwrap();
    assert!(jetstream.get_stream("LIVE").await.is_ok(), "what is missing is made");

    for partition in 0..4 {
        let mut feed = world.bus.observations(partition).await.unwrap();
        let pending = world.bus.consumer_lag().await.unwrap();
        let here = format!("observe-{partition}-");
        if pending.iter().any(|lag| lag.consumer.starts_with(&here) && lag.pending + lag.ack_pending > 0) {
            let refused = fewer.ensure_topology().await.unwrap_err().to_string();
            assert!(refused.contains(&here), "{refused}");
            ack_all(take(&mut feed, 3).await).await.unwrap();
        }
    }
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while let Err(error) = fewer.ensure_topology().await {
        assert!(tokio::time::Instant::now() < deadline, "all is read: {error:#}");
    }
    let shrinking = with(|config| (config.storage_mb, config.may_shrink, config.partitions) = (64, true, 2)).await;
    shrinking.ensure_topology().await.unwrap();
    assert!(made().await.max_bytes < as_it_was.max_bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_would_read_is_not_taken() {
    let world = world(1).await;
    // As older releases made it.
    let jetstream = async_nats::jetstream::new(async_nats::connect(world.server.url()).await.unwrap());
    let mut config = jetstream.get_stream("OBSERVATIONS").await.unwrap().cached_info().config.clone();
    config.subjects = vec!["lockstep.observe.*.*.*.*".into(), "lockstep.delivery.*.*.*.*".into()];
    let transform = config.subject_transform.as_mut().unwrap();
    transform.destination.push_str(".{{wildcard(5)}}");
    jetstream.update_stream(config).await.unwrap();
    let mut feed = world.bus.observations(0).await.unwrap();
    world.bus.publish_all(numbered(0..2)).await.unwrap();
    world.bus.ensure_topology().await.unwrap();
    for lane in ["HIGH", "urgent"] {
        for what in ["observe", "delivery"] {
            let sent =
                jetstream.publish(format!("lockstep.{what}.{lane}.linear.issue.one"), "{}".into()).await.unwrap();
            assert!(sent.await.is_err(), "{what}.{lane} has no reader");
        }
    }
    for lane in Lane::ALL {
        let sent =
            jetstream.publish(format!("lockstep.delivery.{}.linear.issue.one", lane.as_str()), "{}".into()).await;
        sent.unwrap().await.unwrap();
    }
    assert_eq!(take(&mut feed, 6).await.len(), 6, "what was there, and all lanes");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_puts_the_partition_in_and_a_second_copy_vanishes() {
    let world = world(1).await;
    let message = Outgoing::observation(Lane::High, &seen("a b.c", "Todo", "same"));
    let first = world.bus.publish(message.clone()).await.unwrap();
    assert_eq!(world.bus.publish(message).await.unwrap(), first);
    let delivery = proto::v1::Delivery {
        id: "d".into(),
        record: "linear/issue/a b.c".into(),
        outcome: "applied".into(),
        ..proto::v1::Delivery::default()
    };
    world.bus.publish(Outgoing::delivery(&delivery).unwrap()).await.unwrap();

    let mut feed = world.bus.observations(0).await.unwrap();
    let read = take(&mut feed, 2).await;
    assert_eq!(read[0].subject, "lockstep.observe.0.high.linear.issue");
    assert_eq!(read[1].subject, "lockstep.delivery.0.high.linear.issue");
    assert_eq!((read[0].record(), read[1].record()), (Some(record("a b.c")), Some(record("a b.c"))));
    assert_eq!((read[0].lane, read[0].sequence, read[0].delivered), (Lane::High, 1, 1));
    assert!((world.process.now_ms() - read[0].published_at_ms).abs() < 60_000);
    let message: proto::v1::Observation = proto::decode(read[0].content_type(), &read[0].payload).unwrap();
    assert_eq!(proto::observation_from(message).unwrap(), seen("a b.c", "Todo", "same"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_lane_is_read_and_each_in_order() {
    let world = world(1).await;
    let mut messages = Vec::new();
    for lane in [Lane::Low, Lane::Normal, Lane::High, Lane::Critical] {
        let of_lane = |at| Outgoing::observation(lane, &seen("one", "Todo", &format!("{}-{at}", lane.as_str())));
        messages.extend((0..100).map(of_lane));
    }
    world.bus.publish_all(messages).await.unwrap();
    let mut feed = world.bus.observations(0).await.unwrap();
    let all = take(&mut feed, 400).await;
    for lane in Lane::ALL {
        let of_lane: Vec<u64> = all.iter().filter(|seen| seen.lane == lane).map(|seen| seen.sequence).collect();
        assert_eq!(of_lane.len(), 100);
        assert!(of_lane.is_sorted());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_reader_had_in_hand_comes_to_the_next_at_once_and_in_order() {
    let world = world(1).await;
    world.bus.publish_all(numbered(0..10)).await.unwrap();
    let mut first = world.bus.observations(0).await.unwrap();
    let mut in_hand = take(&mut first, 10).await;
    // 0 to 3 are done, and so are 6 and 7, out of order.
    let later = in_hand.split_off(6);
    ack_all(in_hand.into_iter().take(4).collect()).await.unwrap();
    later[0].ack().await.unwrap();
    later[1].ack().await.unwrap();
    world.bus.flush().await.unwrap();

    let mut second = world.bus.observations(0).await.unwrap();
    let again = take(&mut second, 6).await;
    assert_eq!(ids(&again), ["4", "5", "6", "7", "8", "9"]);
    let over = tokio::time::timeout(DEADLINE, async { while first.next_batch(10).await.is_ok() {} }).await;
    assert!(over.is_ok(), "the first reader learns that it was replaced");
    ack_all(again).await.unwrap();
    next_is(&world, &mut second, "10").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewound_feed_hands_out_again_what_is_not_acknowledged() {
    let world = world(1).await;
    world.bus.publish_all(numbered(0..5)).await.unwrap();
    let mut feed = world.bus.observations(0).await.unwrap();
    let read = take(&mut feed, 5).await;
    read[0].ack().await.unwrap();
    feed.rewind();
    let again = take(&mut feed, 4).await;
    assert_eq!(ids(&again), ["1", "2", "3", "4"]);
    ack_all(again).await.unwrap();
    next_is(&world, &mut feed, "5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_loses_doubles_and_reorders_nothing() {
    const COUNT: usize = 6_000;
    let mut world = world(1).await;
    let bus = world.bus.clone();
    let publisher = tokio::spawn(async move {
        for chunk in 0..COUNT as u64 / 500 {
            bus.publish_all(numbered(chunk * 500..(chunk + 1) * 500)).await.unwrap();
        }
    });
    let mut feed = world.bus.observations(0).await.unwrap();
    let mut tail = world.bus.tail(Stream::Observations, &[], Tail::Sequence(1)).await.unwrap();
    let (mut read, mut tailed) = (Vec::new(), Vec::new());
    let mut killed = 0;
    while read.len() < COUNT {
        let batch = batch(&mut feed, 200).await;
        read.extend(batch.iter().map(|message| (message.sequence, message.id().to_owned())));
        ack_all(batch).await.unwrap();
        if killed < 2 && read.len() > 1_500 * (killed + 1) {
            world.server.restart().unwrap();
            killed += 1;
        }
    }
    publisher.await.unwrap();
    while tailed.len() < COUNT {
        tailed.extend(batch(&mut tail, 500).await.iter().map(|message| (message.sequence, message.id().to_owned())));
    }
    assert_eq!(killed, 2);
    assert!(read.is_sorted_by(|a, b| a.0 < b.0), "in order, and none twice");
    assert_eq!(read.iter().map(|(_, id)| id).collect::<BTreeSet<_>>().len(), COUNT, "each id once");
    assert_eq!(read, tailed);

    // All is acknowledged: the next reader starts with what is new.
    next_is(&world, &mut feed, "last").await;
    drop(feed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_at_rest_hears_of_what_comes_after_a_restart() {
    let mut world = world(1).await;
    let mut feed = world.bus.observations(0).await.unwrap();
    let mut tail = world.bus.tail(Stream::Observations, &[], Tail::New).await.unwrap();
    let linear = System::new("linear").unwrap();
    let mut commands = world.bus.commands(&linear, 0).await.unwrap();
    world.server.restart().unwrap();
    world.bus.publish(Outgoing::observation(Lane::Normal, &seen("one", "Todo", "after"))).await.unwrap();
    world.bus.publish(Outgoing::command(&command("one", 1), 1)).await.unwrap();
    assert_eq!(ids(&take(&mut feed, 1).await), ["after"]);
    assert_eq!(ids(&take(&mut tail, 1).await), ["after"]);
    assert_eq!(take(&mut commands, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_newest_command_of_a_record_is_left() {
    let world = world(4).await;
    for version in 1..=5 {
        world.bus.publish(Outgoing::command(&command("one", version), 4)).await.unwrap();
    }
    let linear = System::new("linear").unwrap();
    let partition = topology::partition_of(&record("one"), 4);
    let mut feed = world.bus.commands(&linear, partition).await.unwrap();
    let read = take(&mut feed, 1).await;
    let message: proto::v1::Command = proto::decode(read[0].content_type(), &read[0].payload).unwrap();
    assert_eq!(message.version, 5);
    read[0].nak(Duration::from_millis(1)).await.unwrap();
    let again = take(&mut feed, 1).await;
    assert_eq!((again[0].sequence, again[0].delivered), (read[0].sequence, 2));
    again[0].ack().await.unwrap();
    assert_eq!(world.bus.stream_info(Stream::Commands).await.unwrap(), (1, 5), "an acknowledged command stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_begins_where_it_is_told_to() {
    let world = world(1).await;
    let live = |key: &str, id: &str| Outgoing::live("progress", key, id.into(), b"{}".to_vec());
    for (key, id) in [("a", "a1"), ("b", "b1"), ("a", "a2")] {
        world.bus.publish(live(key, id)).await.unwrap();
    }
    let subjects = vec![topology::live("progress", "a"), topology::live("progress", "b")];
    let mut last = world.bus.tail(Stream::Live, &subjects, Tail::LastPerSubject).await.unwrap();
    let mut second = world.bus.tail(Stream::Live, &[], Tail::Sequence(2)).await.unwrap();
    let mut new = world.bus.tail(Stream::Live, &subjects[..1], Tail::New).await.unwrap();
    for (key, id) in [("b", "b2"), ("a", "a3")] {
        world.bus.publish(live(key, id)).await.unwrap();
    }
    assert_eq!(ids(&take(&mut last, 4).await), ["b1", "a2", "b2", "a3"]);
    assert_eq!(ids(&take(&mut second, 4).await), ["b1", "a2", "b2", "a3"]);
    assert_eq!(ids(&take(&mut new, 1).await), ["a3"]);
    let found = world.bus.last_message(Stream::Live, &subjects[0]).await.unwrap().unwrap();
    assert_eq!((found.id(), found.sequence), ("a3", 5));
    assert!(world.bus.last_message(Stream::Live, "lockstep.live.progress.none").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_has_one_holder_and_passes_on_when_it_is_dropped() {
    let world = world(1).await;
    let first = world.bus.lease("observe.0", &world.process).await.unwrap();
    let (bus, process) = (world.bus.clone(), world.process.clone());
    let mut waiting = tokio::spawn(async move { bus.lease("observe.0", &process).await });
    let early = tokio::time::timeout(Duration::from_secs(8), &mut waiting).await;
    assert!(early.is_err(), "the lease is renewed for as long as it is held");
    assert!(!first.lost().is_cancelled());
    drop(first);
    let second = tokio::time::timeout(DEADLINE, waiting).await.unwrap().unwrap().unwrap();
    assert!(!second.lost().is_cancelled());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_cannot_be_renewed_is_lost() {
    let mut world = world(1).await;
    let lease = world.bus.lease("observe.0", &world.process).await.unwrap();
    world.server.kill();
    tokio::time::timeout(DEADLINE, lease.lost().cancelled()).await.expect("the holder learns of it");
    assert!(world.process.readiness()["nats"].is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_waited_for_through_an_outage() {
    let mut world = world(1).await;
    world.server.kill();
    let (bus, process) = (world.bus.clone(), world.process.clone());
    let mut waiting = tokio::spawn(async move { bus.lease("observe.0", &process).await });
    // Longer than a request waits for its answer.
    assert!(tokio::time::timeout(Duration::from_secs(12), &mut waiting).await.is_err(), "an outage is waited for");
    world.server.restart().unwrap();
    let lease = tokio::time::timeout(DEADLINE, waiting).await.unwrap().unwrap();
    assert!(lease.is_some_and(|lease| !lease.lost().is_cancelled()));
}

/// Leases lie in the server's memory: a disk that was full stops no one who reads, and a restart costs nobody a lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_outlives_a_restart_of_the_server_and_one_in_files_is_moved_to_memory() {
    let mut world = world(1).await;
    let client = async_nats::connect(world.server.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    jetstream.delete_key_value("LEASES").await.unwrap();
    let old = async_nats::jetstream::kv::Config { bucket: "LEASES".into(), ..Default::default() };
    jetstream.create_key_value(old).await.unwrap();
    world.bus.ensure_topology().await.unwrap();
    let kept = async || jetstream.get_stream("KV_LEASES").await.unwrap().get_info().await.unwrap().config.storage;
    assert_eq!(kept().await, async_nats::jetstream::stream::StorageType::Memory);

    let lease = world.bus.lease("observe.0", &world.process).await.unwrap();
    world.server.restart().unwrap();
    // Longer than a lease is believed that is not renewed.
    let lost = tokio::time::timeout(Duration::from_secs(8), lease.lost().cancelled()).await;
    assert!(lost.is_err(), "it was lost");
    let (bus, process) = (world.bus.clone(), world.process.clone());
    let other = tokio::spawn(async move { bus.lease("observe.0", &process).await });
    assert!(tokio::time::timeout(Duration::from_secs(3), other).await.is_err(), "it has one holder");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_hold_half_of_the_partitions_each_and_the_one_that_is_left_holds_all() {
    let world = world(4).await;
    let alone = world.bus.share("observations", &world.process).await.unwrap();
    let mut first = Vec::new();
    for partition in 0..4 {
        first.push(tokio::time::timeout(DEADLINE, alone.lease(partition)).await.unwrap().unwrap());
    }
    // The second is a process of its own, whose end leaves no sign of life.
    let other = Process::new("test", None);
    let bus = Bus::connect(&bus::Config { partitions: 4, ..world.server.config() }, &other).await.unwrap();
    let joined = bus.share("observations", &other).await.unwrap();
    for lease in &first[2..] {
        tokio::time::timeout(DEADLINE, lease.lost().cancelled()).await.expect("what is too much is asked back");
    }
    assert!(!first[0].lost().is_cancelled() && !first[1].lost().is_cancelled(), "its own half stays");
    first.truncate(2);
    let mut second = Vec::new();
    for partition in 2..4 {
        second.push(tokio::time::timeout(DEADLINE, joined.lease(partition)).await.unwrap().unwrap());
    }
    drop(second);
    other.shutdown().cancel();
    for partition in 2..4 {
        first.push(tokio::time::timeout(DEADLINE, alone.lease(partition)).await.unwrap().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_refuses_and_only_what_was_read_makes_room() {
    let server = Server::start().unwrap();
    let process = Process::new("test", None);
    let config = bus::Config { partitions: 1, publish_timeout_ms: 300, storage_mb: 64, ..server.config() };
    let bus = Bus::connect(&config, &process).await.unwrap();
    bus.ensure_topology().await.unwrap();
    let linear = System::new("linear").unwrap();
    let mut feed = bus.webhooks(&linear).await.unwrap();
    let webhook =
        |number: u32| Outgoing::webhook(&linear, &number.to_string(), "Issue", vec![], vec![b'x'; 500_000].into());
    let mut stored = 0;
    let refused = loop {
        match bus.publish(webhook(stored)).await {
            Ok(_) => stored += 1,
            Err(error) => break error.to_string(),
        }
    };
    // The monitor tells by these words that it is not the disk.
    assert!(refused.contains("maximum bytes exceeded"), "{refused}");
    assert!((15..21).contains(&stored), "{stored} half megabytes are stored in 15 % of 64 MB");
    assert_eq!(bus.make_room(Stream::Webhooks).await.unwrap(), 0, "nobody has read any");
    for message in take(&mut feed, 5).await {
        message.ack().await.unwrap();
    }
    bus.flush().await.unwrap();
    let mut gone = 0;
    // The server may need a moment for the acknowledgements.
    while gone == 0 {
        gone = bus.make_room(Stream::Webhooks).await.unwrap();
    }
    assert!(gone <= 5, "not more than was read: {gone}");
    assert!(bus.publish(webhook(stored)).await.is_ok(), "there is room again");
    let rest = take(&mut feed, usize::try_from(stored).unwrap() - 4).await;
    assert_eq!(rest.last().unwrap().id(), format!("w:linear:{stored}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_is_told_for_each_reader_without_its_generation() {
    let world = world(1).await;
    world.bus.publish_all(numbered(0..3)).await.unwrap();
    drop(world.bus.observations(0).await.unwrap());
    let mut feed = world.bus.observations(0).await.unwrap();
    take(&mut feed, 3).await[0].ack().await.unwrap();
    world.bus.flush().await.unwrap();
    let lags = world.bus.consumer_lag().await.unwrap();
    let normal = lags.iter().find(|lag| lag.consumer == "observe-0-normal").unwrap();
    assert_eq!((normal.stream, normal.pending), ("OBSERVATIONS", 0));
    assert!(normal.ack_pending >= 2, "{normal:?}");
    assert_eq!(lags.len(), 4, "{lags:?}");

    // As a process leaves it that dies before it reads, and before it takes away what was there.
    let jetstream = async_nats::jetstream::new(async_nats::connect(world.server.url()).await.unwrap());
    let stream = jetstream.get_stream("OBSERVATIONS").await.unwrap();
    let infos: Vec<_> = futures_util::TryStreamExt::try_collect(stream.consumers()).await.unwrap();
    let read = infos.into_iter().find(|info: &Info| info.name.starts_with("observe-0-normal")).unwrap();
    let name = Some("observe-0-normal-g99".to_owned());
    let left = pull::Config {
        durable_name: name.clone(),
        name,
        filter_subjects: read.config.filter_subjects,
        filter_subject: read.config.filter_subject,
        ..pull::Config::default()
    };
    stream.create_consumer(left).await.unwrap();
    let lags = world.bus.consumer_lag().await.unwrap();
    let normal = lags.iter().find(|lag| lag.consumer == "observe-0-normal").unwrap();
    assert_eq!(normal.pending, 0, "nobody reads by the other");
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_that_no_connector_ever_read_are_behind_too() {
    let world = world(1).await;
    let [linear, github] = ["linear", "github"].map(|name| System::new(name).unwrap());
    let webhook = |system: &System, id: &str| Outgoing::webhook(system, id, "Issue", vec![], "{}".into());
    for id in ["1", "2"] {
        world.bus.publish(webhook(&linear, id)).await.unwrap();
        world.bus.publish(webhook(&github, id)).await.unwrap();
    }
    drop(world.bus.webhooks(&linear).await.unwrap());
    let lags = world.bus.consumer_lag().await.unwrap();
    let told: BTreeSet<_> = lags.iter().map(|lag| (lag.stream, lag.consumer.as_str(), lag.acked)).collect();
    assert_eq!(told, [("WEBHOOKS", "webhooks-github", 0), ("WEBHOOKS", "webhooks-linear", 0)].into());
    assert!(lags.iter().all(|lag| lag.pending + lag.ack_pending == 2), "{lags:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_told_to_stop_says_so_and_one_that_fails_does_not() {
    let world = world(1).await;
    for fails in [false, true] {
        let mut heard = world.bus.listen("lockstep.heartbeat.>").await.unwrap();
        world.bus.flush().await.unwrap();
        let process = Process::new("resolver", None);
        world.bus.keep_announcing(&process);
        heard.next().await.unwrap();
        if fails {
            process.spawn("fails", std::future::ready(Err(anyhow::anyhow!("as it should"))));
        } else {
            process.shutdown().cancel();
        }
        assert_eq!(process.finished(DEADLINE).await.is_err(), fails);
        world.bus.announce(topology::heartbeat("end", "x"), "".into()).await.unwrap();
        let mut left = false;
        loop {
            let (subject, payload) = tokio::time::timeout(DEADLINE, heard.next()).await.expect("the end").unwrap();
            if subject.starts_with("lockstep.heartbeat.end.") {
                break;
            }
            left = proto::decode::<proto::v1::Heartbeat>(None, &payload).unwrap().leaving;
        }
        assert_eq!(left, !fails);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_and_announcements_arrive() {
    let world = world(1).await;
    assert_eq!(world.bus.cursor("linear.sweep").await.unwrap(), None);
    world.bus.store_cursor("linear.sweep", "42".into()).await.unwrap();
    assert_eq!(world.bus.cursor("linear.sweep").await.unwrap().unwrap(), "42");
    let mut heard = world.bus.listen("lockstep.heartbeat.>").await.unwrap();
    world.bus.flush().await.unwrap();
    world.bus.announce(topology::heartbeat("test", "a.b"), "here".into()).await.unwrap();
    let (subject, payload) = heard.next().await.unwrap();
    assert_eq!((subject.as_str(), &payload[..]), ("lockstep.heartbeat.test.a=2Eb", &b"here"[..]));
}

//! What a power cut leaves: a stream without its last messages, whose sequences are given once more.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

/// Reads and acknowledges five messages and then five more; the disk then has the first five, and all that was acknowledged.
async fn read_more_than_is_kept(world: &mut World, feed: &mut Feed) {
    publish_and_read(world, feed, 0..5).await;
    world.server.kill();
    copy(&messages(world), &saved(world));
    world.server.restart().unwrap();
    publish_and_read(world, feed, 5..10).await;
    world.bus.flush().await.unwrap();
}

async fn publish_and_read(world: &World, feed: &mut Feed, range: std::ops::Range<u64>) {
    let count = usize::try_from(range.end - range.start).unwrap();
    world.bus.publish_all(numbered(range)).await.unwrap();
    ack_all(take(feed, count).await).await.unwrap();
}

/// The power is cut, and comes back. Before any reader looks others publish more than was lost.
async fn cut_and_publish(world: &mut World, range: std::ops::Range<u64>) {
    world.server.kill();
    std::fs::remove_dir_all(messages(world)).unwrap();
    copy(&saved(world), &messages(world));
    {
        let elsewhere = Server::start_in(world.server.data().to_owned()).unwrap();
        let process = Process::new("test", None);
        let config = bus::Config { partitions: 1, ..elsewhere.config() };
        let bus = Bus::connect(&config, &process).await.unwrap();
        let sequence = bus.publish_all(numbered(range)).await.unwrap()[0];
        assert_eq!(sequence, 6, "sequences are given once more");
    }
    world.server.restart().unwrap();
}

fn messages(world: &World) -> PathBuf {
    world.server.data().join("jetstream/$G/streams/OBSERVATIONS/msgs")
}

fn saved(world: &World) -> PathBuf {
    world.server.data().join("saved")
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_on_reads_all_that_follows() {
    let mut world = world(1).await;
    let mut feed = world.bus.observations(0).await.unwrap();
    read_more_than_is_kept(&mut world, &mut feed).await;
    cut_and_publish(&mut world, 20..28).await;
    let mut read: Vec<Received> = Vec::new();
    while read.last().is_none_or(|last| last.id() != "27") {
        match tokio::time::timeout(DEADLINE, feed.next_batch(8)).await.unwrap() {
            Ok(batch) => read.extend(batch),
            Err(_) => feed = world.bus.observations(0).await.unwrap(),
        }
    }
    ends_with_what_followed(&read);
}

/// What was acknowledged may be lost as well: then what was read comes again before.
fn ends_with_what_followed(read: &[Received]) {
    let again = read.len() - 8;
    assert!(again <= 5);
    assert_eq!(ids(&read[again..]), ["20", "21", "22", "23", "24", "25", "26", "27"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_begins_to_read_reads_all_that_follows() {
    let mut world = world(1).await;
    let mut feed = world.bus.observations(0).await.unwrap();
    read_more_than_is_kept(&mut world, &mut feed).await;
    drop(feed);
    cut_and_publish(&mut world, 20..28).await;
    let mut feed = world.bus.observations(0).await.unwrap();
    let mut read = Vec::new();
    while read.last().is_none_or(|last: &Received| last.id() != "27") {
        read.extend(take(&mut feed, 1).await);
    }
    ends_with_what_followed(&read);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_looks_sees_all_that_follows_and_that_it_has_other_sequences() {
    let mut world = world(1).await;
    let mut tail = world.bus.tail(Stream::Observations, &[], Tail::New).await.unwrap();
    let mut feed = world.bus.observations(0).await.unwrap();
    read_more_than_is_kept(&mut world, &mut feed).await;
    drop(feed);
    assert_eq!(take(&mut tail, 10).await.last().unwrap().sequence, 10);
    let before = tail.stream_epoch().unwrap().to_owned();
    cut_and_publish(&mut world, 20..28).await;
    let read = take(&mut tail, 8).await;
    assert_eq!(ids(&read), ["20", "21", "22", "23", "24", "25", "26", "27"]);
    assert_ne!(tail.stream_epoch().unwrap(), before, "a position of the old life says nothing of the new one");
    let now = tail.stream_epoch().unwrap().to_owned();
    world.server.kill();
    world.server.restart().unwrap();
    world.bus.publish_all(numbered(30..31)).await.unwrap();
    assert_eq!(ids(&take(&mut tail, 1).await), ["30"]);
    assert_eq!(tail.stream_epoch().unwrap(), now, "another restart, which loses nothing, begins no other life");
}

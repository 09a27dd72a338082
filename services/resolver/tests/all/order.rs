//! What watchers hear of an item's versions when a resolver dies and another goes on.

use std::collections::BTreeSet;

use async_nats::jetstream;
use futures_util::TryStreamExt as _;

use model::Intent;

use super::*;

async fn stream(world: &World, stream: Stream) -> jetstream::stream::Stream {
    let client = async_nats::connect(world.server.url()).await.unwrap();
    jetstream::new(client).get_stream(stream.name()).await.unwrap()
}

/// The bus forgets all ids, as it does of those that are older than its window.
async fn forget_ids(world: &mut World) {
    let changes = stream(world, Stream::Changes).await;
    let mut config = changes.cached_info().config.clone();
    config.duplicate_window = Duration::from_millis(100);
    let client = async_nats::connect(world.server.url()).await.unwrap();
    jetstream::new(client).update_stream(config).await.unwrap();
    world.server.restart().unwrap();
}

async fn version(world: &mut World) -> u64 {
    world.change().await.version
}

/// A resolver that told of two versions of an item, and stopped.
async fn stopped_after_two_versions() -> World {
    let mut world = World::new().await;
    for (position, status) in [(1, "todo"), (2, "in_progress")] {
        world.see(&seen("tracker/issue/1", status, position)).await;
        assert_eq!(version(&mut world).await, position);
    }
    world.stop().await;
    world
}

/// The same, but killed: it did not come to note what it had published.
async fn killed_after_two_versions() -> World {
    let world = stopped_after_two_versions().await;
    forget_notes(&world).await;
    world
}

async fn forget_notes(world: &World) {
    let pool = sqlx::PgPool::connect(&world.database).await.unwrap();
    let noted = sqlx::query("delete from lockstep.lives").execute(&pool).await.unwrap();
    assert_ne!(noted.rows_affected(), 0);
}

/// The last changes are not on the bus any more.
async fn lose_the_last(world: &mut World, count: u64) {
    let changes = stream(world, Stream::Changes).await;
    let last = changes.cached_info().state.last_sequence;
    for sequence in last + 1 - count..=last {
        changes.delete_message(sequence).await.unwrap();
    }
    forget_ids(world).await;
}

/// None of the changes is on the bus any more.
pub(crate) async fn lose_all(world: &mut World) {
    stream(world, Stream::Changes).await.purge().await.unwrap();
    forget_ids(world).await;
}

/// All inputs of the lane `high` come again.
pub(crate) async fn forget_acknowledgements(world: &World) {
    let observations = stream(world, Stream::Observations).await;
    let readers: Vec<String> = observations.consumer_names().try_collect().await.unwrap();
    for reader in readers.iter().filter(|reader| reader.contains("-high-")) {
        observations.delete_consumer(reader).await.unwrap();
    }
}

/// What comes next of an item: kind and version.
async fn told(world: &mut World) -> (String, u64) {
    let change = world.change().await;
    (change.kind, change.version)
}

#[tokio::test]
async fn what_was_never_told_of_an_item_is_told_when_a_record_parts_from_it_and_comes_again() {
    let mut world = World::new().await;
    world.see(&owning(seen("tracker/issue/1", "todo", 1), "T-1")).await;
    // In a lane of its own: it does not come again.
    let beside = mentioning(seen("forge/issue/a/b#1", "open", 1), "T-1");
    world.bus.publish(Outgoing::observation(Lane::Low, &beside)).await.unwrap();
    world.eventually("T-1", |group| group.links.len() == 2).await;
    world.see(&seen("tracker/issue/1", "in_progress", 2)).await;
    while told(&mut world).await != ("status_changed".to_owned(), 2) {}
    world.stop().await;

    // It died before it told of the second version, and somebody parts the record before its input comes again.
    forget_notes(&world).await;
    lose_the_last(&mut world, 1).await;
    world.restart(policy_of(MAPPINGS, "")).await;
    let unlink = seen("tracker/issue/1", "-", 9);
    world.see(&Observation { intent: Intent::Unlink, source: Source::Api, position: None, ..unlink }).await;
    let (version, unlinked) = (("status_changed".to_owned(), 2), ("unlinked".to_owned(), 2));
    let mut before = BTreeSet::new();
    loop {
        match told(&mut world).await {
            one if one == unlinked => break,
            one => before.insert(one),
        };
    }
    assert!(before.contains(&version), "{before:?}");
    world.stop().await;

    // And so did this one: all inputs come again when the record is another item's.
    forget_notes(&world).await;
    forget_acknowledgements(&world).await;
    lose_all(&mut world).await;
    world.restart(policy_of(MAPPINGS, "")).await;
    world.see(&seen("tracker/issue/1", "in_review", 3)).await;
    let mut again = BTreeSet::new();
    while !again.contains(&version) || !again.contains(&unlinked) {
        again.insert(told(&mut world).await);
    }
}

#[tokio::test]
async fn what_a_resolver_committed_and_never_told_is_told_before_what_follows() {
    let mut world = killed_after_two_versions().await;
    // As if it had died between its commit and its publication.
    lose_the_last(&mut world, 1).await;
    world.restart(policy_of(MAPPINGS, "")).await;
    world.see(&seen("tracker/issue/1", "in_review", 3)).await;
    assert_eq!([version(&mut world).await, version(&mut world).await], [2, 3]);
    // From now on it knows what was told.
    world.see(&seen("tracker/issue/1", "done", 4)).await;
    assert_eq!(version(&mut world).await, 4);
}

#[tokio::test]
async fn a_stream_of_observations_that_is_made_anew_meanwhile_is_read_from_its_beginning() {
    let mut world = World::new().await;
    for (position, status) in [(1, "todo"), (2, "in_progress"), (3, "in_review")] {
        world.see(&owning(seen("tracker/issue/1", status, position), "T-1")).await;
        assert_eq!(version(&mut world).await, position);
    }
    let client = async_nats::connect(world.server.url()).await.unwrap();
    jetstream::new(client).delete_stream(Stream::Observations.name()).await.unwrap();
    // Whoever connects again makes what is missing.
    world.server.restart().unwrap();
    world.eventually("T-1", |group| group.item.version.0 == 3).await;
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while world.bus.stream_info(Stream::Observations).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "the stream is not made again");
    }
    world.see(&seen("tracker/issue/1", "done", 4)).await;
    world.eventually("T-1", |group| group.item.status.as_str() == "done").await;
}

#[tokio::test]
async fn what_was_told_is_not_told_again_when_inputs_come_again_after_the_bus_forgot_their_ids() {
    let mut world = stopped_after_two_versions().await;
    forget_acknowledgements(&world).await;
    forget_ids(&mut world).await;
    world.restart(policy_of(MAPPINGS, "")).await;
    world.see(&seen("tracker/issue/1", "in_review", 3)).await;
    assert_eq!(version(&mut world).await, 3);
}

#[tokio::test]
async fn a_stream_that_was_made_anew_is_not_told_what_is_older_than_itself() {
    let mut world = killed_after_two_versions().await;
    let client = async_nats::connect(world.server.url()).await.unwrap();
    jetstream::new(client).delete_stream(Stream::Changes.name()).await.unwrap();
    world.restart(policy_of(MAPPINGS, "")).await;
    world.see(&seen("tracker/issue/1", "in_review", 3)).await;
    assert_eq!(version(&mut world).await, 3);
}

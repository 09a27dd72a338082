//! What watchers hear of an item's versions when a resolver dies and another goes on.

use async_nats::jetstream;
use futures_util::TryStreamExt as _;

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
    let pool = sqlx::PgPool::connect(&world.database).await.unwrap();
    let noted = sqlx::query("delete from lockstep.lives").execute(&pool).await.unwrap();
    assert_eq!(noted.rows_affected(), 1);
    world
}

/// The last change is not on the bus any more.
async fn lose_the_last(world: &mut World) {
    let changes = stream(world, Stream::Changes).await;
    let last = changes.cached_info().state.last_sequence;
    changes.delete_message(last).await.unwrap();
    forget_ids(world).await;
}

#[tokio::test]
async fn what_a_resolver_committed_and_never_told_is_told_before_what_follows() {
    let mut world = killed_after_two_versions().await;
    // As if it had died between its commit and its publication.
    lose_the_last(&mut world).await;
    world.restart(policy_of(MAPPINGS, "")).await;
    world.see(&seen("tracker/issue/1", "in_review", 3)).await;
    assert_eq!([version(&mut world).await, version(&mut world).await], [2, 3]);
    // From now on it knows what was told.
    world.see(&seen("tracker/issue/1", "done", 4)).await;
    assert_eq!(version(&mut world).await, 4);
}

#[tokio::test]
async fn what_a_resolver_noted_as_published_is_not_looked_for() {
    let mut world = stopped_after_two_versions().await;
    lose_the_last(&mut world).await;
    world.restart(policy_of(MAPPINGS, "")).await;
    world.see(&seen("tracker/issue/1", "in_review", 3)).await;
    assert_eq!(version(&mut world).await, 3);
}

#[tokio::test]
async fn what_was_told_is_not_told_again_when_inputs_come_again_after_the_bus_forgot_their_ids() {
    let mut world = stopped_after_two_versions().await;
    // No acknowledgement is known any more.
    let observations = stream(&world, Stream::Observations).await;
    let readers: Vec<String> = observations.consumer_names().try_collect().await.unwrap();
    for reader in readers {
        observations.delete_consumer(&reader).await.unwrap();
    }
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

//! The system is brought back from an old copy.

use super::*;

/// A sweep saw one thing, and the next goes on from there.
async fn swept_at_noon() -> World {
    let fake = Fake::default();
    fake.page(&[("one", "open")], None, Some("noon"));
    let mut world = world(fake).await;
    world.observation().await;
    until_asked(&world, Some("noon")).await;
    world
}

/// Waits until the last sweep that was begun went on from there.
async fn until_asked(world: &World, cursor: Option<&str>) {
    let asked = async {
        for count in 1.. {
            world.fake.asked(count).await;
            if world.fake.sweeps().last().is_some_and(|(from, _)| from.as_deref() == cursor) {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, asked).await.expect("a sweep from there");
}

async fn stand(world: &World) -> serde_json::Value {
    serde_json::from_slice(&world.bus.cursor("stand/fake").await.unwrap().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_behind_where_it_stood_lets_the_sweeps_begin_anew_now_and_later() {
    let world = swept_at_noon().await;
    assert_eq!(stand(&world).await, serde_json::json!({"newest": ["fake/thing/one", 10], "again_at_ms": null}));
    world.fake.set("one", "open");
    until_asked(&world, None).await;
    let again_at_ms = stand(&world).await["again_at_ms"].as_i64().unwrap();
    assert!(again_at_ms > world.process.now_ms() + model::Link::OLD_COPY_MS);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_any_more_lets_the_sweeps_begin_anew() {
    let world = swept_at_noon().await;
    world.fake.fail(Part::Read, connector::Failure::gone("it was made after the copy"));
    until_asked(&world, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_read_once_more_when_its_time_has_come() {
    let world = swept_at_noon().await;
    world.bus.store_cursor("stand/fake", r#"{"newest": null, "again_at_ms": 1}"#.into()).await.unwrap();
    until_asked(&world, None).await;
    assert_eq!(stand(&world).await["again_at_ms"], serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_lets_the_sweeps_go_on() {
    let mut world = swept_at_noon().await;
    world.fake.page(&[("one", "closed")], None, Some("evening"));
    assert_eq!(world.observation().await.1.native, "closed");
    until_asked(&world, Some("evening")).await;
    assert!(world.fake.sweeps().iter().skip(1).all(|(from, _)| from.is_some()));
}

//! The system is brought back from an old copy.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;

/// These stand at position 10, and it is known that they do; sweeps go on from noon.
async fn standing(records: &[&str]) -> World {
    let world = world(Fake::default()).await;
    for record in records {
        world.fake.set_at(record, "open", 10);
    }
    world.bus.store_cursor("sweep/fake", json!("noon").to_string().into()).await.unwrap();
    until_asked(&world, Some("noon")).await;
    let furthest: BTreeMap<_, _> = records.iter().map(|record| (format!("fake/thing/{record}"), 10)).collect();
    keep(&world, &json!({"furthest": furthest})).await;
    world
}

async fn keep(world: &World, stand: &serde_json::Value) {
    world.bus.store_cursor("stand/fake", stand.to_string().into()).await.unwrap();
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

/// Waits until it is kept so where the system stands.
async fn until_kept(world: &World, right: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    let kept = async {
        loop {
            let stored = world.bus.cursor("stand/fake").await.unwrap();
            let stand = stored.map(|stored| serde_json::from_slice(&stored).unwrap());
            match stand.filter(&right) {
                Some(stand) => return stand,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(DEADLINE, kept).await.expect("so kept in time")
}

/// The next sweeps go on, whatever was done.
async fn goes_on(world: &World) {
    let so_far = world.fake.sweeps().len();
    tokio::time::timeout(DEADLINE, world.fake.asked(so_far + 2)).await.expect("sweeps in time");
    let asked = world.fake.sweeps();
    let from_noon = asked.iter().skip_while(|(from, _)| from.is_none());
    assert!(from_noon.clone().count() > 0 && from_noon.clone().all(|(from, _)| from.is_some()), "{asked:?}");
}

async fn goes_on_from(world: &World, cursor: &str) {
    let so_far = world.fake.sweeps().len();
    world.fake.asked(so_far + 2).await;
    assert!(world.fake.sweeps()[so_far..].iter().all(|(from, _)| from.as_deref() == Some(cursor)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_behind_where_it_stood_lets_the_sweeps_begin_anew_now_and_later() {
    let world = standing(&["one"]).await;
    world.fake.set("one", "open");
    until_asked(&world, None).await;
    let stand = until_kept(&world, |stand| stand["again_at_ms"] != json!([])).await;
    assert_eq!(stand["furthest"], json!({}), "what was furthest is so no more");
    let again_at_ms = stand["again_at_ms"][0].as_i64().unwrap();
    assert!(again_at_ms > world.process.now_ms() + model::Link::OLD_COPY_MS);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_is_noticed_once() {
    let world = standing(&["one"]).await;
    world.fake.set_at("two", "closed", 12);
    world.webhook("w1", "see two closed 12").await;
    until_kept(&world, |stand| stand["told_upto"].as_u64() > Some(0)).await;
    world.fake.set("one", "open");
    world.fake.set("two", "open");
    until_asked(&world, None).await;
    world.fake.asked(world.fake.sweeps().len() + 5).await;
    let stand = until_kept(&world, |stand| stand["again_at_ms"] != json!([])).await;
    assert_eq!(stand["again_at_ms"].as_array().unwrap().len(), 1, "what was told before is known to be untrue");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_edited_in_the_copy_hides_nothing_that_was_not() {
    let world = standing(&["one", "two"]).await;
    world.fake.set_at("one", "closed", 11);
    world.fake.set_at("two", "open", 9);
    until_asked(&world, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_webhook_told_and_no_sweep_sees_stands_behind() {
    let world = standing(&["one"]).await;
    world.fake.set_at("two", "open", 9);
    world.webhook("w1", "see two closed 12").await;
    until_asked(&world, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_edited_in_the_copy_meanwhile_hides_nothing_that_was_told_before() {
    let world = standing(&["one"]).await;
    world.fake.set_at("two", "open", 9);
    world.webhook("w1", "see two closed 12").await;
    for (id, body) in
        [("w2", "see a open 13"), ("w3", "see b open 14"), ("w4", "see c open 15"), ("w5", "see d open 16")]
    {
        let words: Vec<_> = body.split(' ').collect();
        world.fake.set_at(words[1], words[2], words[3].parse().unwrap());
        world.webhook(id, body).await;
    }
    until_asked(&world, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_webhook_told_and_is_so_lets_the_sweeps_go_on() {
    let world = standing(&["one"]).await;
    world.fake.set_at("two", "closed", 12);
    world.webhook("w1", "see two closed 12").await;
    until_kept(&world, |stand| stand["told_upto"].as_u64() > Some(0)).await;
    assert!(world.fake.read_count("two") > 0, "no sweep saw it, so it was looked at");
    goes_on(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_wrote_is_known_as_well() {
    let mut world = standing(&["one"]).await;
    world.send(&command("one", "closed", "open", 1)).await;
    assert_eq!(world.delivery().await.position, 11);
    world.fake.set_at("one", "open", 10);
    until_asked(&world, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_any_more_lets_the_sweeps_begin_anew() {
    let world = standing(&["one", "two"]).await;
    world.fake.set_at("two", "closed", 11);
    world.fake.remove("one");
    until_asked(&world, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_was_deleted_where_another_stands_as_it_stood() {
    let world = standing(&["one", "two"]).await;
    world.fake.remove("two");
    until_kept(&world, |stand| stand["furthest"] == json!({"fake/thing/one": 10})).await;
    goes_on(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_any_more_holds_up_no_sweep() {
    let world = standing(&["one"]).await;
    world.fake.fail(Part::Read, Failure::refused("forbidden", "not yours"));
    until_kept(&world, |stand| stand["furthest"] == json!({})).await;
    goes_on(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_holds_up_no_sweep_and_stays_known() {
    let world = standing(&["one"]).await;
    for _ in 0..100_000 {
        world.fake.fail(Part::Read, Failure::unavailable("502"));
    }
    goes_on(&world).await;
    until_kept(&world, |stand| stand["furthest"] == json!({"fake/thing/one": 10})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_has_ended_says_nothing_of_what_it_may_not_read() {
    let world = standing(&["one"]).await;
    world.fake.fail(Part::Read, Failure::refused("unauthorized", "the token was revoked"));
    world.fake.failed().await;
    goes_on(&world).await;
    until_kept(&world, |stand| stand["furthest"] == json!({"fake/thing/one": 10})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_read_once_more_whenever_its_time_has_come() {
    let world = standing(&["one"]).await;
    let far = i64::MAX;
    keep(&world, &json!({"furthest": {}, "again_at_ms": [1, far]})).await;
    until_asked(&world, None).await;
    until_kept(&world, |stand| stand["again_at_ms"] == json!([far])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sweeps_saw_is_known_and_lets_them_go_on() {
    let mut world = standing(&["one"]).await;
    world.fake.page(&[("one", "closed"), ("two", "closed")], None, Some("evening"));
    world.fake.set_at("one", "closed", 11);
    assert_eq!(world.observation().await.1.native, "closed");
    until_kept(&world, |stand| stand["furthest"].as_object().is_some_and(|known| known.len() == 2)).await;
    goes_on(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_another_scope_the_sweeps_begin_anew() {
    let world = standing(&["one"]).await;
    world.bus.store_cursor("scope/fake", json!(["elsewhere"]).to_string().into()).await.unwrap();
    until_asked(&world, None).await;
    world.fake.page(&[("one", "open")], None, Some("evening"));
    until_asked(&world, Some("evening")).await;
    goes_on_from(&world, "evening").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_begins_anew_tells_again_what_was_told_a_moment_ago() {
    let mut world = standing(&[]).await;
    world.fake.page(&[("one", "open")], None, Some("evening"));
    until_asked(&world, Some("evening")).await;
    world.fake.page(&[("one", "open")], None, Some("night"));
    until_asked(&world, Some("night")).await;
    world.bus.store_cursor("sweep/fake", "null".into()).await.unwrap();
    until_asked(&world, None).await;
    world.fake.page(&[("one", "open")], None, Some("morning"));
    until_asked(&world, Some("morning")).await;
    let (first, again) = (world.next().await, world.next().await);
    assert_eq!(first.id(), "fake/thing/one@10=open");
    assert!(
        again.id().starts_with("fake/thing/one@10=open~"),
        "the one of the night is a copy, this is none: {}",
        again.id()
    );
}

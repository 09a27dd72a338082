//! Webhooks that do not say enough, while the system turns calls away.

use super::*;

fn limited(retry_after: Duration) -> Failure {
    Failure::Limited { why: "the circuit is open".to_owned(), retry_after }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_must_wait_to_be_completed_hold_up_no_others() {
    let mut world = world(Fake::default()).await;
    world.fake.set("two", "open");
    for _ in 0..1_000 {
        world.fake.fail(Part::Read, limited(Duration::from_hours(1)));
    }
    for number in 0..2 * settings(3).concurrency {
        world.webhook(&format!("w{number}"), "read two").await;
    }
    world.webhook("complete", "see one open").await;
    assert_eq!(world.observation().await.1.record, "fake/thing/one");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_had_to_wait_is_completed_when_the_limit_is_over() {
    let mut world = world(Fake::default()).await;
    world.fake.set("two", "open");
    for _ in 0..=settings(3).backoff.attempts {
        world.fake.fail(Part::Read, limited(Duration::from_millis(20)));
    }
    world.webhook("w1", "read two").await;
    assert_eq!(world.observation().await.1.record, "fake/thing/two");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_is_published_whatever_becomes_of_what_is_shown_beside_it() {
    let mut world = world(Fake::default()).await;
    world.fake.set("two", "open");
    let failures = [Failure::unavailable("it answers 502"), limited(Duration::from_millis(20))];
    for failure in failures {
        world.fake.fail(Part::Keep, failure);
    }
    world.webhook("w1", "read two").await;
    assert_eq!(world.observation().await.1.record, "fake/thing/two");
    tokio::time::timeout(DEADLINE, world.fake.written()).await.expect("it is tried until it is done");
    assert_eq!(world.fake.writes(), ["two keeps it"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_beside_a_record_is_given_up_and_is_no_dead_letter() {
    let mut world = world(Fake::default()).await;
    world.fake.set("two", "open");
    for _ in 0..settings(3).backoff.attempts {
        world.fake.fail(Part::Keep, Failure::unavailable("it answers 502"));
    }
    world.webhook("w1", "read two").await;
    assert_eq!(world.observation().await.1.record, "fake/thing/two");
    tokio::time::timeout(DEADLINE, world.fake.failed_times(3)).await.expect("three attempts");
    world.webhook("w2", "read two").await;
    tokio::time::timeout(DEADLINE, world.fake.written()).await.expect("the next one keeps it");
    let taken = || world.process.metrics().webhooks_total.with_label_values(&["fake", "taken"]).get();
    let both = async {
        while taken() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, both).await.expect("both are done with");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_edit_is_told_with_who_made_it_and_what_the_record_shows_decides() {
    let mut world = world(Fake::default()).await;
    world.fake.set_at("two", "open", 5_000);
    world.webhook("w1", "late two closed 5000").await;
    let (edit, now) = (world.observation().await.1, world.observation().await.1);
    let name = edit.actor.map(|actor| actor.name);
    assert_eq!((edit.native.as_str(), edit.position, name.as_deref()), ("closed", 4_999, Some("ada")));
    assert_eq!((now.native.as_str(), now.position), ("open", 5_000));
    world.webhook("w2", "late three closed 5000").await;
    assert_eq!(world.observation().await.1.record, "fake/thing/three", "though it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_in_words_that_are_not_known_yet_is_told_when_they_are_learned() {
    let mut world = world(Fake::default()).await;
    world.fake.set("two", "open");
    for failure in [Failure::unavailable("it answers 502"), limited(Duration::from_millis(20))] {
        world.fake.fail(Part::Learn, failure);
    }
    world.webhook("w1", "word two closed").await;
    assert_eq!(world.observation().await.1.native, "closed", "what it said, and not what the record shows now");
    world.fake.fail(Part::Learn, Failure::refused("forbidden", "the team is not shown"));
    world.webhook("w2", "word two merged").await;
    assert_eq!(world.observation().await.1.native, "open", "what it shows now");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_page_shows_is_stored_before_anything_is_kept_beside_it() {
    let fake = Fake::default();
    fake.page(&[("one", "open")], None, Some("noon"));
    fake.keep("one", "open");
    fake.fail(Part::Keep, Failure::unavailable("it answers 502"));
    fake.page(&[("two", "open")], None, Some("evening"));
    fake.keep("two", "open");
    let mut world = world(fake).await;
    for record in ["fake/thing/one", "fake/thing/two"] {
        assert_eq!(world.observation().await.1.record, record);
    }
    tokio::time::timeout(DEADLINE, world.fake.written()).await.expect("it is kept beside the second");
    assert_eq!(world.fake.writes(), ["two keeps it"], "what failed is left to the next sweep");
}

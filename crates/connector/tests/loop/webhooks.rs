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

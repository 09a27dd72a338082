//! What a connector makes of commands that come late, and of a record that shows what one of them asked for.

use model::Earlier;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_slower_resolver_publishes_last_is_not_carried_out() {
    let mut world = world(Fake::default()).await;
    world.fake.set("one", "open");
    world.send(&command("one", "closed", "open", 6)).await;
    assert_eq!(world.delivery().await.outcome, "applied");
    world.send(&command("one", "open", "closed", 5)).await;
    let delivery = world.delivery().await;
    assert_eq!(
        (delivery.version, delivery.outcome.as_str(), delivery.reason.as_str()),
        (5, "overtaken", "older_command")
    );
    assert_eq!(world.fake.writes(), ["one=closed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_it_end_the_attempts_of_a_newer_one() {
    let mut world = world(Fake::default()).await;
    world.fake.set("one", "open");
    let limited = Failure::Limited { why: "hourly budget".into(), retry_after: Duration::from_secs(1) };
    world.fake.fail(Part::Write, limited);
    world.send(&command("one", "closed", "open", 6)).await;
    tokio::time::timeout(DEADLINE, world.fake.failed()).await.unwrap();
    world.send(&command("one", "done", "open", 5)).await;
    let (older, newer) = (world.delivery().await, world.delivery().await);
    assert_eq!((older.version, older.outcome.as_str(), older.reason.as_str()), (5, "overtaken", "older_command"));
    assert_eq!((newer.version, newer.outcome.as_str()), (6, "applied"));
}

/// `command`, after others that asked for `earlier`, sent because of observations that were stored before or after the start.
fn after(command: Command, earlier: &str, version: u64, since: u64) -> Command {
    let earlier = Earlier { version: Version(version), native: Native::new(earlier).unwrap(), since };
    Command { earlier: vec![earlier], ..command }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_did_is_not_taken_for_a_command_that_nobody_carried_out() {
    let mut world = world(Fake::default()).await;
    world.fake.set("one", "closed");
    world.send(&after(command("one", "done", "open", 3), "closed", 2, 1_000)).await;
    let (_, seen) = world.observation().await;
    assert_eq!((seen.native.as_str(), seen.origin.as_str()), ("closed", "other"));
    assert_eq!(world.delivery().await.outcome, "superseded");
    assert!(world.fake.writes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_command_may_have_written_is_written_over() {
    let mut world = world(Fake::default()).await;
    world.fake.set("one", "closed");
    // Sent before this process began to carry out commands: another one may have.
    world.send(&after(command("one", "done", "open", 3), "closed", 2, 0)).await;
    assert_eq!(world.delivery().await.outcome, "applied");
    // Carried out by this one.
    world.send(&command("one", "closed", "done", 4)).await;
    assert_eq!(world.delivery().await.outcome, "applied");
    world.send(&after(command("one", "open", "reopened", 5), "closed", 4, 1_000)).await;
    assert_eq!(world.delivery().await.outcome, "applied");
    assert_eq!(world.fake.writes(), ["one=done", "one=closed", "one=open"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_any_more_is_told_nothing_and_shown_nothing() {
    for mode in [CommandMode::Tell, CommandMode::Show] {
        let mut world = world(Fake::default()).await;
        world.fake.set("one", "(deleted)");
        world.send(&Command { mode, ..command("one", "closed", "open", 1) }).await;
        assert_eq!(world.observation().await.1.native, "(deleted)");
        assert_eq!(world.delivery().await.outcome, "superseded");
        assert!(world.fake.writes().is_empty());
    }
}

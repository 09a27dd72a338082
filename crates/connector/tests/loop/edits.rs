//! People edit records while we write them.

use model::Position;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_back_to_what_was_there_before_is_not_written_over_when_the_command_comes_again() {
    let mut world = world(Fake::default()).await;
    world.fake.set("one", "open");
    world.send(&command("one", "closed", "open", 1)).await;
    assert_eq!(world.delivery().await.position, 2);
    world.fake.set_at("one", "open", 3);
    world.send(&Command { cause: 2, ..command("one", "closed", "open", 1) }).await;
    let (_, seen) = world.observation().await;
    assert_eq!((seen.native.as_str(), seen.position, seen.origin.as_str()), ("open", 3, "other"));
    assert_eq!(world.delivery().await.outcome, "superseded");
    assert_eq!(world.fake.writes(), ["one=closed"]);
    // Who knows of it has it written over.
    world.send(&Command { position: Some(Position(3)), cause: 3, ..command("one", "closed", "open", 1) }).await;
    assert_eq!(world.delivery().await.outcome, "applied");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_record_shows_that_nobody_knows_of_is_told_when_a_status_is_shown_beside_it() {
    let mut world = world(Fake::default()).await;
    world.fake.set_at("one", "draft", 5);
    let show = Command { mode: CommandMode::Show, ..command("one", "closed", "open", 1) };
    world.send(&show).await;
    let (lane, seen) = world.observation().await;
    assert_eq!((lane, seen.native.as_str(), seen.position), (Lane::High, "draft", 5));
    assert_eq!(seen.id, "fake/thing/one@5=draft~1:1");
    assert_eq!(world.delivery().await.outcome, "applied");
    assert_eq!(world.fake.writes(), ["one shows done"]);
    for native in ["open", "closed"] {
        world.fake.set_at("one", native, 6);
        world.send(&Command { cause: world.fake.writes().len() as u64 + 1, ..show.clone() }).await;
        assert_eq!(world.delivery().await.native, native, "known, or what it should be: nobody need be told");
    }
}

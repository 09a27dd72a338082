//! Dead letters: what they keep, how they are found, and that a replay is as good as the first time.

use bus::{DeadLetter, Outgoing, Stream, topology};
use model::{Command, Lane, System};
use proto::v1;

use super::{command, record, seen, take, world};

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_keeps_the_message_and_says_why() {
    let world = world(1).await;
    world.bus.publish(Outgoing::observation(Lane::Normal, &seen("one", "Todo", "bad"))).await.unwrap();
    let mut feed = world.bus.observations(0).await.unwrap();
    let read = take(&mut feed, 1).await;
    let letter = DeadLetter::of(&read[0], "unmapped", "no mapping knows Todo: add it");
    for _ in 0..2 {
        world.bus.dead_letter(&world.process, letter.clone()).await.unwrap();
    }
    let dead = world.bus.last_message(Stream::DeadLetters, "lockstep.dead.test.unmapped").await.unwrap().unwrap();
    assert_eq!(dead.payload, read[0].payload);
    let published = topology::observe(Lane::Normal, &record("one"));
    assert_eq!(dead.header(bus::headers::SUBJECT), Some(published.as_str()), "though it is not stored under that");
    assert_eq!(dead.header(bus::headers::DETAIL), Some("no mapping knows Todo: add it"));
    assert_eq!(world.bus.stream_info(Stream::DeadLetters).await.unwrap(), (1, 1), "a second copy is the same letter");
}

fn all() -> bus::Filter {
    bus::Filter::default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_message_is_the_same_once_more_and_its_letter_is_gone() {
    let world = world(1).await;
    let message = Outgoing::observation(Lane::High, &seen("one", "Todo", "bad")).with_header("X-Any", "yes".into());
    world.bus.publish(message).await.unwrap();
    let mut feed = world.bus.observations(0).await.unwrap();
    let first = take(&mut feed, 1).await.remove(0);
    world.bus.dead_letter(&world.process, DeadLetter::of(&first, "malformed", "it says so").after(3)).await.unwrap();
    first.ack().await.unwrap();
    let letter = world.bus.letters(&all(), 1, 10).await.unwrap().remove(0);
    assert_eq!((letter.record().unwrap().to_string(), letter.attempts), ("linear/issue/one".into(), 3));

    // Within the time in which JetStream drops copies: under its first id it would vanish.
    assert_eq!(world.bus.replay(letter.sequence).await.unwrap(), bus::Replayed::Published);
    let again = take(&mut feed, 1).await.remove(0);
    assert_eq!((&again.subject, &again.payload, again.lane), (&first.subject, &first.payload, Lane::High));
    assert_eq!((again.id(), again.header("X-Any")), (first.id(), Some("yes")));
    assert_eq!((again.first_at_ms(), again.first_sequence()), (first.published_at_ms, Some(first.sequence)));
    assert_eq!(world.bus.letters(&all(), 1, 10).await.unwrap().len(), 0);
    assert_eq!(world.bus.replay(letter.sequence).await.unwrap(), bus::Replayed::Gone);

    // It dies again: a new letter, which remembers all of it.
    world.bus.dead_letter(&world.process, DeadLetter::of(&again, "malformed", "still")).await.unwrap();
    let second = world.bus.letters(&all(), 1, 10).await.unwrap().remove(0);
    assert_eq!((second.attempts, second.first_at_ms), (4, first.published_at_ms));
    assert_eq!((second.original_id.as_str(), second.headers.len()), (first.id(), letter.headers.len()));
    assert_eq!(world.bus.replay(second.sequence).await.unwrap(), bus::Replayed::Published);
    assert_eq!(
        take(&mut feed, 1).await[0].payload,
        first.payload,
        "and it is not taken for a copy of the first replay"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_was_interrupted_and_repeated_publishes_once() {
    let world = world(1).await;
    world.bus.publish(Outgoing::observation(Lane::High, &seen("one", "Todo", "bad"))).await.unwrap();
    let mut feed = world.bus.observations(0).await.unwrap();
    let first = take(&mut feed, 1).await.remove(0);
    world.bus.dead_letter(&world.process, DeadLetter::of(&first, "malformed", "x")).await.unwrap();
    // As after a crash between publishing and taking the letter away: the letter is there again, under its number.
    let jetstream = async_nats::jetstream::new(async_nats::connect(world.server.url()).await.unwrap());
    let letter = world.bus.letters(&all(), 1, 10).await.unwrap().remove(0);
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", format!("replay:{}:{}", letter.sequence, letter.last_at_ms).as_str());
    let published = topology::published(&letter.subject, None);
    jetstream.publish_with_headers(published, headers, first.payload.clone()).await.unwrap().await.unwrap();
    assert_eq!(world.bus.replay(letter.sequence).await.unwrap(), bus::Replayed::Published);
    assert_eq!(world.bus.stream_info(Stream::Observations).await.unwrap().0, 2, "the message, and one replay of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_command_never_takes_the_place_of_a_newer_one() {
    let world = world(1).await;
    let system = System::new("linear").unwrap();
    let mut feed = world.bus.commands(&system, 0).await.unwrap();
    let mut letters = vec![];
    for (id, version) in [("one", 1), ("two", 1), ("three", 1), ("one", 2)] {
        let command = Command { item: record(id).own_item(), ..command(id, version) };
        world.bus.publish(Outgoing::command(&command, 1)).await.unwrap();
        let read = take(&mut feed, 1).await.remove(0);
        if version == 1 {
            world.bus.dead_letter(&world.process, DeadLetter::of(&read, "gone", "x")).await.unwrap();
            letters.push(world.bus.stream_info(Stream::DeadLetters).await.unwrap().1);
        }
        read.ack().await.unwrap();
    }
    // The item of the third got a newer version, though its record was sent no command.
    let change = v1::Change {
        id: "c".into(),
        item: record("three").own_item().to_string(),
        lifecycle: "work".into(),
        version: 2,
        ..v1::Change::default()
    };
    world.bus.publish(Outgoing::change(&change).unwrap()).await.unwrap();
    assert_eq!(world.bus.replay(letters[0]).await.unwrap(), bus::Replayed::Overtaken);
    assert_eq!(world.bus.replay(letters[1]).await.unwrap(), bus::Replayed::Published);
    assert_eq!(world.bus.replay(letters[2]).await.unwrap(), bus::Replayed::Overtaken);
    let again = take(&mut feed, 1).await.remove(0);
    let said: v1::Command = proto::decode(None, &again.payload).unwrap();
    assert_eq!((said.record.as_str(), said.version), ("linear/issue/two", 1));
    let one = world.bus.last_message(Stream::Commands, "lockstep.command.linear.0.issue/one").await.unwrap().unwrap();
    let said: v1::Command = proto::decode(None, &one.payload).unwrap();
    assert_eq!(said.version, 2, "the newest command is still the one that counts");
    assert_eq!(world.bus.stream_info(Stream::DeadLetters).await.unwrap().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_found_by_what_they_are_about_and_taken_away_one_by_one() {
    let world = world(1).await;
    for number in 0..30 {
        world
            .bus
            .publish(Outgoing::observation(Lane::High, &seen(&format!("i{number}"), "Todo", &number.to_string())))
            .await
            .unwrap();
    }
    let mut feed = world.bus.observations(0).await.unwrap();
    for (place, message) in take(&mut feed, 30).await.iter().enumerate() {
        let reason = if place % 3 == 0 { "undecodable" } else { "malformed" };
        world.bus.dead_letter(&world.process, DeadLetter::of(message, reason, "x")).await.unwrap();
    }
    let count = async |filter: &bus::Filter| world.bus.letters(filter, 1, 100).await.unwrap().len();
    let some = |word: &str| Some(word.to_owned());
    assert_eq!(count(&all()).await, 30);
    assert_eq!(count(&bus::Filter { reason: some("undecodable"), ..all() }).await, 10);
    assert_eq!(count(&bus::Filter { service: some("other"), ..all() }).await, 0);
    assert_eq!(count(&bus::Filter { system: some("github"), ..all() }).await, 0);
    assert_eq!(count(&bus::Filter { system: some("linear"), ..all() }).await, 30);
    assert_eq!(count(&bus::Filter { record: some("linear/issue/i7"), ..all() }).await, 1);
    assert_eq!(count(&bus::Filter { since_ms: Some(world.process.now_ms() + 60_000), ..all() }).await, 0);
    let second = world.bus.letters(&all(), 1, 2).await.unwrap()[1].sequence;
    assert!(world.bus.discard(second).await.unwrap());
    assert!(!world.bus.discard(second).await.unwrap(), "it was not there any more");
    assert_eq!(world.bus.letters(&all(), second, 100).await.unwrap().len(), 28);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_leaves_no_room_for_a_letter_is_cut_there_and_replayed_whole() {
    let world = world(1).await;
    let system = System::new("github").unwrap();
    // Just what the server takes: 1 MiB with the headers.
    let body = vec![b'x'; 1024 * 1024 - 400];
    world.bus.publish(Outgoing::webhook(&system, "large", "push", vec![], body.clone().into())).await.unwrap();
    let mut feed = world.bus.webhooks(&system).await.unwrap();
    let first = take(&mut feed, 1).await.remove(0);
    let letter = DeadLetter::of(&first, "malformed", "é".repeat(3_000));
    world.bus.dead_letter(&world.process, letter).await.unwrap();
    first.ack().await.unwrap();
    let letter = world.bus.letter(1).await.unwrap().unwrap();
    assert_eq!(letter.cut, Some(body.len()));
    assert!(letter.payload.len() > 1_000_000 && letter.payload.len() < body.len());
    assert_eq!(world.bus.replay(1).await.unwrap(), bus::Replayed::Published);
    assert_eq!(take(&mut feed, 1).await[0].payload, body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bus_would_not_take_has_a_letter_of_its_own_each() {
    let world = world(1).await;
    for version in [1, 2] {
        let change = v1::Change {
            id: format!("item:{version}"),
            item: record("one").own_item().to_string(),
            lifecycle: "work".into(),
            title: "x".repeat(1024 * 1024),
            ..v1::Change::default()
        };
        let message = Outgoing::change(&change).unwrap();
        let refused = world.bus.publish(message.clone()).await.unwrap_err();
        assert!(matches!(refused, bus::PublishError::TooLarge { .. }), "{refused}");
        let letter = DeadLetter::unsent(&message, "too_large", refused.to_string(), 7);
        world.bus.dead_letter(&world.process, letter).await.unwrap();
    }
    let letters = world.bus.letters(&all(), 1, 10).await.unwrap();
    let told: Vec<_> = letters.iter().map(|letter| letter.original_id.as_str()).collect();
    assert_eq!(told, ["item:1", "item:2"]);
    let refused = world.bus.replay(letters[0].sequence).await.unwrap_err();
    assert!(refused.to_string().contains("no longer has it"), "{refused:#}");
    assert_eq!(world.bus.letters(&all(), 1, 10).await.unwrap().len(), 2, "what is not replayed stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_nobody_can_read_is_replayed_as_well() {
    let world = world(1).await;
    let mut feed = world.bus.observations(0).await.unwrap();
    let json = vec![("Content-Type".into(), "application/json".to_owned())];
    let cases = [
        (json, r#"{"record": "linear/issue/a b", "native": 7}"#, Some(record("a b"))),
        (vec![], "\u{7}no message", None),
    ];
    for (headers, payload, about) in cases {
        let subject = topology::observe(Lane::High, &record("a b"));
        let sent = Outgoing { headers, ..Outgoing::new(subject, payload.to_owned(), payload.as_bytes().to_vec()) };
        world.bus.publish(sent).await.unwrap();
        let read = take(&mut feed, 1).await.remove(0);
        world.bus.dead_letter(&world.process, DeadLetter::of(&read, "undecodable", "x")).await.unwrap();
        let letter = world.bus.letters(&all(), 1, 10).await.unwrap().remove(0);
        assert_eq!((letter.record(), letter.system()), (about, System::new("linear").ok()));
        assert_eq!(world.bus.replay(letter.sequence).await.unwrap(), bus::Replayed::Published);
        let again = take(&mut feed, 1).await.remove(0);
        assert_eq!((again.payload, again.lane), (read.payload.clone(), Lane::High));
    }
}

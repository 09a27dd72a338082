//! The loop, run with a small connector over a real nats-server.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

#[path = "loop/backfill.rs"]
mod backfill;
#[path = "loop/changes.rs"]
mod changes;
#[path = "loop/edits.rs"]
mod edits;
#[path = "loop/fake.rs"]
mod fake;
#[path = "loop/old_copy.rs"]
mod old_copy;
#[path = "loop/order.rs"]
mod order;
#[path = "loop/place.rs"]
mod place;
#[path = "loop/webhooks.rs"]
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use bus::testing::Server;
use bus::{Bus, Feed, Outgoing, Received, Stream, Tail, topology};
use connector::{Failure, Settings};
use fake::{Fake, Part, record};
use model::{Backoff, Command, CommandMode, Lane, Native, RecordRef, Status, System, Version};
use proto::v1;
use runtime::Process;

const DEADLINE: Duration = Duration::from_secs(40);

struct World {
    server: Server,
    process: Process,
    bus: Bus,
    fake: Arc<Fake>,
    tail: Feed,
}

fn settings(attempts: u32) -> Settings {
    Settings { backoff: Backoff { first_ms: 5, max_ms: 20, attempts }, ..Settings::default() }
}

async fn world(fake: Fake) -> World {
    world_with(fake, settings(3)).await
}

async fn world_with(fake: Fake, settings: Settings) -> World {
    let server = Server::start().unwrap();
    let process = Process::new("connector-fake", None);
    let bus = Bus::connect(&bus::Config { partitions: 1, ..server.config() }, &process).await.unwrap();
    bus.ensure_topology().await.unwrap();
    let tail = bus.tail(Stream::Observations, &[], Tail::New).await.unwrap();
    let fake = connector::run(fake, settings, process.clone(), bus.clone()).await.unwrap();
    World { server, process, bus, fake, tail }
}

impl World {
    async fn next(&mut self) -> Received {
        tokio::time::timeout(DEADLINE, self.tail.next()).await.expect("something in time").unwrap()
    }

    async fn delivery(&mut self) -> v1::Delivery {
        let message = self.next().await;
        assert!(message.subject.starts_with("lockstep.delivery."), "{}", message.subject);
        proto::decode(message.content_type(), &message.payload).unwrap()
    }

    async fn observation(&mut self) -> (Lane, v1::Observation) {
        let message = self.next().await;
        assert!(message.subject.starts_with("lockstep.observe."), "{}", message.subject);
        (message.lane, proto::decode(message.content_type(), &message.payload).unwrap())
    }

    /// Sends a command that a person waits for.
    async fn send(&self, command: &Command) {
        self.send_in(Lane::High, command).await;
    }

    async fn send_in(&self, lane: Lane, command: &Command) {
        self.bus.publish(Outgoing::command(command, 1).in_lane(lane)).await.unwrap();
    }

    async fn webhook(&self, id: &str, body: &'static str) {
        let system = System::new("fake").unwrap();
        let message = Outgoing::webhook(&system, id, "changed", vec![("X-Fake", "yes".into())], body.into());
        self.bus.publish(message).await.unwrap();
    }

    async fn dead(&self, reason: &str) -> Received {
        let subject = topology::dead("connector-fake", reason);
        let mut feed = self.bus.tail(Stream::DeadLetters, &[subject], Tail::Sequence(1)).await.unwrap();
        tokio::time::timeout(DEADLINE, feed.next()).await.expect("a dead letter in time").unwrap()
    }
}

fn command(id: &str, native: &str, expects: &str, version: u64) -> Command {
    let record: RecordRef = record(id);
    Command {
        item: record.own_item(),
        record,
        version: Version(version),
        status: Status::new("done").unwrap(),
        previous: None,
        native: Native::new(native).unwrap(),
        mode: CommandMode::Tell,
        expects: vec![Native::new(expects).unwrap()],
        earlier: vec![],
        position: None,
        key: None,
        cause: version,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_written_once_and_reported_with_what_the_record_shows() {
    let mut world = world(Fake::default()).await;
    world.fake.set("one", "open");
    world.send(&command("one", "closed", "open", 1)).await;
    let delivery = world.delivery().await;
    assert_eq!((delivery.outcome.as_str(), delivery.native.as_str(), delivery.attempts), ("applied", "closed", 1));
    assert_eq!(delivery.position, 2);
    assert_eq!(delivery.id, "d:fake/thing/one:1:1:applied:2");
    assert_eq!(world.fake.writes(), ["one=closed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_system_is_named_before_it_ever_answered() {
    let world = world(Fake::default()).await;
    assert_eq!(world.process.last_success().get("fake"), Some(&0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_record_shows_the_target_writes_nothing() {
    let mut world = world(Fake::default()).await;
    world.fake.set("one", "closed");
    world.send(&command("one", "closed", "open", 1)).await;
    assert_eq!(world.delivery().await.outcome, "unchanged");
    assert!(world.fake.writes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_edit_meanwhile_is_published_and_nothing_is_written() {
    let mut world = world(Fake::default()).await;
    world.fake.set("one", "reopened");
    world.send(&command("one", "closed", "open", 1)).await;
    let (lane, seen) = world.observation().await;
    assert_eq!((lane, seen.native.as_str()), (Lane::High, "reopened"));
    let delivery = world.delivery().await;
    assert_eq!((delivery.outcome.as_str(), delivery.reason.as_str()), ("superseded", "edited_meanwhile"));
    assert!(world.fake.writes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_told_is_shown() {
    let mut world = world(Fake::default()).await;
    world.fake.set("one", "open");
    world.send(&Command { mode: CommandMode::Show, ..command("one", "closed", "open", 1) }).await;
    let delivery = world.delivery().await;
    assert_eq!(
        (delivery.outcome.as_str(), delivery.mode.as_str(), delivery.status.as_str()),
        ("applied", "show", "done")
    );
    assert_eq!(world.fake.writes(), ["one shows done"]);
}

#[test]
fn a_crash_between_write_and_report_reports_unchanged() {
    let server = Server::start().unwrap();
    let config = bus::Config { partitions: 1, ..server.config() };
    // A runtime of its own is a process that can be ended without a chance to say anything.
    let doomed = tokio::runtime::Runtime::new().unwrap();
    let fake = doomed.block_on(async {
        let process = Process::new("connector-fake", None);
        let bus = Bus::connect(&config, &process).await.unwrap();
        bus.ensure_topology().await.unwrap();
        let fake = Fake::default();
        fake.set("one", "open");
        fake.stick_after_write();
        let fake = connector::run(fake, settings(3), process, bus.clone()).await.unwrap();
        bus.publish(Outgoing::command(&command("one", "closed", "open", 1), 1)).await.unwrap();
        tokio::time::timeout(DEADLINE, fake.written()).await.unwrap();
        fake
    });
    doomed.shutdown_background();

    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let process = Process::new("connector-fake", None);
        let bus = Bus::connect(&config, &process).await.unwrap();
        let tail = bus.tail(Stream::Observations, &[], Tail::Sequence(1)).await.unwrap();
        let successor = connector::run(fake.successor(), settings(3), process.clone(), bus.clone()).await.unwrap();
        let mut world = World { server, process, bus, fake: successor, tail };
        assert_eq!(world.delivery().await.outcome, "unchanged");
        assert_eq!(world.fake.writes(), ["one=closed"]);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_answer_is_not_an_attempt() {
    let mut world = world(Fake::default()).await;
    world.fake.set("one", "open");
    for _ in 0..10 {
        let limited = Failure::Limited { why: "hourly budget".into(), retry_after: Duration::from_millis(1) };
        world.fake.fail(Part::Write, limited);
    }
    world.send(&command("one", "closed", "open", 1)).await;
    let delivery = world.delivery().await;
    assert_eq!((delivery.outcome.as_str(), delivery.attempts), ("applied", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unavailable_is_tried_again_and_given_up_after_the_last_attempt() {
    let mut world = world(Fake::default()).await;
    world.fake.set("one", "open");
    world.fake.fail(Part::Read, Failure::unavailable("503"));
    world.fake.fail(Part::Write, Failure::unavailable("503"));
    world.send(&command("one", "closed", "open", 1)).await;
    let delivery = world.delivery().await;
    assert_eq!((delivery.outcome.as_str(), delivery.attempts), ("applied", 3));

    (0..3).for_each(|_| world.fake.fail(Part::Read, Failure::unavailable("502")));
    world.send(&command("one", "open", "closed", 2)).await;
    let delivery = world.delivery().await;
    assert_eq!((delivery.outcome.as_str(), delivery.attempts), ("failed", 3));
    let letter = world.dead("attempts_exhausted").await;
    assert_eq!(letter.header(bus::headers::ATTEMPTS), Some("3"));
    assert!(letter.header(bus::headers::DETAIL).unwrap().contains("502"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_reported_at_once_and_kept_for_an_operator() {
    let mut world = world(Fake::default()).await;
    world.fake.set("one", "open");
    world.fake.fail(Part::Write, Failure::refused("forbidden", "the token may not write"));
    world.send(&command("one", "closed", "open", 1)).await;
    let delivery = world.delivery().await;
    assert_eq!((delivery.outcome.as_str(), delivery.attempts), ("rejected", 1));
    assert_eq!(delivery.reason, "refused: the token may not write");
    let letter = world.dead("forbidden").await;
    let command: v1::Command = proto::decode(None, &letter.payload).unwrap();
    assert_eq!(command.record, "fake/thing/one");
    world.send(&command_of_a_lost_record()).await;
    assert_eq!(world.delivery().await.outcome, "rejected");
    world.dead("gone").await;
}

fn command_of_a_lost_record() -> Command {
    command("lost", "closed", "open", 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_command_ends_the_wait_of_an_older_one() {
    let mut world = world(Fake::default()).await;
    world.fake.set("one", "open");
    let long = Failure::Limited { why: "hourly budget".into(), retry_after: Duration::from_hours(1) };
    world.fake.fail(Part::Read, long);
    world.send(&command("one", "closed", "open", 1)).await;
    tokio::time::timeout(DEADLINE, world.fake.failed()).await.unwrap();
    world.send(&command("one", "done", "open", 2)).await;
    let (older, newer) = (world.delivery().await, world.delivery().await);
    assert_eq!((older.version, older.outcome.as_str(), older.reason.as_str()), (1, "overtaken", "newer_command"));
    assert_eq!((newer.version, newer.outcome.as_str()), (2, "applied"));
    assert_eq!(world.fake.writes(), ["one=done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_worked_on_at_once_but_never_one_record_twice() {
    let mut world = world(Fake::default()).await;
    for id in 0..40 {
        world.fake.set(&id.to_string(), "open");
    }
    world.fake.hold_writes();
    for id in 0..40 {
        world.send(&command(&id.to_string(), "closed", "open", 1)).await;
    }
    tokio::time::timeout(DEADLINE, world.fake.writing(16)).await.expect("sixteen at once");
    for id in 0..40 {
        world.send(&command(&id.to_string(), "open", "closed", 2)).await;
    }
    world.fake.release_writes();
    let mut second = 0;
    while second < 40 {
        second += u64::from(world.delivery().await.version == 2);
    }
    assert_eq!(world.fake.overlaps(), (16, 0), "at most sixteen records, and no record twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_edit_does_not_wait_for_a_sweeps_repairs() {
    let mut world = world(Fake::default()).await;
    for id in 0..40 {
        world.fake.set(&id.to_string(), "open");
    }
    world.fake.hold_writes();
    for id in 0..30 {
        world.send_in(Lane::Low, &command(&id.to_string(), "closed", "open", 1)).await;
    }
    tokio::time::timeout(DEADLINE, world.fake.writing(8)).await.expect("half of the places");
    // The repairs have begun and cannot end: a system at its limit.
    world.send(&command("39", "closed", "open", 1)).await;
    tokio::time::timeout(DEADLINE, world.fake.writing(9)).await.expect("a place that was kept for it");
    assert!(world.fake.is_writing("39"));
    world.fake.release_writes();
    for _ in 0..31 {
        assert_eq!(world.delivery().await.outcome, "applied");
    }
    assert_eq!(world.fake.overlaps().1, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_more_urgent_command_of_a_record_makes_it_more_urgent() {
    let mut world = world(Fake::default()).await;
    for id in 0..40 {
        world.fake.set(&id.to_string(), "open");
    }
    world.fake.hold_writes();
    for id in 0..30 {
        world.send_in(Lane::Low, &command(&id.to_string(), "closed", "open", 1)).await;
    }
    tokio::time::timeout(DEADLINE, world.fake.writing(8)).await.expect("half of the places");
    world.send(&command("29", "closed", "open", 2)).await;
    tokio::time::timeout(DEADLINE, world.fake.writing(9)).await.expect("a place that was kept for it");
    assert!(world.fake.is_writing("29"));
    world.fake.release_writes();
    let mut applied = std::collections::BTreeMap::new();
    while applied.len() < 30 {
        let delivery = world.delivery().await;
        if delivery.outcome == "applied" {
            assert_eq!(applied.insert(delivery.record, delivery.version), None, "each record is written once");
        }
    }
    assert_eq!(applied["fake/thing/29"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_become_observations_and_bad_ones_dead_letters() {
    let mut world = world(Fake::default()).await;
    world.fake.set("two", "draft");
    world.webhook("w1", "see one open").await;
    let (lane, seen) = world.observation().await;
    assert_eq!((lane, seen.record.as_str(), seen.native.as_str()), (Lane::High, "fake/thing/one", "open"));
    world.webhook("w2", "ignore").await;
    world.webhook("w3", "read two").await;
    assert_eq!(world.observation().await.1.native, "draft", "an incomplete webhook is completed by reading");
    world.webhook("w4", "read lost").await;
    world.webhook("w5", "nonsense").await;
    let letter = world.dead("malformed").await;
    assert_eq!(&letter.payload[..], b"nonsense");
    let webhook = world.fake.last_webhook().unwrap();
    assert_eq!((webhook.id.as_str(), webhook.event.as_str()), ("w5", "changed"));
    assert_eq!(webhook.headers["x-fake"], "yes");
    assert_eq!(world.bus.stream_info(Stream::DeadLetters).await.unwrap().0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_webhook_reaches_the_decoder_as_it_did_the_first_time() {
    let mut world = world(Fake::default()).await;
    world.webhook("w1", "nonsense").await;
    let letter = world.dead("malformed").await;
    let first = world.fake.last_webhook().unwrap();
    world.webhook("w2", "see one open").await;
    world.observation().await;
    assert_eq!(world.bus.replay(letter.sequence).await.unwrap(), bus::Replayed::Published);
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while world.bus.letters(&bus::Filter::default(), letter.sequence + 1, 1).await.unwrap().is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "it is still nonsense, and must be given up again");
    }
    let mut again = world.fake.last_webhook().unwrap();
    // What the replay itself adds is none of the decoder's concern.
    again.headers.retain(|name, _| !name.starts_with("nats-") && !name.starts_with("lockstep-"));
    let mut plain = first.clone();
    plain.headers.retain(|name, _| !name.starts_with("nats-") && !name.starts_with("lockstep-"));
    assert_eq!(again, plain);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_publishes_its_pages_and_goes_on_from_its_cursor() {
    let fake = Fake::default();
    fake.page(&[("one", "open")], Some("second"), None);
    fake.fail(Part::Sweep, Failure::unavailable("503"));
    fake.page(&[("two", "open")], None, Some("noon"));
    fake.page(&[("one", "closed")], None, Some("evening"));
    let mut world = world(fake).await;
    for (record, native) in [("one", "open"), ("two", "open"), ("one", "closed")] {
        let (lane, seen) = world.observation().await;
        assert_eq!((lane, seen.record, seen.native), (Lane::Low, format!("fake/thing/{record}"), native.to_owned()));
    }
    tokio::time::timeout(DEADLINE, world.fake.asked(5)).await.unwrap();
    let asked = world.fake.sweeps();
    let asked: Vec<_> = asked.iter().map(|(cursor, next)| (cursor.as_deref(), next.as_deref())).collect();
    let retried = [(None, Some("second")), (None, Some("second"))];
    assert_eq!(asked[0], (None, None));
    assert!(asked[1..3] == retried || asked[0..2] == [(None, None), (None, None)], "{asked:?}");
    assert_eq!(asked[3..5], [(Some("noon"), None), (Some("evening"), None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sweep_cannot_read_is_one_dead_letter_however_often_it_is_met() {
    let fake = Fake::default();
    for cursor in ["morning", "noon", "evening"] {
        fake.page(&[("one", "open")], None, Some(cursor));
        fake.unreadable("broken");
    }
    let mut world = world(fake).await;
    assert_eq!(world.observation().await.1.native, "open");
    tokio::time::timeout(DEADLINE, world.fake.asked(4)).await.unwrap();
    assert_eq!(world.dead("malformed").await.header("Lockstep-Attempts"), Some("1"));
    let counted = world.process.metrics().dead_letters_total.with_label_values(&["connector-fake", "malformed"]);
    assert_eq!(counted.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_webhooks_are_asked_for_again_with_what_the_last_time_left() {
    let fake = Fake::default();
    fake.fail(Part::Redeliver, Failure::refused("forbidden", "not your hooks"));
    let world = world(fake).await;
    let asked = tokio::time::timeout(DEADLINE, world.fake.asked_again(6)).await.unwrap();
    assert_eq!(asked[..6], [0, 0, 1, 2, 3, 4], "the first was refused");
    let counted = world.process.metrics().webhooks_total.with_label_values(&["fake", "asked_again"]);
    assert_eq!(counted.get(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_breaks_begins_again() {
    let fake = Fake::default();
    fake.stream(&["one=open", "!", "one=closed"]);
    let mut world = world(fake).await;
    assert_eq!(world.observation().await.1.native, "open");
    assert_eq!(world.observation().await.1.native, "closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_goes_on_as_soon_as_the_bus_is_back() {
    let backoff = Backoff { first_ms: 3_600_000, max_ms: 3_600_000, attempts: 3 };
    let mut world = world_with(Fake::default(), Settings { backoff, ..Settings::default() }).await;
    world.server.kill();
    world.fake.stream(&["one=open"]);
    tokio::time::timeout(DEADLINE, world.fake.failed()).await.expect("the bus does not take it");
    world.server.restart().unwrap();
    world.fake.stream(&["two=closed"]);
    // What the bus did not acknowledge may have been on its way.
    while world.observation().await.1.record != "fake/thing/two" {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_finishes_what_is_in_hand() {
    let mut world = world(Fake::default()).await;
    world.fake.set("one", "open");
    world.fake.hold_writes();
    world.send(&command("one", "closed", "open", 1)).await;
    tokio::time::timeout(DEADLINE, world.fake.writing(1)).await.unwrap();
    world.process.shutdown().cancel();
    world.fake.release_writes();
    assert_eq!(world.delivery().await.outcome, "applied");
    world.process.finished(DEADLINE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_delays_and_loses_nothing() {
    let mut world = world_with(Fake::default(), settings(50)).await;
    for id in 0..50 {
        world.fake.set(&id.to_string(), "open");
    }
    for id in 0..50 {
        world.send(&command(&id.to_string(), "closed", "open", 1)).await;
        if id == 25 {
            world.server.restart().unwrap();
        }
    }
    let mut reported = std::collections::BTreeSet::new();
    while reported.len() < 50 {
        reported.insert(world.delivery().await.record);
    }
    let writes = world.fake.writes();
    assert_eq!(writes.len(), 50, "each record is written once");
}

//! Records are told of the changes of their items.

use super::*;

/// A change of the item of `of`, which names `records`, from `from` to `to`.
fn change(of: &str, version: u64, records: &[&str], [from, to]: [&str; 2]) -> v1::Change {
    v1::Change {
        id: format!("{of}:{version}"),
        item: record(of).own_item().to_string(),
        version,
        lifecycle: "work".into(),
        from: from.into(),
        to: to.into(),
        records: records.iter().map(|&record| record.to_owned()).collect(),
        ..v1::Change::default()
    }
}

const MOVES: [&str; 2] = ["todo", "done"];
const STAYS: [&str; 2] = ["done", "done"];

fn busy() -> Failure {
    Failure::Busy { why: "at work".into(), retry_after: Duration::from_millis(1) }
}

fn out_of_reach() -> Failure {
    Failure::Limited { why: "calls are held back".into(), retry_after: Duration::from_millis(1) }
}

impl World {
    async fn change(&self, change: v1::Change) {
        self.bus.publish(Outgoing::change(&change).unwrap()).await.unwrap();
    }

    async fn told(&self, count: usize) -> Vec<String> {
        let told = tokio::time::timeout(DEADLINE, self.fake.told_of(count)).await;
        assert!(told.is_ok(), "told: {:?}", self.fake.changes());
        self.fake.changes()
    }

    async fn unheard(&self, id: &str, count: u64) {
        tokio::time::timeout(DEADLINE, self.fake.unheard(id, count)).await.expect("attempts in time");
    }

    /// Until so many changes are not acknowledged, and none is still to come.
    async fn unacknowledged(&self, count: u64) {
        let is_so = |lag: &bus::Lag| lag.stream == "CHANGES" && lag.pending == 0 && lag.ack_pending == count;
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let lag = self.bus.consumer_lag().await.unwrap();
            if lag.iter().any(is_so) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{lag:?}");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_with_the_records_of_this_system() {
    let world = world(Fake::default()).await;
    world.fake.fail(Part::Change, Failure::unavailable("503"));
    world.change(change("one", 1, &["linear/issue/1"], MOVES)).await;
    world.change(change("one", 2, &["linear/issue/1", "fake/thing/one"], MOVES)).await;
    assert_eq!(world.told(1).await, ["2 fake/thing/one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_change_is_only_for_the_one_that_did_not_take_it() {
    let world = world(Fake::default()).await;
    for (version, service) in [(1, "connector-other"), (2, "connector-fake")] {
        let message = Outgoing::change(&change("one", version, &["fake/thing/one"], MOVES)).unwrap();
        world.bus.publish(message.with_header(bus::headers::ONLY_FOR, service.into())).await.unwrap();
    }
    assert_eq!(world.told(1).await, ["2 fake/thing/one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_out_of_reach_or_busy_holds_up_nobody_else() {
    let world = world(Fake::default()).await;
    world.fake.deafen("gone", Some(out_of_reach()));
    world.fake.deafen("busy", Some(busy()));
    for (id, name) in [("gone", "fake/thing/gone"), ("busy", "fake/thing/busy"), ("one", "fake/thing/one")] {
        world.change(change(id, 1, &[name], MOVES)).await;
    }
    assert_eq!(world.told(1).await, ["1 fake/thing/one"]);
    world.unacknowledged(2).await;
    // More often than there are attempts.
    world.unheard("gone", 10).await;
    world.unheard("busy", 10).await;
    world.fake.deafen("busy", None);
    assert_eq!(world.told(2).await[1..], ["1 fake/thing/busy"]);
    world.unacknowledged(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_done_when_all_its_records_are_told() {
    let world = world(Fake::default()).await;
    world.fake.deafen("busy", Some(busy()));
    world.change(change("one", 1, &["fake/thing/busy", "fake/thing/one"], MOVES)).await;
    world.change(change("one", 2, &["fake/thing/busy", "fake/thing/one"], STAYS)).await;
    assert_eq!(world.told(2).await, ["1 fake/thing/one", "2 fake/thing/one"], "in order");
    world.unheard("busy", 2).await;
    world.unacknowledged(2).await;
    world.fake.deafen("busy", None);
    assert_eq!(world.told(4).await[2..], ["1 fake/thing/busy", "2 fake/thing/busy"], "in order");
    world.unacknowledged(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_busy_record_waits_for_ends_when_its_item_moves_on() {
    let world = world(Fake::default()).await;
    world.fake.deafen("busy", Some(busy()));
    world.change(change("one", 1, &["fake/thing/busy"], MOVES)).await;
    world.unheard("busy", 1).await;
    let own =
        v1::Change { record: "fake/thing/busy".into(), ..change("one", 2, &["fake/thing/busy"], ["done", "todo"]) };
    world.change(own).await;
    world.change(change("two", 1, &["fake/thing/busy"], MOVES)).await;
    world.unacknowledged(3).await;
    world.change(change("one", 3, &["fake/thing/busy"], ["todo", "canceled"])).await;
    world.unacknowledged(2).await;
    world.fake.deafen("busy", None);
    assert_eq!(world.told(2).await, ["1 fake/thing/busy", "3 fake/thing/busy"], "of the other item, and the newest");
    world.unacknowledged(0).await;
    assert_eq!(world.bus.stream_info(Stream::DeadLetters).await.unwrap().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_is_told_what_was_waited_for() {
    let world = world(Fake::default()).await;
    world.fake.deafen("busy", Some(busy()));
    world.change(change("one", 1, &["fake/thing/busy"], MOVES)).await;
    world.unheard("busy", 1).await;
    world.process.shutdown().cancel();
    world.process.finished(DEADLINE).await.unwrap();
    let process = Process::new("connector-fake", None);
    let bus = Bus::connect(&bus::Config { partitions: 1, ..world.server.config() }, &process).await.unwrap();
    let successor = connector::run(Fake::default(), settings(3), process, bus).await.unwrap();
    tokio::time::timeout(DEADLINE, successor.told()).await.expect("told in time");
    assert_eq!(successor.changes(), ["1 fake/thing/busy"]);
}

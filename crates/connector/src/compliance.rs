//! The suite that every connector passes: it runs the connector's own loop over a real nats-server, and looks only at what
//! goes over the bus and at what the system shows. Needs the feature `testing`.
//!
//! ```ignore
//! #[tokio::test(flavor = "multi_thread")]
//! async fn complies() {
//!     connector::compliance::check(&World::start().await).await;
//! }
//! ```

use std::future::ready;
use std::time::Duration;

use bus::testing::Server;
use bus::{Bus, Feed, Outgoing, Stream, Tail};
use model::{Command, CommandMode, Native, Observation, RecordRef, Status, System, Version};
use proto::v1;
use runtime::Process;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::{Connector, Registration, Webhook};

/// How a system can be made to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misbehave {
    /// Not at all.
    No,
    /// The next call is turned away because of a limit, for at most a second.
    LimitOnce,
    /// The next call is answered with a 503.
    FailOnce,
    /// Every write is refused for good (403 or the like).
    RefuseWrites,
    /// Webhooks and streams tell nothing.
    TellNothing,
}

/// A system that a connector can be tried on: a sandbox, mostly.
pub trait World: Sync {
    /// The connector.
    type Connector: Connector;
    /// Its registration.
    fn registration(&self) -> Registration;
    /// Its section of the configuration, for this world. The sweep should be as often as it can be.
    fn section(&self) -> Value;
    /// Two statuses that a record can be moved between, by people and by the connector; the first is that of a new record. One
    /// and the same where a record cannot be told anything.
    fn statuses(&self) -> [Native; 2];
    /// Whether it can be made to misbehave like this.
    fn can(&self, misbehave: Misbehave) -> bool;
    /// Makes a record.
    fn make(&self) -> impl Future<Output = RecordRef> + Send;
    /// Edits it as a person does.
    fn edit(&self, record: &RecordRef, native: &Native) -> impl Future<Output = ()> + Send;
    /// What it shows.
    fn shows(&self, record: &RecordRef) -> impl Future<Output = Native> + Send;
    /// How often the connector has written a record's status.
    fn writes(&self, record: &RecordRef) -> impl Future<Output = u64> + Send;
    /// The webhooks that the system has sent since it was last asked; none where it has none.
    fn webhooks(&self) -> impl Future<Output = Vec<Webhook>> + Send;
    /// Fails from now on whenever it is asked for this record, and for no other; `false` where it cannot be made to.
    fn break_reads(&self, record: &RecordRef) -> impl Future<Output = bool> + Send {
        let _ = record;
        ready(false)
    }
    /// Misbehaves from now on.
    fn misbehave(&self, how: Misbehave) -> impl Future<Output = ()> + Send;
}

/// Within this everything that should happen happens.
const DEADLINE: Duration = Duration::from_secs(30);

/// Runs the suite. Panics with what did not hold.
pub async fn check<W: World>(world: &W) {
    let mut trial = Trial::begin(world).await;
    trial.an_edit_is_seen_as_it_happens().await;
    if W::Connector::HAS_SWEEP && world.can(Misbehave::TellNothing) {
        trial.an_edit_that_nobody_told_of_is_seen_by_the_sweep().await;
        trial.a_record_that_cannot_be_read_hides_no_other().await;
    }
    if W::Connector::HAS_COMMANDS && world.statuses()[0] != world.statuses()[1] {
        trial.a_write_lands_once_and_a_second_command_writes_nothing().await;
        trial.an_edit_is_not_overwritten().await;
        for how in [Misbehave::LimitOnce, Misbehave::FailOnce] {
            if world.can(how) {
                trial.a_write_lands_in_spite_of(how).await;
            }
        }
        if world.can(Misbehave::RefuseWrites) {
            trial.a_refusal_is_reported().await;
        }
    }
    trial.end().await;
}

struct Trial<'a, W> {
    world: &'a W,
    process: Process,
    bus: Bus,
    seen: Feed,
    version: u64,
    _server: Server,
}

impl<'a, W: World> Trial<'a, W> {
    async fn begin(world: &'a W) -> Self {
        let server = Server::start().expect("a nats-server starts");
        let registration = world.registration();
        let process = Process::new(registration.name, None);
        let bus = Bus::connect(&bus::Config { partitions: 2, ..server.config() }, &process).await.expect("it answers");
        bus.ensure_topology().await.expect("it takes the topology");
        let seen = bus.tail(Stream::Observations, &[], Tail::New).await.expect("observations can be read");
        (registration.check)(&world.section()).expect("the section is right");
        let started = (registration.run)(world.section(), process.clone(), bus.clone()).await;
        started.expect("the connector starts");
        Self { world, process, bus, seen, version: 0, _server: server }
    }

    async fn end(self) {
        self.process.shutdown().cancel();
        self.process.finished(DEADLINE).await.expect("the connector ends as it should");
    }

    async fn an_edit_is_seen_as_it_happens(&mut self) {
        let [_, other] = self.world.statuses();
        let record = self.world.make().await;
        self.world.edit(&record, &other).await;
        let webhooks = self.world.webhooks().await;
        // A system sends the same webhook twice, and the bus's own copies do not count as two.
        for _ in 0..2 {
            self.forward(&webhooks).await;
        }
        let first = self.observation(&record, &other).await;
        assert!(!first.id.is_empty(), "an observation has an id");
        if W::Connector::HAS_WEBHOOKS {
            assert!(!webhooks.is_empty(), "the system sends webhooks");
            let again: Vec<_> = webhooks
                .iter()
                .map(|webhook| Webhook { id: format!("{}-again", webhook.id), ..webhook.clone() })
                .collect();
            self.forward(&again).await;
            self.nothing_new(&record, &first).await;
        }
    }

    async fn an_edit_that_nobody_told_of_is_seen_by_the_sweep(&mut self) {
        let [_, other] = self.world.statuses();
        self.world.misbehave(Misbehave::TellNothing).await;
        let record = self.world.make().await;
        self.world.edit(&record, &other).await;
        self.observation(&record, &other).await;
        self.world.misbehave(Misbehave::No).await;
        self.world.webhooks().await;
    }

    async fn a_record_that_cannot_be_read_hides_no_other(&mut self) {
        let [_, other] = self.world.statuses();
        self.world.misbehave(Misbehave::TellNothing).await;
        let broken = self.world.make().await;
        if self.world.break_reads(&broken).await {
            self.world.edit(&broken, &other).await;
            let record = self.world.make().await;
            self.world.edit(&record, &other).await;
            self.observation(&record, &other).await;
        }
        self.world.misbehave(Misbehave::No).await;
        self.world.webhooks().await;
    }

    async fn a_write_lands_once_and_a_second_command_writes_nothing(&mut self) {
        let [first, other] = self.world.statuses();
        let record = self.world.make().await;
        let delivery = self.deliver(&record, &other, &first).await;
        assert_eq!((delivery.outcome.as_str(), delivery.native.as_str()), ("applied", other.as_str()));
        assert_eq!(self.world.shows(&record).await, other);
        assert_eq!(self.world.writes(&record).await, 1);
        let delivery = self.deliver(&record, &other, &first).await;
        assert_eq!(delivery.outcome, "unchanged", "{}", delivery.reason);
        assert_eq!(self.world.writes(&record).await, 1, "what is there already is not written");
    }

    async fn an_edit_is_not_overwritten(&mut self) {
        let [first, other] = self.world.statuses();
        let record = self.world.make().await;
        self.world.edit(&record, &other).await;
        // The command knows of neither status that the record has had.
        let unknown = Native::new("a status of long ago").expect("a status");
        let delivery = self.deliver(&record, &first, &unknown).await;
        assert_eq!(delivery.outcome, "superseded");
        assert_eq!(self.world.shows(&record).await, other);
        assert_eq!(self.world.writes(&record).await, 0);
        self.observation(&record, &other).await;
    }

    async fn a_write_lands_in_spite_of(&mut self, how: Misbehave) {
        let [first, other] = self.world.statuses();
        let record = self.world.make().await;
        self.world.misbehave(how).await;
        let delivery = self.deliver(&record, &other, &first).await;
        self.world.misbehave(Misbehave::No).await;
        assert!(matches!(delivery.outcome.as_str(), "applied" | "unchanged"), "{how:?}: {}", delivery.reason);
        assert_eq!(self.world.shows(&record).await, other);
        if how == Misbehave::LimitOnce {
            assert_eq!(delivery.attempts, 1, "a limit is not an attempt");
        }
    }

    async fn a_refusal_is_reported(&mut self) {
        let [first, other] = self.world.statuses();
        let record = self.world.make().await;
        self.world.misbehave(Misbehave::RefuseWrites).await;
        let delivery = self.deliver(&record, &other, &first).await;
        self.world.misbehave(Misbehave::No).await;
        assert_eq!(delivery.outcome, "rejected");
        assert!(!delivery.reason.is_empty(), "a refusal says why");
        assert_eq!(self.world.shows(&record).await, first);
    }

    async fn forward(&self, webhooks: &[Webhook]) {
        let system = System::new(W::Connector::SYSTEM).expect("a system's name");
        for webhook in webhooks {
            let mut message = Outgoing::webhook(&system, &webhook.id, &webhook.event, Vec::new(), webhook.body.clone());
            for (name, value) in &webhook.headers {
                // Names of headers are few; a test may keep them for as long as it runs.
                message = message.with_header(name.clone(), value.clone());
            }
            self.bus.publish(message).await.expect("a webhook is stored");
        }
    }

    /// Sends a command and waits for its delivery.
    async fn deliver(&mut self, record: &RecordRef, native: &Native, expects: &Native) -> v1::Delivery {
        self.version += 1;
        let status = |name| Status::new(name).expect("a status");
        let command = Command {
            record: record.clone(),
            item: record.own_item(),
            version: Version(self.version),
            status: status("in_progress"),
            previous: Some(status("todo")),
            native: native.clone(),
            mode: CommandMode::Tell,
            expects: vec![expects.clone()],
            earlier: vec![],
            position: None,
            key: None,
            cause: self.version,
        };
        self.bus.publish(Outgoing::command(&command, self.bus.partitions())).await.expect("a command is stored");
        let deadline = Instant::now() + DEADLINE;
        loop {
            let message = timeout_at(deadline, self.seen.next()).await;
            let message = message.unwrap_or_else(|_| panic!("no delivery for {record}")).expect("it reads on");
            if message.subject.starts_with("lockstep.delivery.") {
                let delivery: v1::Delivery = proto::decode(None, &message.payload).expect("a delivery");
                if delivery.record == record.to_string() && delivery.version == self.version {
                    return delivery;
                }
            }
        }
    }

    /// Waits for an observation of this. It may have been published before.
    async fn observation(&mut self, record: &RecordRef, native: &Native) -> Observation {
        let subject = "lockstep.observe.>".to_owned();
        let mut feed = self.bus.tail(Stream::Observations, &[subject], Tail::Sequence(1)).await.expect("it reads");
        let deadline = Instant::now() + DEADLINE;
        loop {
            let message = timeout_at(deadline, feed.next()).await;
            let message =
                message.unwrap_or_else(|_| panic!("{record} was not seen to show {native}")).expect("it reads");
            if message.record().as_ref() != Some(record) {
                continue;
            }
            let seen: v1::Observation = proto::decode(None, &message.payload).expect("an observation");
            assert!(is_of(&message, &seen.id), "an observation's id is its message's id, not {}", message.id());
            let seen = proto::observation_from(seen).expect("a good observation");
            if seen.native == *native {
                return seen;
            }
        }
    }

    /// The last observation of a record.
    async fn last_of(&self, record: &RecordRef) -> bus::Received {
        let (_, last) = self.bus.stream_info(Stream::Observations).await.expect("the stream is there");
        for sequence in (1..=last).rev() {
            let message = self.bus.peek(Stream::Observations, sequence).await.expect("it reads");
            if let Some(message) = message
                && message.subject.starts_with("lockstep.observe.")
                && message.record().as_ref() == Some(record)
            {
                return message;
            }
        }
        panic!("{record} was not seen");
    }

    /// What came twice from the system is on the bus once. The webhook feed is empty when everything has been taken.
    async fn nothing_new(&self, record: &RecordRef, first: &Observation) {
        let deadline = Instant::now() + DEADLINE;
        let reader = format!("webhooks-{}", W::Connector::SYSTEM);
        loop {
            let lags = self.bus.consumer_lag().await.expect("lag can be asked for");
            let lag = lags.iter().find(|lag| lag.consumer == reader).expect("webhooks are read");
            if lag.pending + lag.ack_pending == 0 {
                break;
            }
            assert!(Instant::now() < deadline, "webhooks are not taken: {lag:?}");
            tokio::task::yield_now().await;
        }
        let last = self.last_of(record).await;
        assert!(is_of(&last, &first.id), "the same thing seen twice has the same id, not {}", last.id());
    }
}

/// Whether a message tells of what has this id. One of a sweep that looks at everything again has a mark of its own behind it.
fn is_of(message: &bus::Received, id: &str) -> bool {
    message.id().strip_prefix(id).is_some_and(|mark| mark.is_empty() || mark.starts_with('~'))
}

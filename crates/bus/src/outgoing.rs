//! A message before it is published: where to, under which id, with what.

use std::borrow::Cow;

use bytes::Bytes;
use model::{Command, ItemId, Lane, LifecycleName, NameError, Observation, RecordRef, System};
use proto::v1;
use uuid::Uuid;

use crate::topology;

/// The names of our headers.
pub mod headers {
    /// The event of a webhook, where the system names it beside the body.
    pub const EVENT: &str = "Lockstep-Event";
    /// Why a message is a dead letter: a word.
    pub const REASON: &str = "Lockstep-Reason";
    /// Why, as a sentence.
    pub const DETAIL: &str = "Lockstep-Detail";
    /// The subject that it was on.
    pub const SUBJECT: &str = "Lockstep-Subject";
    /// Its sequence there.
    pub const SEQUENCE: &str = "Lockstep-Sequence";
    /// How often it was tried; on a message that was replayed, how often before that.
    pub const ATTEMPTS: &str = "Lockstep-Attempts";
    /// When it was published for the first time, in milliseconds since 1970.
    pub const FIRST_AT: &str = "Lockstep-First-At";
    /// When it was given up, in milliseconds since 1970.
    pub const LAST_AT: &str = "Lockstep-Last-At";
    /// The service that gave it up.
    pub const SERVICE: &str = "Lockstep-Service";
    /// On a dead letter: what stands before the name of each of the message's own headers.
    pub const ORIGINAL: &str = "Lockstep-Original-";
    /// On a dead letter whose message leaves no room for what stands beside it: how long the message was.
    pub const CUT: &str = "Lockstep-Cut";
    /// On a message that was replayed: the sequence of its dead letter.
    pub const REPLAY_OF: &str = "Lockstep-Replay-Of";
    /// On a message that was replayed: the id under which it was published for the first time.
    pub const ORIGINAL_ID: &str = "Lockstep-Original-Id";
    /// On a message that was replayed: its sequence when it came for the first time.
    pub const ORIGINAL_SEQUENCE: &str = "Lockstep-Original-Sequence";
    /// On a message that was replayed where many read: the one service that it is for.
    pub const ONLY_FOR: &str = "Lockstep-Only-For";
    /// What the last sequence on the subject must be, or JetStream refuses the message.
    pub(crate) const EXPECTED_LAST: &str = "Nats-Expected-Last-Subject-Sequence";
    /// The lane of a command: its subject is the record's alone, so that the newest takes the place of the others.
    pub const LANE: &str = "Lockstep-Lane";
    /// The id under which the message was published; JetStream drops a second one.
    pub const ID: &str = "Nats-Msg-Id";
    /// `application/json` for the JSON form; none for protobuf.
    pub const CONTENT_TYPE: &str = "Content-Type";
}

/// A message to publish. The current span's trace context is added when it is published.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where to.
    pub subject: String,
    /// Its id: the same for every copy of it.
    pub id: String,
    /// Its bytes.
    pub payload: Bytes,
    /// Headers besides the id and the trace context.
    pub headers: Vec<(Cow<'static, str>, String)>,
}

impl Outgoing {
    /// An observation, under its own id.
    pub fn observation(lane: Lane, observation: &Observation) -> Self {
        let subject = topology::observe(lane, &observation.record);
        let payload = proto::encode(&proto::observation_to(observation));
        Self::new(subject, observation.id.clone(), payload)
    }

    /// A delivery, under its own id. Fails when its record is no record.
    pub fn delivery(delivery: &v1::Delivery) -> Result<Self, NameError> {
        let record: RecordRef = delivery.record.parse()?;
        Ok(Self::new(topology::delivery(&record), delivery.id.clone(), proto::encode(delivery)))
    }

    /// A command. Its id holds the version and the cause, so that the same one published again is the same message.
    pub fn command(command: &Command, partitions: u32) -> Self {
        let record = &command.record;
        let partition = topology::partition_of(record, partitions);
        let id = format!("c:{record}:{}:{}:{}", command.version, command.cause, command.mode.code());
        let payload = proto::encode(&proto::command_to(command));
        Self::new(topology::command(&record.system, partition, record), id, payload)
    }

    /// The same in another lane than `normal`, for a message whose subject has none. [`Received::urgency`](crate::Received::urgency)
    /// reads it.
    #[must_use]
    pub fn in_lane(self, lane: Lane) -> Self {
        self.with_header(headers::LANE, lane.as_str().to_owned())
    }

    /// A change, under its own id. Fails when its lifecycle is no name; an item that is no id is the caller's mistake and goes
    /// to the nil item.
    pub fn change(change: &v1::Change) -> Result<Self, NameError> {
        let lifecycle = LifecycleName::new(&change.lifecycle)?;
        let item = ItemId(Uuid::parse_str(&change.item).unwrap_or_default());
        Ok(Self::new(topology::change(&lifecycle, item), change.id.clone(), proto::encode(change)))
    }

    /// A webhook as it came: `id` is the delivery's id at its system, `kept` the headers that its decoder needs.
    pub fn webhook(system: &System, id: &str, event: &str, kept: Vec<(&'static str, String)>, body: Bytes) -> Self {
        let mut headers: Vec<_> = kept.into_iter().map(|(name, value)| (name.into(), value)).collect();
        headers.push((headers::EVENT.into(), event.to_owned()));
        Self { subject: topology::webhook(system), id: format!("w:{system}:{id}"), payload: body, headers }
    }

    /// Telemetry as protobuf: `key` is the agent, metric, workflow, target or operation that it is about.
    pub fn live(kind: &str, key: &str, id: String, protobuf: Vec<u8>) -> Self {
        Self::new(topology::live(kind, key), id, protobuf)
    }

    /// An alert as protobuf, which takes the place of an earlier one of its severity and id. `message_id` is the message's.
    pub fn alert(severity: &str, id: &str, message_id: String, protobuf: Vec<u8>) -> Self {
        Self::new(topology::alert(severity, id), message_id, protobuf)
    }

    /// A message by its parts.
    pub fn new(subject: String, id: String, payload: impl Into<Bytes>) -> Self {
        Self { subject, id, payload: payload.into(), headers: Vec::new() }
    }

    /// The same, to be stored only while the last message on its subject is still the one of this sequence.
    #[must_use]
    pub fn only_after(self, sequence: u64) -> Self {
        self.with_header(headers::EXPECTED_LAST, sequence.to_string())
    }

    /// The same with one header more.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<Cow<'static, str>>, value: String) -> Self {
        self.headers.push((name.into(), value));
        self
    }
}

//! Every stream, subject and consumer, and why each is as it is. The subjects are the public protocol.

mod subjects;

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::{
    Config as StreamConfig, DiscardPolicy, RetentionPolicy, StorageType, SubjectTransform,
};
use model::{Lane, System};

use crate::Config;

pub use subjects::{
    alert, change, command, dead, delivery, heartbeat, is_kind_of, live, observe, partition_of, published, record_of,
    seen_of, swept, system_of, token, untoken, webhook,
};

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
pub(crate) const MIB: i64 = 1024 * 1024;
/// How much memory the streams that are kept there may take.
const MEMORY_BYTES: i64 = 64 * MIB;

/// The streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Raw webhooks.
    Webhooks,
    /// All that was seen, our own writes included.
    Observations,
    /// What records should show: the newest command of each.
    Commands,
    /// What became of items.
    Changes,
    /// Telemetry that is worth seeing and not worth a disk.
    Live,
    /// What a person should know: the newest of each alert.
    Alerts,
    /// What nobody could handle.
    DeadLetters,
}

/// How a stream is kept.
#[derive(Debug, Clone, Copy)]
pub struct StreamSpec {
    /// Which.
    pub stream: Stream,
    /// Its name.
    pub name: &'static str,
    /// What is published to it.
    pub subjects: &'static [&'static str],
    /// Kept in memory only.
    pub memory: bool,
    /// For how many seconds a message is kept; 0 for always.
    pub max_age_s: u64,
    /// How many messages of one subject are kept; -1 for all.
    pub max_per_subject: i64,
    /// How many percent of `nats.storage_mb` it may take, or of [`MEMORY_BYTES`] where it is kept in memory.
    pub share: u32,
    /// When it is full, new messages are refused and nothing is thrown away that was accepted and nobody has read; see
    /// [`Bus::make_room`](crate::Bus::make_room). Else the oldest go first.
    pub refuses: bool,
    /// For how many seconds a second message with the same id vanishes. Costs about 260 bytes of memory an id.
    pub duplicate_window_s: u64,
    /// Why so.
    pub why: &'static str,
}

/// All streams.
pub const STREAMS: &[StreamSpec] = &[
    StreamSpec {
        stream: Stream::Webhooks,
        name: "WEBHOOKS",
        subjects: &["lockstep.webhook.*"],
        memory: false,
        max_age_s: 7 * DAY,
        max_per_subject: -1,
        share: 15,
        refuses: true,
        duplicate_window_s: 120,
        why: "raw bytes first, meaning later: a decoder that was wrong is mended and replayed",
    },
    StreamSpec {
        stream: Stream::Observations,
        name: "OBSERVATIONS",
        // By the lanes' names: of another lane there would be no reader, so it is not taken.
        subjects: &[
            "lockstep.observe.critical.*.*.*",
            "lockstep.observe.high.*.*.*",
            "lockstep.observe.normal.*.*.*",
            "lockstep.observe.low.*.*.*",
            "lockstep.delivery.critical.*.*.*",
            "lockstep.delivery.high.*.*.*",
            "lockstep.delivery.normal.*.*.*",
            "lockstep.delivery.low.*.*.*",
        ],
        memory: false,
        max_age_s: 7 * DAY,
        max_per_subject: -1,
        share: 45,
        refuses: true,
        duplicate_window_s: 120,
        why: "one ordered log of all that was seen, our own writes included",
    },
    StreamSpec {
        stream: Stream::Commands,
        name: "COMMANDS",
        subjects: &["lockstep.command.*.*.*"],
        memory: false,
        max_age_s: 0,
        max_per_subject: 1,
        share: 10,
        refuses: false,
        duplicate_window_s: 120,
        why: "the desired state, a table more than a queue: after an outage one command for each record is left",
    },
    StreamSpec {
        stream: Stream::Changes,
        name: "CHANGES",
        subjects: &["lockstep.change.*.*"],
        memory: false,
        max_age_s: 7 * DAY,
        max_per_subject: -1,
        share: 24,
        refuses: false,
        duplicate_window_s: 120,
        why: "what people subscribe to",
    },
    StreamSpec {
        stream: Stream::Live,
        name: "LIVE",
        subjects: &["lockstep.live.*.*"],
        memory: true,
        max_age_s: 600,
        max_per_subject: 100,
        share: 100,
        refuses: false,
        duplicate_window_s: 60,
        why: "telemetry that is worth seeing and not worth a disk",
    },
    StreamSpec {
        stream: Stream::Alerts,
        name: "ALERTS",
        subjects: &["lockstep.alert.*.*"],
        memory: false,
        max_age_s: 7 * DAY,
        max_per_subject: 1,
        share: 1,
        refuses: false,
        duplicate_window_s: 120,
        why: "whoever was away must still learn of a critical alert that nobody has seen to",
    },
    StreamSpec {
        stream: Stream::DeadLetters,
        name: "DEAD_LETTERS",
        subjects: &["lockstep.dead.*.*"],
        memory: false,
        max_age_s: 30 * DAY,
        max_per_subject: -1,
        share: 5,
        refuses: false,
        duplicate_window_s: 120,
        why: "nothing is thrown away because nobody could handle it",
    },
];

/// How the names begin that signs of life give to streams.
pub const AS_SYSTEM: &str = "nats:";

/// How the names begin that signs of life give to the webhooks of systems.
pub const WEBHOOKS_OF: &str = "webhooks:";

/// The key-value bucket of leases.
pub(crate) const LEASES: &str = "LEASES";
/// The key-value bucket of sweep cursors.
pub(crate) const CURSORS: &str = "CURSORS";
/// The key-value bucket of tickets.
pub(crate) const TICKETS: &str = "TICKETS";

impl Stream {
    /// How it is kept.
    pub const fn spec(self) -> &'static StreamSpec {
        let at = match self {
            Stream::Webhooks => 0,
            Stream::Observations => 1,
            Stream::Commands => 2,
            Stream::Changes => 3,
            Stream::Live => 4,
            Stream::Alerts => 5,
            Stream::DeadLetters => 6,
        };
        &STREAMS[at]
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// What signs of life call it among the systems, where they tell whether it takes what is sent.
    pub fn as_system(self) -> String {
        format!("{AS_SYSTEM}{}", self.name())
    }

    /// The stream that keeps what is published on a subject.
    pub fn of_subject(subject: &str) -> Option<Self> {
        match subject.strip_prefix("lockstep.")?.split('.').next()? {
            "webhook" => Some(Self::Webhooks),
            "observe" | "delivery" => Some(Self::Observations),
            "command" => Some(Self::Commands),
            "change" => Some(Self::Changes),
            "live" => Some(Self::Live),
            "alert" => Some(Self::Alerts),
            "dead" => Some(Self::DeadLetters),
            _ => None,
        }
    }
}

impl StreamSpec {
    pub(crate) fn config(&self, bus: &Config) -> StreamConfig {
        let partitions = bus.partitions;
        let whole = if self.memory { MEMORY_BYTES } else { i64::from(bus.storage_mb) * MIB };
        // Publishers do not compute the partition: a client in any language only knows the record. Its id is left out: the server looks
        // for a reader's next message among all subjects that it stores, and there would be one for each record.
        let subject_transform = (self.stream == Stream::Observations).then(|| SubjectTransform {
            source: "lockstep.*.*.*.*.*".into(),
            destination: format!(
                "lockstep.{{{{wildcard(1)}}}}.{{{{partition({partitions},3,4,5)}}}}.{{{{wildcard(2)}}}}.{{{{wildcard(3)}}}}.{{{{wildcard(4)}}}}"
            ),
        });
        StreamConfig {
            name: self.name.into(),
            description: Some(self.why.into()),
            subjects: self.subjects.iter().map(|&subject| subject.into()).collect(),
            retention: RetentionPolicy::Limits,
            storage: if self.memory { StorageType::Memory } else { StorageType::File },
            max_age: Duration::from_secs(self.max_age_s),
            max_messages_per_subject: self.max_per_subject,
            max_bytes: whole * i64::from(self.share) / 100,
            discard: if self.refuses { DiscardPolicy::New } else { DiscardPolicy::Old },
            duplicate_window: Duration::from_secs(self.duplicate_window_s),
            num_replicas: bus.replicas,
            allow_direct: true,
            subject_transform,
            ..StreamConfig::default()
        }
    }
}

/// How many messages a reader holds that it has not acknowledged.
const HELD_MAX: i64 = 5_000;
/// An unacknowledged message comes again after this, where messages may be shared out and overtake each other.
const ACK_WAIT: Duration = Duration::from_secs(10);
/// Idle consumers of readers that come and go.
const EPHEMERAL: Duration = Duration::from_mins(1);

/// What the consumer of one lane of one partition is called, without its generation.
pub fn lane_consumer(partition: u32, lane: Lane) -> String {
    format!("observe-{partition}-{}", lane.as_str())
}

/// One generation of a lane's consumer. The reader takes all in order and acknowledges up to a point, so the server never
/// sends anything twice by itself; see `feed::ordered`.
pub(crate) fn ordered(name: String, owner: String, partition: u32, lane: Lane, start: u64) -> pull::Config {
    pull::Config {
        durable_name: Some(name),
        description: Some(owner),
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: start.max(1) },
        ack_policy: AckPolicy::All,
        ack_wait: Duration::from_secs(HOUR),
        max_ack_pending: HELD_MAX,
        // Both observations and deliveries of the lane, by one filter: each costs.
        filter_subject: format!("lockstep.*.{partition}.{}.>", lane.as_str()),
        ..pull::Config::default()
    }
}

/// The consumer of a system's commands in one partition.
pub(crate) fn commands(system: &System, partition: u32) -> pull::Config {
    let filter = format!("lockstep.command.{system}.{partition}.*");
    shared(format!("commands-{system}-{partition}"), filter, DeliverPolicy::All)
}

/// The consumer of a system's webhooks.
pub(crate) fn webhooks(system: &System) -> pull::Config {
    shared(format!("webhooks-{system}"), webhook(system), DeliverPolicy::All)
}

/// A durable consumer of deliveries.
pub(crate) fn deliveries(durable: &str) -> pull::Config {
    shared(format!("deliveries-{}", word(durable)), "lockstep.delivery.>".into(), DeliverPolicy::New)
}

/// A durable consumer of changes.
pub(crate) fn changes(durable: &str) -> pull::Config {
    shared(format!("changes-{}", word(durable)), "lockstep.change.>".into(), DeliverPolicy::New)
}

fn shared(name: String, filter_subject: String, deliver_policy: DeliverPolicy) -> pull::Config {
    pull::Config {
        durable_name: Some(name),
        deliver_policy,
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_ack_pending: HELD_MAX,
        filter_subject,
        ..pull::Config::default()
    }
}

/// A reader that comes and goes and acknowledges nothing.
pub(crate) fn tail(filter_subjects: Vec<String>, deliver_policy: DeliverPolicy) -> pull::Config {
    pull::Config {
        deliver_policy,
        ack_policy: AckPolicy::None,
        filter_subjects,
        inactive_threshold: EPHEMERAL,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    }
}

/// A consumer's name must not hold what separates subjects.
fn word(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' }).collect()
}

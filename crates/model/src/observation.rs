//! What was seen: one record, one status, and all that is known of how and when.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    ConflictId, ItemId, Key, LifecycleName, Native, Position, RecordRef, Status, Timestamp, Version, Vocabulary,
};

/// "Record R showed native status N at position P", from wherever it was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// The publisher's id for this message; the same for every copy of it.
    pub id: String,
    /// Which record.
    pub record: RecordRef,
    /// What it showed.
    pub native: Native,
    /// When that was on the record's own time line. `None` where the system has none: then the order of the bus counts.
    pub position: Option<Position>,
    /// When the edit was made, by the system's own clock.
    pub occurred_at: Timestamp,
    /// Who made it, where that is known.
    pub actor: Option<Actor>,
    /// Whether it is our own write.
    pub origin: Origin,
    /// The way by which we learned of it.
    pub source: Source,
    /// What is asked: nearly always [`Intent::Status`].
    pub intent: Intent,
    /// The lifecycle a new item should have, when the publisher knows better than the configuration.
    pub lifecycle: Option<LifecycleName>,
    /// What people call it.
    pub title: Option<String>,
    /// Where people find it.
    pub url: Option<String>,
    /// The identifiers that this record owns.
    pub keys: Vec<Key>,
    /// The identifiers of other records found on this one; they tie it to those records' item.
    pub mentions: Vec<Key>,
    /// The statuses that this record can show, where its owners choose them themselves (Linear's workflow states).
    pub vocabulary: Option<Vocabulary>,
    /// Anything else worth keeping beside the item.
    pub metadata: BTreeMap<String, String>,
    /// The item that an operator spoke of. The record by whose way that was said may have left it since.
    pub item: Option<ItemId>,
}

impl Observation {
    /// That a record showed a native status at a moment, with nothing else known of it.
    pub fn new(id: String, record: RecordRef, native: Native, source: Source, occurred_at: Timestamp) -> Self {
        Self {
            id,
            record,
            native,
            position: None,
            occurred_at,
            actor: None,
            origin: Origin::Unknown,
            source,
            intent: Intent::Status,
            lifecycle: None,
            title: None,
            url: None,
            keys: Vec::new(),
            mentions: Vec::new(),
            vocabulary: None,
            metadata: BTreeMap::new(),
            item: None,
        }
    }
}

/// Where an observation lies on the bus. Given by the bus, not by the publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The lane it came by.
    pub lane: Lane,
    /// Its sequence in the stream, which rises within a record's lane.
    pub sequence: u64,
    /// When the bus stored it.
    pub received_at: Timestamp,
    /// Its sequence when it came for the first time, where it was given up then and replayed since.
    pub first_sequence: Option<u64>,
}

impl Receipt {
    /// Of a message that comes for the first time.
    pub fn new(lane: Lane, sequence: u64, received_at: Timestamp) -> Self {
        Self { lane, sequence, received_at, first_sequence: None }
    }

    /// Its sequence when it came for the first time.
    pub(crate) fn first(self) -> u64 {
        self.first_sequence.unwrap_or(self.sequence)
    }
}

/// How urgent a message is. A higher lane is served first, and none starves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Ahead of all else.
    Critical,
    /// A person waits: webhooks, operators, our own reports.
    High,
    /// The usual: statuses told through our API.
    #[default]
    Normal,
    /// Sweeps and backfills.
    Low,
}

impl Lane {
    /// All lanes, most urgent first.
    pub const ALL: [Lane; 4] = [Lane::Critical, Lane::High, Lane::Normal, Lane::Low];

    /// The lane's name on the bus and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Lane::Critical => "critical",
            Lane::High => "high",
            Lane::Normal => "normal",
            Lane::Low => "low",
        }
    }

    /// The lane of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.as_str() == name)
    }
}

/// Who edited a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// What people call them.
    pub name: String,
    /// The system's id for them, where it has one.
    pub id: Option<String>,
    /// A program rather than a person.
    pub automation: bool,
}

/// Whether what was seen is our own write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Nothing is known: under a personal token a person may be the actor.
    #[default]
    Unknown,
    /// Known to be somebody else's edit.
    Other,
    /// Known to be our own write: of this version's command, if that is known too.
    Own(Option<Version>),
}

/// The way an observation came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The system told us.
    Webhook,
    /// We asked what changed.
    Sweep,
    /// We asked for this one record.
    Poll,
    /// A stream of the system's own.
    Stream,
    /// Our own HTTP API or the bus.
    #[default]
    Api,
    /// A connector's report on a command.
    Delivery,
}

impl Source {
    /// Whether somebody saw the record itself: what is said through our API and what a report tells was not seen there.
    pub fn is_sight(self) -> bool {
        !matches!(self, Self::Api | Self::Delivery)
    }
}

/// What an observation asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// The record showed this status.
    Status,
    /// An operator sets the item that this record belongs to, past every rule. Ends a hold.
    Force(Status),
    /// An operator takes the item back to what it was at a version. Ends a hold.
    Rollback(Version),
    /// Tie another record to the item of this one.
    Link(RecordRef),
    /// Give this record an item of its own again.
    Unlink,
    /// Choose a candidate of a conflict (from 0). Ends the hold.
    Pick(ConflictId, usize),
}

macro_rules! codes {
    ($name:ident { $($variant:ident = $code:literal),* $(,)? }) => {
        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];
            /// The code that stands for it on the bus and in the API.
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }
            /// What a code stands for.
            pub fn of_code(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }
        }
    };
}
pub(crate) use codes;

codes!(Source { Webhook = "webhook", Sweep = "sweep", Poll = "poll", Stream = "stream", Api = "api", Delivery = "delivery" });

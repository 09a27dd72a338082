//! The contract of a connector: what it MUST do, in the words of the sync model. `compliance` checks it.
//!
//! What a connector does not do: choose what to retry, acknowledge, publish, or remember. The loop does.

use std::collections::BTreeMap;
use std::future::{Future, pending, ready};
use std::time::Duration;

use bytes::Bytes;
use model::{Command, Native, Observation, Position, RecordRef, Timestamp};
use proto::v1;
use runtime::Process;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::calls::{Calls, limits};
use crate::{Examined, Failure, Sink};

/// A system that Lockstep keeps in step, both ways.
///
/// - Observations MUST carry an id that is the same for the same thing seen, by whatever way it was seen, and another for
///   another: [`observation_id`](crate::observation_id) makes it.
/// - `decode` MUST be pure, and MUST take what it does not know (a new event, a new field) as [`Decoded::Ignored`], not as a failure.
/// - `read` MUST show the record as it is now, not as a cache remembers it.
/// - `write` MUST change nothing but the status, and MUST use the system's conditional write where there is one.
/// - Every call goes through [`Calls`], or has a timeout of its own.
/// - Nothing retries inside: a failure is returned, and the loop's table decides.
pub trait Connector: Send + Sync + Sized + 'static {
    /// The system's name, as in [`RecordRef`].
    const SYSTEM: &'static str;
    /// How the system limits its callers; see [`limits`].
    const LIMITS: limits::Limits = limits::STANDARD;
    /// Webhooks of this system arrive on the bus.
    const HAS_WEBHOOKS: bool;
    /// It can be asked what changed.
    const HAS_SWEEP: bool;
    /// A page's `next` stays good for hours, in another process as well: a sweep that was interrupted is gone on with from there.
    const GOES_ON: bool = false;
    /// It can be told, or shown, a status.
    const HAS_COMMANDS: bool;
    /// It sends a webhook again when it is asked to, and does not do so by itself.
    const HAS_REDELIVERY: bool = false;
    /// Whether only one process at a time may watch: what a second one saw late would look new.
    const WATCHES_ALONE: bool = false;
    /// It wants to hear of changes of the items that its records belong to.
    const HAS_CHANGES: bool = false;
    /// Its section of the configuration, with unknown keys denied. The key `run` of the section is the loop's own
    /// ([`Settings`](crate::Settings)) and never reaches it.
    type Config: DeserializeOwned;

    /// Takes its configuration. No I/O; a wrong setting is one clear sentence with the key's name.
    fn new(config: Self::Config, parts: Parts) -> Result<Self, String>;

    /// The calls by which it writes: where the system wants writes apart, the loop takes the turn to write before it reads, so
    /// that what it reads is not old when it writes. `None` where it writes otherwise.
    fn calls(&self) -> Option<&Calls> {
        None
    }

    /// How long it is at most from the start of one sweep to the start of the next.
    fn sweep_every(&self) -> Duration {
        Duration::from_mins(5)
    }

    /// The parts of the system that count, such as teams or repositories; empty where all do. When they are others than at the last
    /// sweep, the sweeps begin anew: what belongs to one that counts again has not changed since.
    fn scope(&self) -> &[String] {
        &[]
    }

    /// Whether its settings leave something to sweep; else one sentence that names the one that is missing.
    fn sweeps_something(&self) -> Result<(), String> {
        Ok(())
    }

    /// What a webhook says. Pure. A body that is not what it should be is [`Failure::Refused`] and becomes a dead letter.
    fn decode(&self, webhook: &Webhook) -> Result<Decoded, Failure> {
        let _ = webhook;
        Ok(Decoded::Ignored("no_webhooks"))
    }

    /// Learns what `decode` lacked: [`Decoded::Unlearned`] says what.
    fn learn(&self, what: &str) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = what;
        ready(Ok(()))
    }

    /// What a record shows now.
    fn read(&self, record: &RecordRef) -> impl Future<Output = Result<Reading, Failure>> + Send;

    /// Makes the record show `command.native`, which it does not show now (the loop looked). The answer is what the record
    /// shows afterwards, as the system itself says.
    fn write(&self, command: &Command, reading: &Reading) -> impl Future<Output = Result<Written, Failure>> + Send;

    /// Shows the item's status beside a record that cannot be told it. Showing what is shown already MUST do no harm. Where it stands on
    /// something that the record leaves behind, such as a commit, [`keep_shown`](Self::keep_shown) shows it on what follows.
    fn show(&self, command: &Command, reading: &Reading) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = reading;
        let why = format!("{} cannot be shown a status", command.record);
        ready(Err(Failure::refused("cannot_show", why)))
    }

    /// Shows what stands on something that the record left behind on what it has now, where that is still to be done. Called for what a
    /// webhook had read, and for what a page says, when that is stored. For a webhook a limit is waited for: it comes again. What failed
    /// for a webhook is tried again; after the last attempt, and for a sweep, it is left to the next webhook or sweep.
    fn keep_shown(&self, reading: &Reading) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = reading;
        ready(Ok(()))
    }

    /// One page of what changed since `cursor` (the `cursor` of the last finished sweep, `None` for the first), from `next`
    /// (the `next` of the page before, `None` for the first page). Overlap generously: copies vanish by their ids.
    fn sweep(&self, cursor: Option<Value>, next: Option<Value>) -> impl Future<Output = Result<Page, Failure>> + Send {
        let _ = (cursor, next);
        ready(Ok(Page::default()))
    }

    /// The cursor of a sweep that sees what changed since a moment. `None` where a sweep can only see everything.
    fn cursor_since(&self, since: Timestamp) -> Option<Value> {
        let _ = since;
        None
    }

    /// How many records a sweep from `cursor` will see, where the system can say so.
    fn count(&self, cursor: Option<Value>) -> impl Future<Output = Result<Option<u64>, Failure>> + Send {
        let _ = cursor;
        ready(Ok(None))
    }

    /// How often failed webhooks are asked for again. Only with `HAS_REDELIVERY`.
    fn redeliver_every(&self) -> Duration {
        Duration::from_mins(5)
    }

    /// Asks the system to send again the webhooks that it could not deliver, in a bounded number. `cursor` is what the last
    /// call left. MUST ask for each a bounded number of times: where it fails after it asked for some, it answers with those. Only with
    /// `HAS_REDELIVERY`.
    fn redeliver(&self, cursor: Option<Value>) -> impl Future<Output = Result<Redelivered, Failure>> + Send {
        let _ = cursor;
        ready(Ok(Redelivered::default()))
    }

    /// A source of the system's own that runs for as long as the process: an outbox, a stream. When it ends it is begun
    /// again, with a growing wait after failures. It is dropped at any await on shutdown.
    fn watch(&self, sink: Sink) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = sink;
        pending()
    }

    /// Looks, without changing anything, whether the system can be worked with, and what in it will be in the way: the
    /// credential and its rights, webhooks, the clock, other programs that write.
    fn examine(&self) -> impl Future<Output = Examined> + Send {
        ready(Examined::default())
    }

    /// Whether a change of its item is to be told to `record`. Pure. Only with `HAS_CHANGES`.
    fn is_told(&self, change: &v1::Change, record: &RecordRef) -> bool {
        let _ = (change, record);
        true
    }

    /// An item changed to which `record` belongs, which [`is_told`](Self::is_told). Called at least once for each change, for one
    /// record in the order of the stream; what waits, or is tried again, is left alone when the item's status moves on. Whoever is
    /// [`Failure::Busy`] is waited for. Only with `HAS_CHANGES`.
    fn on_change(&self, change: &v1::Change, record: &RecordRef) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = (change, record);
        ready(Ok(()))
    }
}

/// What a connector is given when it is made.
#[derive(Clone)]
pub struct Parts {
    /// The process, for its clock and its shutdown.
    pub process: Process,
    /// HTTP with timeouts, pacing and a circuit breaker; [`Calls::for_credential`] where there is a credential,
    /// [`Calls::scoped`] for a second address.
    pub calls: Calls,
    /// Whether the loop runs here: only then may the connector know what webhooks told.
    pub hears: bool,
}

/// A webhook as it was stored: its signature is checked, its content is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The delivery's id: the same for the system's own redeliveries.
    pub id: String,
    /// The event's name where the system sends it beside the body, else empty.
    pub event: String,
    /// When it was stored.
    pub received_at: Timestamp,
    /// The headers that were kept, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The raw body.
    pub body: Bytes,
}

/// What a webhook says.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded {
    /// These were seen.
    Observations(Vec<Observation>),
    /// Nothing of ours; a word for why.
    Ignored(&'static str),
    /// The body does not say enough: the loop reads these records.
    Incomplete(Vec<RecordRef>),
    /// The body says enough, but the words for it must be learned first: the loop has them learned ([`Connector::learn`]) and decodes it
    /// once more. Where it still says this, these records are read.
    Unlearned {
        /// What is given to [`Connector::learn`].
        what: String,
        /// Which records it is about.
        records: Vec<RecordRef>,
    },
    /// Somebody edited a status, and this comes so late that what it shows may be over though its position is not below that of
    /// what came after it. The loop reads the records and lets that decide; the edits themselves it tells as older than all that
    /// shares their positions. What is known to be our own write MUST be [`Incomplete`](Self::Incomplete): of that nothing is to be told.
    Late(Vec<Observation>),
}

/// What a record shows now.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// As an observation that can be published (source `Poll`, origin as far as it is known).
    pub observation: Observation,
    /// Whatever `write` and `show` want to know besides: an `ETag`, a team, a head commit.
    pub extra: Value,
}

/// What a record shows after a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The status.
    pub native: Native,
    /// Where on the record's time line, where the answer says.
    pub position: Option<Position>,
}

/// One page of a sweep.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// What was seen (source `Sweep`).
    pub observations: Vec<Observation>,
    /// What was met and could not be read. It holds up nothing else, and becomes dead letters.
    pub unreadable: Vec<Unreadable>,
    /// Where the next page begins; `None` ends the sweep.
    pub next: Option<Value>,
    /// What [`Connector::keep_shown`] is to be called with once the page is stored.
    pub keeps: Vec<Reading>,
    /// With the last page: where the next sweep begins. Stored when all observations of the sweep are acknowledged.
    pub cursor: Option<Value>,
}

/// Something that a sweep met and could not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// What people call it: a record's id, or as much of it as can be read.
    pub name: String,
    /// What the system said of it.
    pub content: Bytes,
    /// A word for why: the dead letter's reason.
    pub code: &'static str,
    /// Why, for a person.
    pub why: String,
}

/// What came of asking for webhooks again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Redelivered {
    /// How many were asked for.
    pub asked: u64,
    /// What the next call is given.
    pub cursor: Option<Value>,
}

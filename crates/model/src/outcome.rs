//! What comes of resolving: a verdict, history rows, and commands.

use serde::{Deserialize, Serialize};

use crate::observation::codes;
use crate::{Actor, ConflictId, ItemId, Native, Position, RecordRef, Status, Timestamp, Version};

/// The message that caused something: what makes a second publication of it the same message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// The publisher's id for it.
    pub id: String,
}

/// How a command is to be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandMode {
    /// Make the record show `native`.
    Tell,
    /// The record cannot be told; show the item's status beside it.
    Show,
}

/// "Record R should show N as of item version V." Only the newest one for a record matters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Which record.
    pub record: RecordRef,
    /// Whose status it should show.
    pub item: ItemId,
    /// As of which version of it.
    pub version: Version,
    /// The canonical status.
    pub status: Status,
    /// What came before it, where there was a change.
    pub previous: Option<Status>,
    /// The same in the record's own words.
    pub native: Native,
    /// Told or shown.
    pub mode: CommandMode,
    /// What the record may show now. If it shows neither one of these nor `native`, nor what an earlier command asked for,
    /// somebody edited it meanwhile.
    pub expects: Vec<Native>,
    /// What it may show besides, each only if that command may have been carried out: who carries out commands knows.
    pub earlier: Vec<Earlier>,
    /// How far along its time line the record was known to stand. What it shows further along nobody had seen yet.
    pub position: Option<Position>,
    /// The identifiers of the item, for people.
    pub key: Option<String>,
    /// The stream sequence of what caused it.
    pub cause: u64,
}

/// What the record may show for a command that was sent before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// The command's item version.
    pub version: Version,
    /// What it asked for, or what means the same.
    pub native: Native,
    /// The stream sequence that it was first sent because of: whoever carried it out began later.
    pub since: u64,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryOutcome {
    /// The record was written.
    Applied,
    /// The record showed it already.
    Unchanged,
    /// Somebody edited the record meanwhile: nothing was written.
    Superseded,
    /// A newer command came before this one was begun: nothing was done, and the newer one's report will tell.
    Overtaken,
    /// The system refused; no attempt will do better.
    Rejected,
    /// All attempts were used up.
    Failed,
}
codes!(CommandMode { Tell = "tell", Show = "show" });
codes!(DeliveryOutcome {
    Applied = "applied",
    Unchanged = "unchanged",
    Superseded = "superseded",
    Overtaken = "overtaken",
    Rejected = "rejected",
    Failed = "failed",
});

/// Which rule of the sync model decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Rule 1: taken before.
    Redelivered,
    /// An old copy of its system was brought back.
    WentBack,
    /// Rule 2: older than what is known.
    Stale,
    /// Rule 3: our own write.
    OwnWrite,
    /// Rule 4: it shows what it should.
    Agreed,
    /// Rule 5: our own write, seen late.
    LateEcho,
    /// Rule 6: it shows what it showed.
    NoNews,
    /// Rule 7: the item follows the record.
    FastForward,
    /// Rule 8: both changed.
    Conflict,
    /// Rule 9: two automations fight; the item is held.
    FlipFlop,
    /// The record's first observation gave it an item of its own.
    Created,
    /// The item is held; this joins the conflict as a candidate.
    JoinedHold,
    /// The lifecycle does not allow it: the record is sent back.
    Refused,
    /// The lifecycle does not allow it: a person must decide.
    HeldIrregular,
    /// Recorded, and changes nothing: a read-only record would leave a terminal status, or the mapping says so.
    Ignored,
    /// No mapping knows the status.
    Unmapped,
    /// Asked for through our API, and the item took it.
    Asked,
    /// An operator's word.
    Forced,
    /// Records were tied or untied.
    Linked,
    /// A connector's report that tells nothing of what the record shows.
    Reported,
    /// A request that cannot be carried out as it stands.
    Invalid,
}
codes!(Verdict {
    Redelivered = "redelivered",
    WentBack = "went_back",
    Stale = "stale",
    OwnWrite = "own_write",
    Agreed = "agreed",
    LateEcho = "late_echo",
    NoNews = "no_news",
    FastForward = "fast_forward",
    Conflict = "conflict",
    FlipFlop = "flip_flop",
    Created = "created",
    JoinedHold = "joined_hold",
    Refused = "refused",
    HeldIrregular = "held_irregular",
    Ignored = "ignored",
    Unmapped = "unmapped",
    Asked = "asked",
    Forced = "forced",
    Linked = "linked",
    Reported = "reported",
    Invalid = "invalid",
});

/// What a history row tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowKind {
    /// The item took a new status: the one kind that has a version of its own.
    Changed,
    /// An edit that was already superseded when it arrived.
    Stale,
    /// An edit that lost a conflict.
    Lost,
    /// An edit that joined a conflict which waits for a person.
    Candidate,
    /// An edit that the lifecycle does not allow.
    Refused,
    /// An edit that changes nothing, by rule.
    Ignored,
    /// A status that no mapping knows.
    Unmapped,
    /// The record changed within its fold or its own words; the item did not.
    Folded,
    /// A record was tied to the item.
    Linked,
    /// A record was untied from the item.
    Unlinked,
    /// A request that could not be carried out.
    Invalid,
}
codes!(RowKind {
    Changed = "changed",
    Stale = "stale",
    Lost = "lost",
    Candidate = "candidate",
    Refused = "refused",
    Ignored = "ignored",
    Unmapped = "unmapped",
    Folded = "folded",
    Linked = "linked",
    Unlinked = "unlinked",
    Invalid = "invalid",
});

/// Why, in one word that people and programs can look up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The record's first observation.
    FirstSeen,
    /// The record was edited, and nothing else had changed.
    Edited,
    /// It won a conflict.
    WonConflict,
    /// It lost a conflict.
    LostConflict,
    /// The conflict waits for a person.
    ConflictHeld,
    /// Two automations fight.
    FlipFlop,
    /// Its position is below what is known.
    OlderPosition,
    /// The transition is not in the lifecycle's table.
    IrregularTransition,
    /// A read-only record cannot take an item out of a terminal status.
    ReadOnlyReopen,
    /// The mapping says that this native status changes nothing.
    SilentStatus,
    /// No mapping knows the native status.
    UnmappedStatus,
    /// Its system says that the record was deleted.
    Deleted,
    /// It was deleted, and is back.
    Restored,
    /// An old copy of its system was brought back, and shows it as it was then.
    WentBack,
    /// Other records of the same system still hold the item where it is.
    Folded,
    /// It waited for others of its kind. They say nothing any more, or the mapping was changed; the item stays where they had held it.
    Overruled,
    /// The item already has that status.
    AlreadyThere,
    /// Nobody can tell the record what was asked of it.
    CannotBeTold,
    /// Somebody asked for it through our API, of a record that a connector sees.
    Asked,
    /// An operator set it.
    Forced,
    /// An operator went back to an earlier version.
    RolledBack,
    /// An operator picked a candidate.
    Picked,
    /// Records were tied together.
    Adopted,
    /// A record was untied.
    Parted,
    /// No mapping says what the record's statuses mean in the lifecycle of the item to which it should be tied.
    OtherLifecycle,
    /// There is no such version, candidate, status or record.
    NoSuchThing,
}
codes!(Reason {
    FirstSeen = "first_seen",
    Edited = "edited",
    WonConflict = "won_conflict",
    LostConflict = "lost_conflict",
    ConflictHeld = "conflict_held",
    FlipFlop = "flip_flop",
    OlderPosition = "older_position",
    IrregularTransition = "irregular_transition",
    ReadOnlyReopen = "read_only_reopen",
    SilentStatus = "silent_status",
    UnmappedStatus = "unmapped_status",
    Deleted = "deleted",
    Restored = "restored",
    WentBack = "went_back",
    Folded = "folded",
    Overruled = "overruled",
    AlreadyThere = "already_there",
    CannotBeTold = "cannot_be_told",
    Asked = "asked",
    Forced = "forced",
    RolledBack = "rolled_back",
    Picked = "picked",
    Adopted = "adopted",
    Parted = "parted",
    OtherLifecycle = "other_lifecycle",
    NoSuchThing = "no_such_thing",
});

/// One line of an item's history. Rows are never changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// Whose history.
    pub item: ItemId,
    /// The item's version after it.
    pub version: Version,
    /// What it tells.
    pub kind: RowKind,
    /// The status before.
    pub from: Option<Status>,
    /// The status after; for an edit that did not take, the status it stood for.
    pub to: Status,
    /// The record that it is about.
    pub record: RecordRef,
    /// What the record showed.
    pub native: Native,
    /// Where on the record's time line.
    pub position: Option<Position>,
    /// Who made the edit.
    pub actor: Option<Actor>,
    /// Why.
    pub reason: Reason,
    /// The conflict it belongs to.
    pub conflict: Option<ConflictId>,
    /// The transition is not in the lifecycle's table.
    pub irregular: bool,
    /// When the edit was made.
    pub at: Timestamp,
    /// When the bus stored the message that told of it.
    pub recorded_at: Timestamp,
    /// That message.
    pub cause: Cause,
}

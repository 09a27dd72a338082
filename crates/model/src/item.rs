//! An item, the links that tie records to it, and what of a link is in step.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Actor, CommandMode, Conflict, ConflictId, ItemId, Key, Lens, LifecycleName, Native, Origin, Position, Receipt,
    RecordRef, Status, Timestamp, Version, Vocabulary,
};

/// What several records stand for together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Its id.
    pub id: ItemId,
    /// The state machine that its status belongs to.
    pub lifecycle: LifecycleName,
    /// What people call it for short: `ENG-123`.
    pub key: Option<Key>,
    /// What people call it.
    pub title: Option<String>,
    /// The canonical status.
    pub status: Status,
    /// When it took this status, by the clock of whoever changed it.
    pub status_since: Timestamp,
    /// Counts its changes.
    pub version: Version,
    /// The record whose edit made the current version.
    pub changed_by: RecordRef,
    /// Who made that edit, where it is known.
    pub changed_by_actor: Option<Actor>,
    /// The status before the current version's.
    pub changed_from: Option<Status>,
    /// The last status that was not terminal: what `reopen = "previous"` returns to.
    pub last_open: Option<Status>,
    /// The conflict that a person must resolve before anything moves again.
    pub held: Option<ConflictId>,
    /// When it was fought over, within the escalation window: its conflicts, and the changes by which one automation took
    /// back what another had made of it.
    pub recent_conflicts: Vec<Timestamp>,
    /// Anything else worth keeping.
    pub metadata: BTreeMap<String, String>,
}

impl Item {
    /// How many entries of metadata an item keeps.
    pub const METADATA_MAX: usize = 200;

    /// Keeps metadata beside what it has; when that is too much, others make room for what was said last.
    pub(crate) fn note(&mut self, said: &BTreeMap<String, String>) {
        self.metadata.extend(said.clone());
        let over = self.metadata.len().saturating_sub(Self::METADATA_MAX);
        let others: Vec<String> =
            self.metadata.keys().filter(|key| !said.contains_key(*key)).take(over).cloned().collect();
        for other in others {
            self.metadata.remove(&other);
        }
    }
}

/// The tie from a record to its item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The record.
    pub record: RecordRef,
    /// The shadow: the native status the record last showed or was last made to show.
    pub native: Native,
    /// How far along the record's own time line that was.
    pub position: Option<Position>,
    /// When the bus stored what first told of that position; `None` where an older release did not say.
    pub position_at: Option<Timestamp>,
    /// The newest stream sequence taken, by lane: a lane may overtake another, but within one the order is kept.
    pub sequences: [u64; 4],
    /// The newest stream sequence, of whatever lane, of a status without a position or an operator's word: of those the later one counts.
    pub said: u64,
    /// When the bus stored the youngest message taken; `None` where an older release did not say.
    pub taken_at: Option<Timestamp>,
    /// The newest item version that this record is known to show.
    pub agreed: Version,
    /// The commands that may still be on their way, oldest first, at most [`Link::SENT_MAX`]. One that was reported, or
    /// whose write was seen, is done, and so is every older one.
    pub sent: Vec<Sent>,
    /// The item's status last shown beside a record that cannot be told it.
    pub shown: Option<Status>,
    /// How often the current version's command was sent again because a write of ours did not take; from 1 up also where an edit that
    /// waited for others of its kind was written over, and the history says so.
    pub resent: u32,
    /// What the record can show, where it said so itself.
    pub vocabulary: Option<Vocabulary>,
    /// It shows a status that no mapping knows.
    pub unmapped: bool,
    /// Why the last command failed for good.
    pub last_error: Option<String>,
    /// The identifiers this record owns.
    pub keys: Vec<Key>,
    /// The identifiers it mentions.
    pub mentions: Vec<Key>,
    /// Its place in the order in which records were tied to the item, from 0.
    pub order: u32,
    /// A person tied or untied it: identifiers no longer move it.
    pub pinned: bool,
    /// Where people find it.
    pub url: Option<String>,
    /// A connector of ours has seen it. What anybody else says of it was not seen there, but is asked for.
    pub watched: bool,
}

/// A command that went out and was not yet seen to have taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The item version it stands for.
    pub version: Version,
    /// The native status it asked for.
    pub native: Native,
    /// Told or shown.
    pub mode: CommandMode,
    /// The stream sequence of what caused it: with the version, the command's message id.
    pub cause: u64,
    /// The stream sequence that it was first sent because of; 0 where an older release did not say.
    #[serde(default)]
    pub since: u64,
    /// When it was last sent: as the bus stored what caused that. Long ago where an older release did not say.
    #[serde(default)]
    pub at: Timestamp,
}

impl Link {
    /// How many commands a link remembers. An echo older than that is read as an edit; no system is that late.
    pub const SENT_MAX: usize = 16;
    /// How often one version's command goes out again because a write of ours did not take.
    pub const RESENT_MAX: u32 = 8;
    /// Whoever sees the record itself, so long after a command was sent and no report came, takes it for lost. A connector that could
    /// be asked what the record shows has tried it for less.
    pub const LOST_MS: i64 = 600_000;
    /// Whoever sees the record below a position that was known for so long sees what an old copy of its system brought back. A page of a
    /// sweep is read in less.
    pub const OLD_COPY_MS: i64 = 600_000;
    /// A stream that lost its end with the power of its server gives those sequences once more. A message that is so much younger
    /// than the youngest taken is no redelivery, whatever its sequence. Clocks of a cluster's servers differ by less, and a server is
    /// away for longer.
    pub const GIVEN_AGAIN_MS: i64 = 2_000;

    /// Notes that the record is known to show item version `version`, or is as close to it as it can be.
    ///
    /// That does not call back what was told before: a write on its way may land yet, and must then be known as ours.
    pub(crate) fn agree(&mut self, version: Version) {
        self.agreed = version;
        self.resent = 0;
    }

    /// The record leaves its item. What was sent for that is void; that it was sent still matters: it may yet be written.
    pub(crate) fn void(&mut self) {
        for sent in &mut self.sent {
            sent.version = Version(0);
        }
    }

    /// Whether a message was taken before.
    pub fn has_taken(&self, receipt: Receipt) -> bool {
        receipt.sequence <= self.sequences[receipt.lane as usize] && !self.follows_all(receipt)
    }

    /// Whether somebody said something of the record, without a position, after this message, which a more urgent lane brought first.
    pub(crate) fn has_heard_later(&self, receipt: Receipt) -> bool {
        receipt.first() < self.said && !self.follows_all(receipt)
    }

    /// Notes that something was said of the record without a position.
    pub(crate) fn hear(&mut self, receipt: Receipt) {
        self.said = self.said.max(receipt.first());
        // Else an operator's word that came by way of another record would seem to be of a part of the stream that was lost.
        self.taken_at = self.taken_at.max(Some(receipt.received_at));
    }

    /// Whether the bus stored a message after all that were taken, as its time alone says. If any of those has its sequence or a higher
    /// one, that one is lost.
    fn follows_all(&self, receipt: Receipt) -> bool {
        self.taken_at.is_some_and(|taken| receipt.received_at.0.saturating_sub(taken.0) > Self::GIVEN_AGAIN_MS)
    }

    /// Takes note of a message; `false` when it was taken before.
    pub(crate) fn take(&mut self, receipt: Receipt) -> bool {
        let fresh = !self.has_taken(receipt);
        if self.follows_all(receipt) {
            let before = receipt.sequence.saturating_sub(1);
            self.sequences = self.sequences.map(|last| last.min(before));
            self.said = self.said.min(before);
        }
        let last = &mut self.sequences[receipt.lane as usize];
        *last = receipt.sequence.max(*last);
        self.taken_at = self.taken_at.max(Some(receipt.received_at));
        fresh
    }

    /// Notes that the command of a version, and with it every older one, is done. Where `cause` tells which of that version's commands it
    /// was, those that went out after it are on their way: what they write must be known as ours.
    pub(crate) fn land(&mut self, version: Version, mode: CommandMode, cause: Option<u64>) {
        let overtaken = |sent: &Sent| sent.version <= version && sent.mode == CommandMode::Show;
        if mode == CommandMode::Tell && self.sent.iter().any(overtaken) {
            // Whether it was shown before the next command took its place is not known.
            self.shown = Some(Status::none());
        }
        // A report on what was shown beside the record tells nothing of a write that was cut short before its own report.
        let done = |sent: &Sent| sent.version <= version && (mode == CommandMode::Tell || sent.mode == mode);
        let it = |cause| self.sent.iter().position(|sent| sent.version == version && sent.cause == cause);
        let reported = cause.and_then(it);
        // If it is not among them, it was sent once more since, because of something else.
        let is_later =
            |place, sent: &Sent| cause.is_some() && sent.version == version && reported.is_none_or(|it| place > it);
        let all = std::mem::take(&mut self.sent).into_iter().enumerate();
        self.sent = all.filter(|(place, sent)| is_later(*place, sent) || !done(sent)).map(|(_, sent)| sent).collect();
    }

    /// Notes what the record showed, and where on its time line.
    pub(crate) fn show(&mut self, native: &Native, position: Option<Position>) {
        self.native = native.clone();
        self.position = self.position.max(position);
    }

    /// Remembers a command.
    pub(crate) fn send(&mut self, sent: Sent) {
        self.sent.push(sent);
        if self.sent.len() > Self::SENT_MAX {
            self.sent.remove(0);
        }
    }

    /// Whether a command may still be on its way that would write the record.
    pub(crate) fn is_told(&self) -> bool {
        self.sent.iter().any(|sent| sent.mode == CommandMode::Tell)
    }

    /// What it is being told as of a version that it has not come to yet.
    pub(crate) fn told(&self, version: Version) -> Option<&Native> {
        // One that is only shown the status has come to it as near as it can.
        self.sent.last().filter(|sent| self.agreed < version && sent.version == version).map(|sent| &sent.native)
    }

    /// The version of the newest command since the agreed one that asked for what was seen, or for what means the same (a pull request
    /// that is told to be open shows its reviews), unless it is known to be another's edit.
    pub(crate) fn late_echo(&self, native: &Native, origin: Origin, lens: &Lens) -> Option<Version> {
        if origin == Origin::Other {
            return None;
        }
        let told = self.sent.iter().rev().filter(|sent| sent.mode == CommandMode::Tell);
        told.into_iter().find(|sent| lens.same(&sent.native, native)).map(|sent| sent.version)
    }
}

/// Whether a record is in step with its item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// It shows what it should.
    InStep,
    /// A command is on its way.
    Pending,
    /// It cannot be told the item's status: as close as it can be.
    AsClose,
    /// It can be told nothing.
    ReadOnly,
    /// A person must resolve a conflict first.
    Held,
    /// It shows a status that no mapping knows.
    Unmapped,
    /// Its system says that it was deleted: it says nothing, and is told nothing.
    Deleted,
    /// The last command failed for good.
    Failed,
}

/// An item with all its links: what one observation is resolved against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The item.
    pub item: Item,
    /// Its links, in the order in which they were tied.
    pub links: Vec<Link>,
    /// The conflict that holds it.
    pub conflict: Option<Conflict>,
}

impl Group {
    /// Takes note of a message about a record; `false` when it was taken before.
    pub fn take(&mut self, record: &RecordRef, receipt: Receipt) -> bool {
        self.index_of(record).is_some_and(|place| self.links[place].take(receipt))
    }

    /// The place of a record's link.
    pub fn index_of(&self, record: &RecordRef) -> Option<usize> {
        self.links.iter().position(|link| link.record == *record)
    }

    /// The link of a record.
    pub fn link(&self, record: &RecordRef) -> Option<&Link> {
        self.links.iter().find(|link| link.record == *record)
    }
}

crate::observation::codes!(Step {
    InStep = "in_step",
    Pending = "pending",
    AsClose = "as_close",
    ReadOnly = "read_only",
    Held = "held",
    Unmapped = "unmapped",
    Deleted = "deleted",
    Failed = "failed",
});

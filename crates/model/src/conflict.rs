//! A conflict: two systems changed one item without having seen each other's change.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::observation::codes;
use crate::{Actor, ItemId, Native, Position, RecordRef, Status, Timestamp, Version};

/// A conflict's id: always the same for the same item and cause.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConflictId(pub Uuid);

impl ConflictId {
    pub(crate) fn of(item: ItemId, sequence: u64) -> Self {
        Self(Uuid::new_v5(&item.0, &sequence.to_be_bytes()))
    }
}

impl fmt::Display for ConflictId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ConflictId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a conflict is decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The system with the lower number wins.
    #[default]
    PriorityBased,
    /// The later edit wins; within the clock-skew bound, priority decides.
    TimestampBased,
    /// The further along the lifecycle wins, when the one can be reached from the other.
    Merge,
    /// A person decides.
    Manual,
}
codes!(Strategy {
    PriorityBased = "priority_based",
    TimestampBased = "timestamp_based",
    Merge = "merge",
    Manual = "manual",
});

/// Who wins when a record is tied to an item of another status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLink {
    /// The item.
    #[default]
    Item,
    /// The record.
    Record,
    /// The system with the lower number.
    Priority,
}

/// One side of a conflict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The record whose edit it was.
    pub record: RecordRef,
    /// What it showed.
    pub native: Native,
    /// What that means for the item.
    pub status: Status,
    /// Where on its time line.
    pub position: Option<Position>,
    /// Who made it.
    pub actor: Option<Actor>,
    /// When.
    pub at: Timestamp,
}

/// Two systems changed one item without having seen each other's change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conflict {
    /// Its id.
    pub id: ConflictId,
    /// The item.
    pub item: ItemId,
    /// The item's version when it arose.
    pub version: Version,
    /// What the record showed when it and the item last agreed.
    pub base: Native,
    /// Ours (the item's) first, then theirs, then whatever joined while it was held.
    pub candidates: Vec<Candidate>,
    /// How it was, or is to be, decided.
    pub strategy: Strategy,
    /// Two automations fight: it was taken out of the strategy's hands.
    pub escalated: bool,
    /// The index of the winner, once there is one.
    pub winner: Option<usize>,
    /// When the bus stored what showed it.
    pub opened_at: Timestamp,
    /// When it was decided.
    pub resolved_at: Option<Timestamp>,
}

impl Conflict {
    /// How many candidates a conflict keeps: the item's own, and the newest edit of each record.
    pub const CANDIDATES_MAX: usize = 64;

    /// Adds an edit that came while the conflict waits: the newest of a record replaces its older one.
    pub fn join(&mut self, candidate: Candidate) {
        let same = self.candidates.iter().skip(1).position(|known| known.record == candidate.record);
        match same {
            Some(place) => self.candidates[place + 1] = candidate,
            None if self.candidates.len() < Self::CANDIDATES_MAX => self.candidates.push(candidate),
            None => {}
        }
    }
}

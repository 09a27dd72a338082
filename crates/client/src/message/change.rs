//! Changes of items and what became of writes. Times are milliseconds since 1970.

use serde::{Deserialize, Serialize};

/// An item changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Change {
    /// The change's own id.
    pub id: String,
    /// The item's id.
    pub item: String,
    /// Its version after the change.
    pub version: u64,
    /// Its lifecycle.
    pub lifecycle: String,
    /// What people call it for short; may be empty.
    pub key: String,
    /// What people call it; may be empty.
    pub title: String,
    /// The status before; empty for a new item.
    pub from: String,
    /// The status after.
    pub to: String,
    /// The record whose edit it was.
    pub record: String,
    /// What that record showed.
    pub native: String,
    /// Who made the edit.
    pub actor: Option<Actor>,
    /// Why, in one word.
    pub reason: String,
    /// The lifecycle does not name this transition.
    pub irregular: bool,
    /// The conflict it belongs to; may be empty.
    pub conflict: String,
    /// When the edit was made.
    pub at: i64,
    /// When it was stored.
    pub recorded_at: i64,
    /// The place on the stream of what caused it: the `sequence` of an accepted status.
    pub cause: u64,
    /// All records of the item.
    pub records: Vec<String>,
}

/// Who made an edit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Actor {
    /// What people call them.
    pub name: String,
    /// The system's id for them; may be empty.
    pub id: String,
    /// A program rather than a person.
    pub automation: bool,
}

/// What became of a write to a record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delivery {
    /// The delivery's own id.
    pub id: String,
    /// The record.
    pub record: String,
    /// Its item.
    pub item: String,
    /// The item's version that the record was to show.
    pub version: u64,
    /// `applied`, `unchanged`, `superseded`, `overtaken`, `rejected` or `failed`.
    pub outcome: String,
    /// `tell`, or `show` for a record that cannot be told.
    pub mode: String,
    /// What the record shows now; may be empty.
    pub native: String,
    /// Where that is on the record's own time line; 0 where it has none.
    pub record_position: u64,
    /// Why it was not done; may be empty.
    pub reason: String,
    /// When.
    pub at: i64,
    /// How often it was tried.
    pub attempts: u32,
    /// What the item's status was shown as, for `show`.
    pub status: String,
    /// The stream sequence of what caused the command: of one version several may have gone out. 0 from an older release.
    pub cause: u64,
}

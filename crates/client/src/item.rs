//! Items as the API shows them. Members that a newer server adds are passed over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An item: what several records stand for together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its id.
    pub id: String,
    /// What people call it for short.
    pub key: Option<String>,
    /// What people call it.
    pub title: Option<String>,
    /// The state machine that its status belongs to.
    pub lifecycle: String,
    /// The canonical status.
    pub status: String,
    /// Since when, in milliseconds since 1970.
    pub status_since: i64,
    /// How often it has changed.
    pub version: u64,
    /// The conflict that a person must resolve before anything moves again.
    #[serde(default)]
    pub held: Option<String>,
    /// Whether all its records show what they should, as far as they can.
    #[serde(default)]
    pub in_step: bool,
    /// Its records.
    #[serde(default)]
    pub records: Vec<Record>,
}

/// One record of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// `system/kind/id`.
    pub record: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// What it shows.
    pub native: String,
    /// What it should show, where a mapping says so.
    #[serde(default)]
    pub want: Option<String>,
    /// `in_step`, or why not: `pending`, `as_close`, `read_only`, `held`, `unmapped`, `deleted`, `failed`.
    pub step: String,
    /// Where people find it.
    #[serde(default)]
    pub url: Option<String>,
    /// The newest version of the item that it is known to show.
    #[serde(default)]
    pub agreed: u64,
    /// Why the last command failed for good.
    #[serde(default)]
    pub last_error: Option<String>,
    /// By lane, the place on the stream of the newest status that was taken in; not in snapshots.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub taken: BTreeMap<String, u64>,
}

/// One page of items.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Items {
    /// The items.
    pub items: Vec<Item>,
    /// What to ask for next, when there are more.
    #[serde(default)]
    pub next: Option<String>,
}

/// Which items.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Query {
    /// How many at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The page after this one: an earlier page's `next`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Words of the key or the title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub q: Option<String>,
    /// Of this lifecycle only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<String>,
    /// Only those that are in step, or only those that are not. A page may then hold fewer than there are, and still have a `next`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_step: Option<bool>,
}

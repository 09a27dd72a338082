//! Statuses as they are published.

use serde::{Deserialize, Serialize};

/// "This record shows this status."
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// `system/kind/id`.
    pub record: String,
    /// The status in the record's own words.
    pub status: String,
    /// The status's own id: a second one of the same id and record changes nothing. Without one each call is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A point on the record's own time line, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// When the edit was made, in milliseconds since 1970; without it now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<i64>,
    /// `critical`, `high`, `normal` or `low`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// What people call the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Where people find it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The identifiers that it owns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// The identifiers of other records, to whose item it belongs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<String>,
    /// The lifecycle of a new item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<String>,
}

impl Status {
    /// A record and its status; everything else is left to the server.
    pub fn new(record: impl Into<String>, status: impl Into<String>) -> Self {
        Self { record: record.into(), status: status.into(), ..Self::default() }
    }
}

/// A status that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Its id: the given one, or a new one.
    pub id: String,
    /// The record that it is about.
    pub record: String,
    /// Its place on the stream.
    pub sequence: u64,
}

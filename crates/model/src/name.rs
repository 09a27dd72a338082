//! The names things go by: systems, records, statuses, items, and the points on their several time lines.
//!
//! Every name is checked where it enters; past this file a name is known to be good.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A name that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} {why}")]
pub struct NameError {
    /// Which kind of name it was meant to be.
    pub what: &'static str,
    /// The name as given, cut to 80 characters.
    pub value: String,
    /// What is wrong, and what would be right.
    pub why: &'static str,
}

fn refused(what: &'static str, value: &str, why: &'static str) -> NameError {
    NameError { what, value: value.chars().take(80).collect(), why }
}

/// A word that code and configuration use: lower case, short, safe in a subject and in a metric label.
fn check_word(what: &'static str, value: &str) -> Result<(), NameError> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if value.is_empty() || value.len() > 40 || !value.chars().all(good) {
        return Err(refused(what, value, "must be 1 to 40 of a-z, 0-9, _ and -"));
    }
    Ok(())
}

/// A text that comes from outside and is shown to people: any language, bounded, without control characters.
fn check_text(what: &'static str, value: &str, limit: usize) -> Result<(), NameError> {
    if value.trim().is_empty() {
        return Err(refused(what, value, "must not be empty"));
    }
    if value.len() > limit {
        return Err(refused(what, value, "is too long"));
    }
    if value.chars().any(char::is_control) {
        return Err(refused(what, value, "must not hold control characters"));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes the name.
            pub fn new(value: impl AsRef<str>) -> Result<Self, NameError> {
                let check: fn(&'static str, &str) -> Result<(), NameError> = $check;
                check($what, value.as_ref())?;
                Ok(Self(Arc::from(value.as_ref())))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(value: String) -> Result<Self, NameError> {
                Self::new(value)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.to_string()
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(value: &str) -> Result<Self, NameError> {
                Self::new(value)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name!(
    /// Something that holds statuses: `linear`, `github`, `postgres`, `agentapi`, …; `lockstep` for our own API.
    System, "system", check_word
);
name!(
    /// What a record is in its system's own words: `issue`, `pull_request`, `task`, `agent`.
    Kind, "kind", check_word
);
name!(
    /// The name of a lifecycle: `work`, `agent`, `server`, `workflow`, `operation`, or a custom one.
    LifecycleName, "lifecycle", check_word
);
name!(
    /// A canonical status: a word of the item's lifecycle.
    Status, "status", check_word
);
name!(
    /// A status in a system's own words: `In Review`, `closed/not_planned`, `running`.
    Native, "native status", |what, value| check_text(what, value, 128)
);
name!(
    /// An identifier that people use for a record, and by which other records mention it: `ENG-123`, `acme/web#7`.
    Key, "key", |what, value| check_text(what, value, 256)
);

impl Native {
    /// What stands where nothing is shown.
    pub fn none() -> Self {
        Self(Arc::from("-"))
    }

    /// What a record shows that its system says was deleted, until it is seen again. No mapping knows it, so that the record speaks for
    /// nothing, and is told nothing.
    pub fn deleted() -> Self {
        Self(Arc::from("(deleted)"))
    }

    /// Whether it is that.
    pub fn is_deleted(&self) -> bool {
        &*self.0 == "(deleted)"
    }
}

impl Status {
    /// What stands where a status is not known; no lifecycle has it.
    pub(crate) fn none() -> Self {
        Self(Arc::from("-"))
    }
}

impl System {
    /// The system by which people and scripts speak to Lockstep itself.
    pub fn lockstep() -> Self {
        Self(Arc::from("lockstep"))
    }
}

/// One object in one system that has a status. Written `system/kind/id`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordRef {
    /// The system that holds it.
    pub system: System,
    /// What it is there.
    pub kind: Kind,
    /// What it is called there, unique in the system and kind, and never reused.
    id: Arc<str>,
}

impl RecordRef {
    /// How long an id may be, in bytes.
    const ID_MAX: usize = 512;

    /// A record by its three parts; the id is checked (1 to 512 bytes, no control characters).
    pub fn new(system: System, kind: Kind, id: impl AsRef<str>) -> Result<Self, NameError> {
        check_text("record id", id.as_ref(), Self::ID_MAX)?;
        Ok(Self { system, kind, id: Arc::from(id.as_ref()) })
    }

    /// The record's id in its system.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether both are of one system and kind: on one item they are read together.
    pub fn is_kin_of(&self, other: &Self) -> bool {
        self.system == other.system && self.kind == other.kind
    }

    /// Who an operator is that speaks about this record's item. What would be too long for an id ends where an id must end.
    pub(crate) fn as_operator(&self) -> Self {
        let mut id = self.to_string();
        id.truncate(id.floor_char_boundary(Self::ID_MAX));
        Self { system: System::lockstep(), kind: Kind(Arc::from("operator")), id: Arc::from(id.as_str()) }
    }

    /// The id of the item that this record gets when nobody linked it: always the same for the same record.
    pub fn own_item(&self) -> ItemId {
        // Any constant will do; this one names the project's own space of item ids.
        const SPACE: Uuid = Uuid::from_u128(0x6c6f_636b_7374_6570_8000_6974_656d_7300);
        ItemId(Uuid::new_v5(&SPACE, self.to_string().as_bytes()))
    }
}

impl std::str::FromStr for RecordRef {
    type Err = NameError;
    fn from_str(value: &str) -> Result<Self, NameError> {
        let mut parts = value.splitn(3, '/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(system), Some(kind), Some(id)) => Self::new(System::new(system)?, Kind::new(kind)?, id),
            _ => Err(refused("record", value, "must be system/kind/id, such as github/issue/acme/web#7")),
        }
    }
}

impl TryFrom<String> for RecordRef {
    type Error = NameError;
    fn try_from(value: String) -> Result<Self, NameError> {
        value.parse()
    }
}

impl From<RecordRef> for String {
    fn from(record: RecordRef) -> Self {
        record.to_string()
    }
}

impl fmt::Display for RecordRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.system, self.kind, self.id)
    }
}

impl fmt::Debug for RecordRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What several records stand for together, by its id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ItemId(pub Uuid);

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts an item's changes, from 1, without gaps. 0 stands for "none yet".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// The version after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A point on one record's own time line, as its system counts it: an `updatedAt` in milliseconds, a row version.
/// Comparable only with positions of the same record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

/// Milliseconds since 1970, UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The end of the year 9999: PostgreSQL and what reads it know no later moment.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// How far apart two moments are, in milliseconds, whichever came first.
    pub fn apart_ms(self, other: Self) -> u64 {
        self.0.abs_diff(other.0)
    }
}

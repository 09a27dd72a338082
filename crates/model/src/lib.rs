//! Decides what a status is: items, records, links, lifecycles, mapping lenses and [`resolve`].
//!
//! Pure. No clock, no network, no database: time and randomness are arguments, and the same values always give the
//! same answer. Whoever calls carries the outcome out; see `resolver::worker`.

mod adopt;
mod conflict;
mod drift;
mod fold;
mod item;
mod lifecycle;
mod mapping;
mod name;
mod observation;
mod outcome;
mod owed;
mod policy;
mod resolve;
mod retry;

pub use adopt::{Adoption, adopt, may_adopt, part};
pub use conflict::{Candidate, Conflict, ConflictId, OnLink, Strategy};
pub use drift::is_drift;
pub use fold::Fold;
pub use item::{Group, Item, Link, Sent, Step};
pub use lifecycle::{Irregular, Lifecycle, LifecycleError, Lifecycles};
pub use mapping::{Class, Lens, Mapping, MappingError, Mappings, Reopen, Vocabulary, Word};
pub use name::{
    ItemId, Key, Kind, LifecycleName, NameError, Native, Position, RecordRef, Status, System, Timestamp, Version,
};
pub use observation::{Actor, Intent, Lane, Observation, Origin, Receipt, Source};
pub use outcome::{Cause, Command, CommandMode, DeliveryOutcome, Earlier, HistoryRow, Reason, RowKind, Verdict};
pub use owed::commands_due;
pub use policy::Policy;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub use resolve::rule_names;
pub use resolve::{OLDER_COMMAND, Report, Resolved, begin, report, resolve, roll_back};
pub use retry::Backoff;

//! Statuses of any records, one or many, all of them checked before any is taken.

mod entry;

pub(crate) use entry::observation;

use std::collections::HashSet;

use model::{Lane, Observation};
use serde_json::Value;

use crate::list::Kind;
use crate::refused::Wrong;
use crate::{Context, Refused};

/// How many statuses one request may bring.
pub const STATUSES_MAX: usize = 500;

const STATUSES: Kind = Kind {
    one: "a status",
    several: "statuses",
    max: STATUSES_MAX,
    too_many: "too_many_statuses",
    bad: "bad_statuses",
};

/// A status that can be stored.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Its id, as its sender knows it.
    pub id: String,
    /// How urgent it is.
    pub lane: Lane,
    /// What goes onto the bus.
    pub observation: Observation,
}

/// The statuses of a body: one object, a list, or a list under `statuses`. At least one, at most [`STATUSES_MAX`].
pub fn statuses(body: Value) -> Result<Vec<Value>, Refused> {
    STATUSES.of(body)
}

/// What is to be stored of a list of statuses, in its order; nothing if one of them is wrong.
pub fn ready(list: Vec<Value>, context: &Context<'_>) -> Result<Vec<Ready>, Refused> {
    let mut ids = HashSet::new();
    STATUSES.checked(list, |status, index| {
        let checked = entry::ready(status, index, context)?;
        // The bus keeps one of two messages of an id: the other would be lost in silence.
        if ids.insert(checked.observation.id.clone()) {
            Ok(checked)
        } else {
            Err(Wrong::new("id", "is used for this record by an earlier status of the request"))
        }
    })
}

#[cfg(test)]
mod tests;

//! What callers wait for: the answers to what they said over the socket.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tokio::sync::oneshot;

use super::rooms::Begin;
use crate::{Accepted, Error};

/// What the task is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    /// Join rooms.
    Join { rooms: BTreeSet<String>, begin: Begin, answer: Waiter },
    /// Leave rooms.
    Leave { rooms: BTreeSet<String>, answer: Waiter },
    /// Say something that changes nothing when it is said twice.
    Say { what: Value, answer: Waiter },
}

pub(super) type Waiter = oneshot::Sender<Result<Vec<Accepted>, Error>>;

/// Everybody who waits.
#[derive(Debug, Default)]
pub(super) struct Calls {
    joins: BTreeMap<String, Waiter>,
    said: BTreeMap<String, (Value, Waiter)>,
    count: u64,
}

impl Calls {
    pub(super) fn joins(&mut self, reference: String, waiter: Waiter) {
        self.joins.insert(reference, waiter);
    }

    /// Notes something to be said; what to say, with its reference.
    pub(super) fn says(&mut self, mut what: Value, waiter: Waiter) -> Value {
        self.count += 1;
        let reference = format!("c{}", self.count);
        what["ref"] = reference.as_str().into();
        self.said.insert(reference, (what.clone(), waiter));
        what
    }

    /// What was said and not answered, in its order: a new connection must hear it again. Whoever does not wait any more is left
    /// out.
    pub(super) fn unanswered(&mut self) -> Vec<Value> {
        self.joins.retain(|_, waiter| !waiter.is_closed());
        self.said.retain(|_, (_, waiter)| !waiter.is_closed());
        let mut said: Vec<_> = self.said.iter().collect();
        said.sort_by_key(|(reference, _)| (reference.len(), reference.as_str()));
        said.into_iter().map(|(_, (what, _))| what.clone()).collect()
    }

    /// Answers; false when nobody waits for that.
    pub(super) fn answer(&mut self, reference: Option<&str>, answer: Result<Vec<Accepted>, Error>) -> bool {
        let Some(reference) = reference else { return false };
        let said = || self.said.remove(reference).map(|(_, waiter)| waiter);
        let Some(waiter) = self.joins.remove(reference).or_else(said) else { return false };
        // Who stopped waiting does not need it.
        let _ = waiter.send(answer);
        true
    }
}

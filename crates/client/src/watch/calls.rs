//! What callers wait for: the answers to what they said over the socket.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::sync::oneshot;

use super::rooms::Begin;
use crate::{Accepted, Error};

/// For how long after they were first said statuses may be said again. Servers know an id again for 120 s; by the clock of the day,
/// because others may stand still while a machine sleeps.
const AGAIN: Duration = Duration::from_secs(100);

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

/// What was said, when first, and who waits for the answer.
#[derive(Debug)]
struct Asked {
    what: Value,
    at: SystemTime,
    waiter: Waiter,
}

impl Asked {
    /// Whether servers may have forgotten the ids of its statuses: said again, they might count twice.
    fn is_too_old(&self, now: SystemTime) -> bool {
        self.what["type"] == "status_update" && now.duration_since(self.at).is_ok_and(|age| age > AGAIN)
    }
}

/// Everybody who waits.
#[derive(Debug, Default)]
pub(super) struct Calls {
    joins: BTreeMap<String, Waiter>,
    said: BTreeMap<String, Asked>,
    count: u64,
}

impl Calls {
    pub(super) fn joins(&mut self, reference: String, waiter: Waiter) {
        self.joins.insert(reference, waiter);
    }

    /// Notes something to be said at this time; what to say, with its reference.
    pub(super) fn says(&mut self, mut what: Value, waiter: Waiter, at: SystemTime) -> Value {
        self.count += 1;
        let reference = format!("c{}", self.count);
        what["ref"] = reference.as_str().into();
        self.said.insert(reference, Asked { what: what.clone(), at, waiter });
        what
    }

    /// What was said and not answered, in its order: a new connection must hear it again. Whoever does not wait any more is left
    /// out, and who told of statuses too long ago hears that they may be stored.
    pub(super) fn unanswered(&mut self, now: SystemTime) -> Vec<Value> {
        self.joins.retain(|_, waiter| !waiter.is_closed());
        for (_, old) in self.said.extract_if(.., |_, asked| asked.waiter.is_closed() || asked.is_too_old(now)) {
            let why = "no answer came, and it is too late to send the statuses again: they may be stored";
            // Who stopped waiting does not need it.
            let _ = old.waiter.send(Err(Error::unavailable(why)));
        }
        let mut said: Vec<_> = self.said.iter().collect();
        said.sort_by_key(|(reference, _)| (reference.len(), reference.as_str()));
        said.into_iter().map(|(_, asked)| asked.what.clone()).collect()
    }

    /// Answers; false when nobody waits for that.
    pub(super) fn answer(&mut self, reference: Option<&str>, answer: Result<Vec<Accepted>, Error>) -> bool {
        let Some(reference) = reference else { return false };
        let said = || self.said.remove(reference).map(|asked| asked.waiter);
        let Some(waiter) = self.joins.remove(reference).or_else(said) else { return false };
        // Who stopped waiting does not need it.
        let _ = waiter.send(answer);
        true
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn statuses_are_not_said_again_once_servers_may_have_forgotten_their_ids() {
        let (mut calls, start) = (Calls::default(), SystemTime::UNIX_EPOCH);
        let after = |seconds| start + Duration::from_secs(seconds);
        let ((early, mut forgotten), (late, _late)) = (oneshot::channel(), oneshot::channel());
        let (alert, _alert) = oneshot::channel();
        calls.says(json!({"type": "status_update"}), early, start);
        calls.says(json!({"type": "acknowledge"}), alert, start);
        calls.says(json!({"type": "status_update"}), late, after(60));
        let mut said = |now| calls.unanswered(now).iter().map(|what| what["ref"].clone()).collect::<Vec<_>>();
        assert_eq!(said(after(100)), ["c1", "c2", "c3"]);
        assert!(forgotten.try_recv().is_err());
        assert_eq!(said(after(101)), ["c2", "c3"]);
        assert!(matches!(forgotten.try_recv(), Ok(Err(Error::Unavailable { .. }))));
    }
}

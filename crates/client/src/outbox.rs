//! Decides what becomes of statuses between the call and the server's answer: which wait, which go next, which are sent again.
//!
//! No I/O, no clock. One message is on its way at a time, so a record's statuses keep their order. Each status has an id from the
//! start, so one whose answer was lost is sent again and stored once, as long as servers remember the id.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;

use crate::propagation::Stored;
use crate::{Accepted, Error, Status, Wrong};

/// How many statuses a server takes in one message.
const STATUSES_MAX: usize = 500;
/// How many bytes a message has at most beside its statuses.
const BESIDE: usize = 128;
/// How often a status is sent at most while the server answers that it cannot store it now.
const ATTEMPTS_MAX: u32 = 8;
/// For how long after it was first sent a status may be sent again. Servers know an id again for 120 s; by the clock of the day, because
/// others may stand still while a machine sleeps.
const AGAIN: Duration = Duration::from_secs(100);
/// Refusals of what may be stored all the same.
const DOUBTFUL: [&str; 2] = ["not_stored", "timeout"];
/// Refusals that pass.
const PASSING: [&str; 9] = [
    "unavailable",
    "store_unavailable",
    "bus_unavailable",
    "auth_unavailable",
    "overloaded",
    "not_stored",
    "internal",
    "timeout",
    "busy",
];

/// How one status ended.
pub(crate) type Ended = Result<Stored, Error>;

/// When to go on after a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Now,
    Later,
}

#[derive(Debug)]
struct Entry {
    /// With an id.
    status: Status,
    bytes: usize,
    call: u64,
    end: oneshot::Sender<Ended>,
    attempts: u32,
    /// When it was first sent, and where the connection was then, unless the answers say that it was not stored.
    sent: Option<(SystemTime, String)>,
    /// It may be stored, for what is known.
    doubtful: bool,
}

impl Entry {
    /// Ends it by an error that does not say what became of it when it was sent before.
    fn fail(self, error: Error) {
        let error = if self.doubtful { self.answer_lost(&error) } else { error };
        self.end(Err(error));
    }

    fn answer_lost(&self, why: &dyn fmt::Display) -> Error {
        Error::AnswerLost { record: self.status.record.clone(), why: why.to_string() }
    }

    fn end(self, ended: Ended) {
        // Who stopped waiting does not need it.
        let _ = self.end.send(ended);
    }
}

/// The statuses that are not stored yet, oldest first.
#[derive(Debug)]
pub(crate) struct Outbox {
    max: usize,
    waiting: VecDeque<Entry>,
    sent: Option<Vec<Entry>>,
    calls: u64,
    /// The next message holds statuses of one call only, because one that held several was refused as a whole.
    apart: bool,
    /// Why nothing more is taken.
    over: Option<Error>,
}

impl Outbox {
    /// At most `max` wait or are on their way.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, waiting: VecDeque::new(), sent: None, calls: 0, apart: false, over: None }
    }

    /// How many wait or are on their way.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.sent.as_ref().map_or(0, Vec::len)
    }

    /// Takes the statuses of one call, all or none; where each ends is told later. In a full queue older statuses of the same records
    /// make room, if they were not sent yet; when that is not enough the call is refused.
    pub(crate) fn add(&mut self, statuses: Vec<Status>) -> Result<Vec<oneshot::Receiver<Ended>>, Error> {
        if let Some(error) = &self.over {
            return Err(error.clone());
        }
        let over = (self.len() + statuses.len()).saturating_sub(self.max);
        let replaced = self.replaceable(&statuses, over);
        if over > replaced.len() {
            let (wait, max, more) = (self.len(), self.max, statuses.len());
            return Err(Error::QueueFull {
                why: format!(
                    "{wait} wait and {max} may; {more} more were not taken. Wait until the connection is back, or raise queue_max"
                ),
            });
        }
        for place in replaced.into_iter().rev() {
            if let Some(entry) = self.waiting.remove(place) {
                let record = entry.status.record.clone();
                entry.end(Err(Error::Replaced { record }));
            }
        }
        self.calls += 1;
        let mut endings = Vec::new();
        for status in statuses {
            let (end, ended) = oneshot::channel();
            // What is no JSON, which a status always is, would be refused by the server.
            let bytes = serde_json::to_string(&status).map_or(0, |text| text.len());
            let entry = Entry { status, bytes, call: self.calls, end, attempts: 0, sent: None, doubtful: false };
            self.waiting.push_back(entry);
            endings.push(ended);
        }
        Ok(endings)
    }

    /// The message to send at `now`, by a connection that is at `position`: none while one is on its way. A status that alone is too
    /// large for a server that takes `bytes_max` ends here: the server would end the connection. So does one whose id servers may have
    /// forgotten: it would count a second time.
    pub(crate) fn next(&mut self, bytes_max: usize, now: SystemTime, position: &str) -> Option<Vec<Status>> {
        if self.sent.is_some() {
            return None;
        }
        let takes = bytes_max.saturating_sub(BESIDE);
        for entry in self.take_where(|entry| entry.bytes > takes) {
            let error = too_large(&entry, takes);
            entry.fail(error);
        }
        let is_old = |entry: &Entry| {
            let sent = entry.sent.as_ref();
            sent.is_some_and(|(at, _)| now.duration_since(*at).is_ok_and(|age| age > AGAIN))
        };
        for entry in self.take_where(is_old) {
            let error = entry.answer_lost(&"sent again so late it might count twice");
            entry.end(Err(error));
        }
        let call = self.waiting.front()?.call;
        // Three quarters of what the server takes is filled with several statuses.
        let room = bytes_max / 4 * 3;
        let mut bytes = 0;
        let fits = |(index, entry): &(usize, &Entry)| {
            bytes += entry.bytes + 1;
            *index == 0 || (*index < STATUSES_MAX && bytes <= room && (!self.apart || entry.call == call))
        };
        let count = self.waiting.iter().enumerate().take_while(fits).count();
        let mut entries: Vec<Entry> = self.waiting.drain(..count).collect();
        for entry in &mut entries {
            entry.attempts += 1;
            entry.sent.get_or_insert_with(|| (now, position.to_owned()));
        }
        let statuses = entries.iter().map(|entry| entry.status.clone()).collect();
        self.sent = Some(entries);
        Some(statuses)
    }

    /// The server stored the message.
    pub(crate) fn stored(&mut self, accepted: &[Accepted]) {
        self.apart = false;
        for (index, entry) in self.sent.take().into_iter().flatten().enumerate() {
            let Status { id, record, status, lane, .. } = &entry.status;
            let own = |one: &&Accepted| Some(&one.id) == id.as_ref() && one.record == *record;
            let ended = match accepted.iter().find(own).or_else(|| accepted.get(index)) {
                Some(accepted) => Ok(Stored {
                    record: record.clone(),
                    id: accepted.id.clone(),
                    status: status.clone(),
                    lane: lane.clone().unwrap_or_else(|| "normal".into()),
                    sequence: accepted.sequence,
                    from: entry.sent.clone().map(|(_, position)| position).filter(|position| !position.is_empty()),
                }),
                None => Err(entry.answer_lost(&"the server's answer does not name it")),
            };
            entry.end(ended);
        }
    }

    /// The server refused the message. Statuses that it names end with its words, and the others, of which nothing was stored
    /// either, wait again. One that passes is tried again as a whole.
    pub(crate) fn refused(&mut self, code: &str, error: &Error, named: &[Wrong]) -> Next {
        let mut sent = self.sent.take().unwrap_or_default();
        for entry in &mut sent {
            entry.doubtful |= DOUBTFUL.contains(&code);
            if !entry.doubtful {
                entry.sent = None;
            }
        }
        if PASSING.contains(&code) {
            let (worn, back): (Vec<_>, Vec<_>) = sent.into_iter().partition(|entry| entry.attempts >= ATTEMPTS_MAX);
            self.back(back);
            for entry in worn {
                entry.fail(error.clone());
            }
            return Next::Later;
        }
        let named: BTreeMap<usize, &Wrong> = named.iter().map(|wrong| (wrong.index, wrong)).collect();
        let calls: BTreeSet<u64> = sent.iter().map(|entry| entry.call).collect();
        // An answer that names nobody may be about any of several calls: each is tried for itself.
        self.apart = named.is_empty() && calls.len() > 1;
        let mut back = Vec::new();
        for (index, entry) in sent.into_iter().enumerate() {
            match named.get(&index) {
                Some(wrong) => {
                    let error = about(&entry.status.record, code, wrong);
                    entry.end(Err(error));
                }
                None if self.apart || !named.is_empty() => back.push(entry),
                None => entry.fail(error.clone()),
            }
        }
        self.back(back);
        Next::Now
    }

    /// The connection broke, or no answer came: what was sent goes again, in its old place.
    pub(crate) fn lost(&mut self) {
        let mut sent = self.sent.take().unwrap_or_default();
        for entry in &mut sent {
            // A broken connection says nothing against the statuses.
            entry.attempts -= 1;
            entry.doubtful = true;
        }
        self.back(sent);
    }

    /// What is there will not be sent any more.
    pub(crate) fn close(&mut self, error: &Error) {
        self.lost();
        self.waiting.drain(..).for_each(|entry| entry.fail(error.clone()));
    }

    /// Nothing will be sent any more, and nothing is taken.
    pub(crate) fn end(&mut self, error: Error) {
        self.close(&error);
        self.over = Some(error);
    }

    fn back(&mut self, entries: Vec<Entry>) {
        entries.into_iter().rev().for_each(|entry| self.waiting.push_front(entry));
    }

    fn take_where(&mut self, ends: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let (taken, waiting) = std::mem::take(&mut self.waiting).into_iter().partition::<Vec<_>, _>(ends);
        self.waiting = waiting.into();
        taken
    }

    /// The places of the oldest statuses of the same records that were not sent, as many as are over: what was sent may be stored.
    fn replaceable(&self, statuses: &[Status], over: usize) -> Vec<usize> {
        let records: BTreeSet<&str> = statuses.iter().map(|status| status.record.as_str()).collect();
        let may = |entry: &Entry| entry.sent.is_none() && records.contains(entry.status.record.as_str());
        let places = self.waiting.iter().enumerate().filter(|(_, entry)| may(entry)).map(|(place, _)| place);
        places.take(over).collect()
    }
}

fn too_large(entry: &Entry, takes: usize) -> Error {
    let (record, bytes) = (&entry.status.record, entry.bytes);
    let detail =
        format!("{record}: the status has {bytes} bytes as JSON; the server takes {takes} (message_max_bytes)");
    Error::Refused { status: 0, code: "too_large".into(), detail, errors: Vec::new() }
}

fn about(record: &str, code: &str, wrong: &Wrong) -> Error {
    let place = if wrong.field.is_empty() { record.to_owned() } else { format!("{record}, {}", wrong.field) };
    let detail = format!("{place}: {}", wrong.detail);
    Error::Refused { status: 0, code: code.into(), detail, errors: vec![wrong.clone()] }
}

#[cfg(test)]
mod tests;

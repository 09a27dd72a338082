//! What an ordered reader has handed out and not yet acknowledged: acknowledgements go up to the first gap, never past it.
//!
//! Pure bookkeeping; the reader and the messages it handed out share it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_nats::Subject;

/// One lane's messages in hand.
#[derive(Debug, Default)]
pub(crate) struct Held {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By sequence, rising.
    entries: VecDeque<Entry>,
    /// All up to here are done.
    floor: u64,
    /// When the bus stored the last of those, in milliseconds since 1970, if it was read here.
    floor_at_ms: Option<i64>,
    /// The newest that was handed out.
    newest: u64,
}

#[derive(Debug)]
struct Entry {
    sequence: u64,
    /// When the bus stored it, in milliseconds since 1970.
    at_ms: i64,
    done: bool,
    /// Where to acknowledge it; `None` since its consumer was replaced, until its copy comes from the new one.
    reply: Option<Subject>,
}

/// What became of a message that was offered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It is new: hand it out.
    New,
    /// A copy of one that is in hand or done; if an acknowledgement is due because of it, where to.
    Copy(Option<Subject>),
}

impl Held {
    /// A reader that begins after `floor`.
    pub(crate) fn after(floor: u64) -> Self {
        Self { state: Mutex::new(State { floor, newest: floor, ..State::default() }) }
    }

    /// A server whose power was cut may have lost the end of the stream. It gives those sequences once more, and what then has one of
    /// them is told from a copy by when it was stored.
    pub(crate) fn offer(&self, sequence: u64, at_ms: i64, reply: Subject) -> Offer {
        let mut state = self.state();
        if sequence <= state.newest {
            match state.entries.binary_search_by_key(&sequence, |entry| entry.sequence) {
                Ok(at) if state.entries[at].at_ms == at_ms => {
                    state.entries[at].reply = Some(reply);
                    return Offer::Copy(state.advance());
                }
                // Done with, and its acknowledgement was lost.
                Err(_) if sequence <= state.floor && state.floor_at_ms.is_some_and(|floor| at_ms <= floor) => {
                    return Offer::Copy(Some(reply));
                }
                Ok(at) | Err(at) => {
                    state.entries.truncate(at);
                    if sequence <= state.floor {
                        (state.floor, state.floor_at_ms) = (sequence.saturating_sub(1), None);
                    }
                }
            }
        }
        state.newest = sequence;
        state.entries.push_back(Entry { sequence, at_ms, done: false, reply: Some(reply) });
        Offer::New
    }

    /// Marks a message as done. Where to acknowledge, if the floor rose.
    pub(crate) fn done(&self, sequence: u64, at_ms: i64) -> Option<Subject> {
        let mut state = self.state();
        let at = state.entries.binary_search_by_key(&sequence, |entry| entry.sequence).ok()?;
        if state.entries[at].at_ms != at_ms {
            return None;
        }
        state.entries[at].done = true;
        state.advance()
    }

    /// The consumer was replaced: what is in hand will come again from the new one. The floor to begin after.
    pub(crate) fn replaced(&self) -> u64 {
        let mut state = self.state();
        for entry in &mut state.entries {
            entry.reply = None;
        }
        state.floor
    }

    /// Forgets what is in hand, so that all of it is handed out again. The floor to begin after.
    pub(crate) fn forget(&self) -> u64 {
        let mut state = self.state();
        state.entries.clear();
        state.newest = state.floor;
        state.floor
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn advance(&mut self) -> Option<Subject> {
        let mut reply = None;
        while self.entries.front().is_some_and(|entry| entry.done && entry.reply.is_some()) {
            let entry = self.entries.pop_front()?;
            (self.floor, self.floor_at_ms) = (entry.sequence, Some(entry.at_ms));
            reply = entry.reply;
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sequence: u64) -> Subject {
        Subject::from(format!("ack.{sequence}"))
    }

    fn holding(sequences: &[u64]) -> Held {
        let held = Held::after(0);
        for &sequence in sequences {
            assert_eq!(held.offer(sequence, 0, at(sequence)), Offer::New);
        }
        held
    }

    #[test]
    fn nothing_is_acknowledged_past_a_message_in_hand() {
        let held = holding(&[3, 7, 9]);
        assert_eq!(held.done(9, 0), None);
        assert_eq!(held.done(3, 0), Some(at(3)));
        assert_eq!(held.done(7, 0), Some(at(9)), "and then up to the last that is done");
    }

    #[test]
    fn a_copy_is_not_handed_out_again() {
        let held = holding(&[3, 7]);
        assert_eq!(held.offer(3, 0, at(3)), Offer::Copy(None));
        assert_eq!(held.done(3, 0), Some(at(3)));
        assert_eq!(held.offer(3, 0, at(33)), Offer::Copy(Some(at(33))), "its acknowledgement was lost");
    }

    #[test]
    fn after_a_replacement_an_acknowledgement_waits_for_the_copy() {
        let held = holding(&[3, 7]);
        assert_eq!(held.replaced(), 0);
        assert_eq!(held.done(3, 0), None, "the old consumer is gone");
        assert_eq!(held.offer(3, 0, at(33)), Offer::Copy(Some(at(33))));
        assert_eq!(held.offer(7, 0, at(77)), Offer::Copy(None));
        assert_eq!(held.done(7, 0), Some(at(77)));
    }

    #[test]
    fn what_is_forgotten_is_handed_out_again() {
        let held = holding(&[3, 7]);
        assert_eq!(held.done(3, 0), Some(at(3)));
        assert_eq!(held.forget(), 3);
        assert_eq!(held.offer(7, 0, at(77)), Offer::New);
    }

    #[test]
    fn a_sequence_that_is_given_once_more_is_no_copy() {
        let held = holding(&[3, 7, 9, 12]);
        for sequence in [3, 7] {
            held.done(sequence, 0);
        }
        assert_eq!(held.replaced(), 7);
        assert_eq!(held.offer(3, 0, at(33)), Offer::Copy(Some(at(33))), "what was kept is known");
        assert_eq!(held.offer(5, 8, at(55)), Offer::New, "what is below the floor and younger is not");
        assert_eq!(held.offer(7, 8, at(77)), Offer::New);
        assert_eq!(held.offer(9, 9, at(99)), Offer::New);
        assert_eq!(held.done(9, 0), None, "the one that was in hand is lost, and its end says nothing of this one");
        assert_eq!((held.done(5, 8), held.done(7, 8), held.done(9, 9)), (Some(at(55)), Some(at(77)), Some(at(99))));
    }
}

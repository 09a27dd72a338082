//! The events that are handed out at once, joined once for all who are told the same of them.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use crate::event::{Event, Form};

/// Which events of a round, a bit each.
pub type Mask = u128;

/// How many events a round has at most.
pub const EVENTS: usize = Mask::BITS as usize;
/// From how many bytes on nothing more is joined to a write.
const JOINED: usize = 32 * 1024;
/// How many joins of a round are kept. Where everyone is told something else, none is of use to another.
const KEPT: usize = 8;

/// Some events that go out in one write.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Their bytes.
    pub bytes: Bytes,
    /// How many there are.
    pub events: u32,
    /// Those of the same join that come after.
    pub later: Mask,
}

/// One round.
#[derive(Debug, Default)]
pub struct Round {
    events: Vec<Arc<Event>>,
    joins: Vec<(Form, Mask, Rc<[Chunk]>)>,
}

impl Round {
    /// A round of at most [`EVENTS`] events.
    pub fn new(events: Vec<Arc<Event>>) -> Self {
        debug_assert!(events.len() <= EVENTS);
        Self { events, joins: Vec::new() }
    }

    /// Its events with their bits.
    pub fn each(&self) -> impl Iterator<Item = (Mask, &Arc<Event>)> {
        self.events.iter().enumerate().map(|(place, event)| (1 << place, event))
    }

    /// The number of the first of some of its events.
    pub fn first(&self, mask: Mask) -> Option<u64> {
        self.events.get(mask.trailing_zeros() as usize).map(|event| event.number)
    }

    /// Those of some events of which something holds.
    pub fn retain(&self, mask: Mask, holds: impl Fn(&Event) -> bool) -> Mask {
        self.each().filter(|(bit, event)| mask & bit != 0 && holds(event)).fold(0, |all, (bit, _)| all | bit)
    }

    /// Some of its events in a form, joined for as few writes as they fit in.
    pub fn joined(&mut self, form: Form, mask: Mask) -> Rc<[Chunk]> {
        if let Some((.., chunks)) = self.joins.iter().find(|(of, events, _)| (*of, *events) == (form, mask)) {
            return Rc::clone(chunks);
        }
        let chunks: Rc<[Chunk]> = self.join(form, mask).into();
        if self.joins.len() < KEPT {
            self.joins.push((form, mask, Rc::clone(&chunks)));
        }
        chunks
    }

    fn join(&self, form: Form, mask: Mask) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let (mut joined, mut events, mut later) = (Vec::new(), 0, mask);
        for (bit, event) in self.each().filter(|(bit, _)| mask & bit != 0) {
            later &= !bit;
            let bytes = event.bytes(form);
            if events == 0 && (later == 0 || bytes.len() >= JOINED) {
                // As it is: nobody need copy it.
                chunks.push(Chunk { bytes: bytes.clone(), events: 1, later });
                continue;
            }
            joined.extend_from_slice(bytes);
            events += 1;
            if later == 0 || joined.len() >= JOINED {
                chunks.push(Chunk { bytes: std::mem::take(&mut joined).into(), events, later });
                events = 0;
            }
        }
        chunks
    }
}

#[cfg(test)]
mod tests {
    use proto::v1;

    use super::*;
    use crate::event::Draft;
    use crate::message::Message;
    use crate::position::{Feed, Place, Position};

    fn round(sizes: &[usize]) -> Round {
        let event = |(number, size): (usize, &usize)| {
            let state = v1::AgentState { agent: "a".into(), task: "x".repeat(*size), ..Default::default() };
            let place = Place { epoch: 1, sequence: number as u64 };
            let draft = Draft { message: Message::AgentState(state), feed: Feed::Live, place, trace: None, at_ms: 0 };
            Arc::new(Event::new(draft, 100 + number as u64, Position::default()))
        };
        Round::new(sizes.iter().enumerate().map(event).collect())
    }

    #[test]
    fn what_is_joined_is_each_wanted_event_once_and_in_order() {
        for sizes in [vec![10; EVENTS], vec![40_000, 10, 10, 20_000, 20_000, 10, 50_000], vec![10], vec![33_000; 3]] {
            let mut round = round(&sizes);
            let all = Mask::MAX >> (EVENTS - sizes.len());
            for mask in [all, all & 0x5555_5555_5555_5555, 1, 1 << (sizes.len() - 1), 0] {
                let chunks = round.joined(Form::Json, mask);
                let got: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.to_vec()).collect();
                let wanted = round.each().filter(|(bit, _)| mask & bit != 0);
                let wanted: Vec<u8> = wanted.flat_map(|(_, event)| event.bytes(Form::Json).to_vec()).collect();
                assert!(got == wanted, "{sizes:?} {mask:x}");
                assert_eq!(chunks.iter().map(|chunk| chunk.events).sum::<u32>(), mask.count_ones());
                assert!(
                    chunks.iter().all(|chunk| chunk.bytes.len() < JOINED + 51_000),
                    "what is begun and one message"
                );
                let mut left = mask;
                for chunk in chunks.iter() {
                    for _ in 0..chunk.events {
                        left &= left - 1;
                    }
                    assert_eq!(chunk.later, left, "{sizes:?} {mask:x}");
                }
            }
        }
    }

    #[test]
    fn those_who_are_told_the_same_share_the_bytes_and_none_are_kept_without_end() {
        let mut round = round(&[10; EVENTS]);
        let (one, other) = (round.joined(Form::Json, 0b111), round.joined(Form::Json, 0b111));
        assert!(Rc::ptr_eq(&one, &other));
        assert!(!Rc::ptr_eq(&one, &round.joined(Form::Sse, 0b111)));
        let event = Arc::clone(&round.events[0]);
        for form in [Form::Json, Form::JsonDeflated, Form::Protobuf, Form::Sse] {
            let alone = round.joined(form, 1);
            assert_eq!(
                alone[0].bytes.as_ptr(),
                event.bytes(form).as_ptr(),
                "{form:?}: what goes out alone is not copied"
            );
        }
        for mask in 1..200 {
            round.joined(Form::Json, mask);
        }
        assert_eq!(round.joins.len(), KEPT);
    }

    #[test]
    fn events_are_known_by_their_bits() {
        let round = round(&[10; 3]);
        assert_eq!((round.first(0b110), round.first(0)), (Some(101), None));
        assert_eq!(round.retain(0b111, |event| event.number != 101), 0b101);
        assert_eq!(round.retain(0b010, |event| event.number != 101), 0);
    }
}

//! What waits to be written to one client, joined into as few writes as it fits in.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::event::{Event, Form};
use crate::snapshot::Pages;

/// From how many bytes on nothing more is joined to a write.
const JOINED: usize = 16 * 1024;
/// How many answers to pings wait at most. Anybody may ping as often as they like; the newest answers say that we are here (RFC 6455, 5.5.3).
const PONGS: usize = 16;
/// About how much memory an answer takes beside its bytes.
const ANSWER: usize = 128;

/// What waits for one client.
#[derive(Debug, Default)]
pub struct Outbox {
    /// What is left of a write that was not taken whole.
    rest: Bytes,
    /// They go before events, and never amid one.
    answers: VecDeque<Answer>,
    answer_bytes: usize,
    /// How many of them are to pings.
    pongs: usize,
    /// How many of them are snapshots.
    showing: usize,
    events: VecDeque<Arc<Event>>,
}

/// What a client is answered.
#[derive(Debug)]
enum Answer {
    Bytes(Bytes),
    /// To a ping.
    Pong(Bytes),
    /// A snapshot. It is shared until a page's turn has come.
    Pages(Box<Pages>),
}

/// How far a flush came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing waits any more.
    Empty,
    /// The client takes no more now.
    Blocked,
}

impl Outbox {
    /// Adds an answer.
    pub fn answer(&mut self, bytes: Bytes) {
        self.answer_bytes += bytes.len() + ANSWER;
        self.answers.push_back(Answer::Bytes(bytes));
    }

    /// Adds a snapshot. It takes the place of those of the same room that have not begun to be written, too, as each was asked for: this
    /// is newer, and what it shows is kept once for all.
    pub fn show(&mut self, pages: Pages) {
        for answer in &mut self.answers {
            if let Answer::Pages(waiting) = answer
                && waiting.room() == pages.room()
                && !waiting.has_begun()
            {
                **waiting = pages.clone();
            }
        }
        self.showing += 1;
        self.answers.push_back(Answer::Pages(Box::new(pages)));
    }

    /// How many snapshots wait.
    pub fn showing(&self) -> usize {
        self.showing
    }

    /// Adds an answer to a ping; where many wait, the oldest is left out.
    pub fn pong(&mut self, bytes: Bytes) {
        if self.pongs >= PONGS
            && let Some(oldest) = self.answers.iter().position(|answer| matches!(answer, Answer::Pong(_)))
            && let Some(Answer::Pong(left_out)) = self.answers.remove(oldest)
        {
            self.answer_bytes -= left_out.len() + ANSWER;
            self.pongs -= 1;
        }
        self.answer_bytes += bytes.len() + ANSWER;
        self.pongs += 1;
        self.answers.push_back(Answer::Pong(bytes));
    }

    /// Adds an event.
    pub fn tell(&mut self, event: Arc<Event>) {
        self.events.push_back(event);
    }

    /// Keeps what is left of a write that was not taken whole. Nothing else waits.
    pub fn keep(&mut self, rest: Bytes) {
        debug_assert!(self.is_empty());
        self.rest = rest;
    }

    /// Throws away all that has not begun to be written.
    pub fn clear(&mut self) {
        self.clear_events();
        (self.answers, self.answer_bytes, self.pongs, self.showing) = (VecDeque::new(), 0, 0, 0);
    }

    /// Throws away the events that have not begun to be written.
    pub fn clear_events(&mut self) {
        self.events = VecDeque::new();
    }

    /// Whether no event waits.
    pub fn has_told(&self) -> bool {
        self.rest.is_empty() && self.events.is_empty()
    }

    /// How many bytes of answers wait, with what keeping them takes.
    pub fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty() && self.answers.is_empty() && self.events.is_empty()
    }

    /// Writes what waits, with as few calls of `write` as it fits in; `scratch` is where messages are joined. Counts the events that
    /// were handed over in `told`.
    pub fn flush(
        &mut self,
        form: Form,
        scratch: &mut Vec<u8>,
        told: &mut u64,
        mut write: impl FnMut(&Bytes, &mut Vec<u8>) -> io::Result<usize>,
    ) -> io::Result<Flushed> {
        loop {
            scratch.clear();
            let one = self.next(form, scratch, told);
            let length = if scratch.is_empty() { one.len() } else { scratch.len() };
            if length == 0 {
                self.shrink();
                return Ok(Flushed::Empty);
            }
            let written = match write(&one, scratch) {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            if written < length {
                self.rest = if scratch.is_empty() {
                    let mut rest = one;
                    rest.advance(written);
                    rest
                } else {
                    Bytes::copy_from_slice(&scratch[written..])
                };
                return Ok(Flushed::Blocked);
            }
        }
    }

    /// What is written next: one message as it is, or several joined in `scratch`.
    fn next(&mut self, form: Form, scratch: &mut Vec<u8>, told: &mut u64) -> Bytes {
        let mut one = std::mem::take(&mut self.rest);
        let mut taken = usize::from(!one.is_empty());
        loop {
            let bytes = if let Some(bytes) = self.next_answer(form) {
                bytes
            } else if let Some(event) = self.events.pop_front() {
                *told += 1;
                event.bytes(form).clone()
            } else {
                return one;
            };
            taken += 1;
            if taken == 1 {
                one = bytes;
            } else {
                if taken == 2 {
                    scratch.extend_from_slice(&one);
                }
                scratch.extend_from_slice(&bytes);
            }
            if one.len().max(scratch.len()) >= JOINED {
                return one;
            }
        }
    }

    /// The next answer; of a snapshot its next page.
    fn next_answer(&mut self, form: Form) -> Option<Bytes> {
        if let Some(Answer::Pages(pages)) = self.answers.front_mut() {
            let page = pages.next(form);
            if pages.is_over() {
                self.answers.pop_front();
                self.showing -= 1;
            }
            return Some(page);
        }
        let (bytes, pong) = match self.answers.pop_front()? {
            Answer::Bytes(bytes) => (bytes, false),
            Answer::Pong(bytes) => (bytes, true),
            Answer::Pages(_) => return None,
        };
        self.answer_bytes -= bytes.len() + ANSWER;
        self.pongs -= usize::from(pong);
        Some(bytes)
    }

    /// A queue that was long once must not take its memory for ever.
    fn shrink(&mut self) {
        if self.events.capacity() > 16 {
            self.events = VecDeque::new();
        }
        if self.answers.capacity() > 16 {
            self.answers = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flushes into a pipe that takes so many bytes at a time, and so many in all.
    fn flush(outbox: &mut Outbox, pipe: &mut Vec<u8>, at_once: usize, room: usize) -> (Flushed, usize) {
        let (mut scratch, mut told, mut calls) = (Vec::new(), 0, 0);
        let end = pipe.len() + room;
        let flushed = outbox.flush(Form::Json, &mut scratch, &mut told, |one, joined| {
            calls += 1;
            let bytes = if joined.is_empty() { one } else { joined.as_slice() };
            let taken = bytes.len().min(at_once).min(end - pipe.len());
            if taken == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            pipe.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        });
        (flushed.unwrap(), calls)
    }

    fn answers(sizes: &[usize]) -> (Outbox, Vec<u8>) {
        let mut outbox = Outbox::default();
        let mut all = Vec::new();
        for (number, size) in sizes.iter().enumerate() {
            let bytes = vec![u8::try_from(number).unwrap(); *size];
            all.extend_from_slice(&bytes);
            outbox.answer(bytes.into());
        }
        (outbox, all)
    }

    #[test]
    fn what_waits_is_joined_in_one_write() {
        let (mut outbox, all) = answers(&[10, 20, 30]);
        let mut pipe = Vec::new();
        assert_eq!(flush(&mut outbox, &mut pipe, usize::MAX, 1_000_000), (Flushed::Empty, 1));
        assert_eq!(pipe, all);
        assert!(outbox.is_empty() && outbox.answer_bytes() == 0);
    }

    #[test]
    fn whatever_is_taken_at_a_time_nothing_is_lost_doubled_or_mixed() {
        for at_once in [1, 7, 100, 16_000, 50_000] {
            let (mut outbox, all) = answers(&[10, 40_000, 0, 3, 16_384, 5]);
            let mut pipe = Vec::new();
            for _ in 0..1_000_000 {
                if flush(&mut outbox, &mut pipe, at_once, at_once).0 == Flushed::Empty {
                    break;
                }
            }
            assert!(pipe == all, "{at_once}");
        }
    }

    #[test]
    fn however_often_a_client_pings_only_the_newest_answers_wait() {
        let (mut outbox, all) = answers(&[10]);
        for number in 0..100_000_u32 {
            outbox.pong(number.to_be_bytes().to_vec().into());
        }
        let mut pipe = Vec::new();
        assert_eq!(flush(&mut outbox, &mut pipe, usize::MAX, 1_000_000).0, Flushed::Empty);
        let newest = (100_000 - 16..100_000_u32).flat_map(u32::to_be_bytes);
        assert_eq!(pipe, all.into_iter().chain(newest).collect::<Vec<_>>());
        assert_eq!(outbox.answer_bytes(), 0);
    }

    #[test]
    fn small_answers_count_with_what_keeping_them_takes() {
        let (mut outbox, _) = answers(&[2; 200]);
        assert!(outbox.answer_bytes() > 200 * 100, "{}", outbox.answer_bytes());
        flush(&mut outbox, &mut Vec::new(), usize::MAX, 1_000_000);
        assert_eq!(outbox.answer_bytes(), 0);
    }

    #[test]
    fn a_full_client_keeps_its_place_in_the_message() {
        let (mut outbox, all) = answers(&[100]);
        let mut pipe = Vec::new();
        assert_eq!(flush(&mut outbox, &mut pipe, 1_000, 60).0, Flushed::Blocked);
        outbox.clear();
        assert!(!outbox.is_empty(), "a message that began to be written is ended");
        assert_eq!(flush(&mut outbox, &mut pipe, 1_000, 60).0, Flushed::Empty);
        assert_eq!(pipe, all);
    }
}

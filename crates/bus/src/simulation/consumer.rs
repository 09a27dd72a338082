//! A consumer: what it was given, what it has not acknowledged, and what comes again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::streams::{Stored, matches};

pub(super) struct Consumer {
    pub(super) config: pull::Config,
    /// The next stream sequence to be looked at.
    next: u64,
    /// How many deliveries there were.
    counted: u64,
    floor: u64,
    pending: BTreeMap<u64, Pending>,
    /// Acknowledged lately: a server that crashes may not remember it.
    lately: Vec<(u64, Pending)>,
    news: Arc<Notify>,
}

#[derive(Clone)]
struct Pending {
    until: Instant,
    delivered: i64,
}

/// What there is for a reader.
pub(super) enum Next {
    Message {
        stored: Stored,
        counted: u64,
        delivered: i64,
    },
    /// Nothing before then, unless something happens.
    Nothing(Option<Instant>),
}

/// How many acknowledgements a crash of the server may forget.
const LATELY: usize = 3;

impl Consumer {
    pub(super) fn new(config: pull::Config, last: u64) -> Self {
        let next = match config.deliver_policy {
            DeliverPolicy::ByStartSequence { start_sequence } => start_sequence.max(1),
            DeliverPolicy::New => last + 1,
            _ => 1,
        };
        Self {
            config,
            next,
            counted: 0,
            floor: next - 1,
            pending: BTreeMap::new(),
            lately: Vec::new(),
            news: Arc::default(),
        }
    }

    pub(super) fn wants(&self, subject: &str) -> bool {
        let pull::Config { filter_subject: one, filter_subjects: several, .. } = &self.config;
        let mut filters = several.iter().chain((!one.is_empty()).then_some(one)).peekable();
        filters.peek().is_none() || filters.any(|filter| matches(filter, subject))
    }

    pub(super) fn wake(&self) {
        self.news.notify_waiters();
    }

    pub(super) fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    pub(super) fn floor(&self) -> u64 {
        if self.config.ack_policy == AckPolicy::All { self.floor } else { 0 }
    }

    /// The next message for a reader: one that comes again, or a new one.
    pub(super) fn take(&mut self, messages: &BTreeMap<u64, Stored>) -> Next {
        let now = Instant::now();
        // One that was replaced meanwhile does not come again.
        self.pending.retain(|sequence, _| messages.contains_key(sequence));
        let again = self.pending.iter_mut().find(|(_, pending)| pending.until <= now);
        if let Some((sequence, pending)) = again {
            pending.until = now + self.config.ack_wait;
            pending.delivered += 1;
            self.counted += 1;
            let (stored, delivered) = (messages[sequence].clone(), pending.delivered);
            return Next::Message { stored, counted: self.counted, delivered };
        }
        let room = self.config.ack_policy == AckPolicy::None
            || self.pending.len() < usize::try_from(self.config.max_ack_pending).unwrap_or(usize::MAX);
        let fresh = messages.range(self.next..).find(|(_, stored)| self.wants(&stored.subject));
        if let Some((sequence, stored)) = fresh.filter(|_| room) {
            self.next = sequence + 1;
            self.counted += 1;
            if self.config.ack_policy != AckPolicy::None {
                self.pending.insert(*sequence, Pending { until: now + self.config.ack_wait, delivered: 1 });
            }
            return Next::Message { stored: stored.clone(), counted: self.counted, delivered: 1 };
        }
        Next::Nothing(self.pending.values().map(|pending| pending.until).min())
    }

    /// What a reader says of a message it was given.
    pub(super) fn answer(&mut self, sequence: u64, word: &[u8]) {
        if word.starts_with(b"+ACK") {
            self.acknowledge(sequence);
        } else if let Some(pending) = self.pending.get_mut(&sequence) {
            pending.until = Instant::now() + if word.starts_with(b"-NAK") { delay(word) } else { self.config.ack_wait };
        }
        self.wake();
    }

    fn acknowledge(&mut self, sequence: u64) {
        let done: Vec<u64> = match self.config.ack_policy {
            AckPolicy::All => self.pending.range(..=sequence).map(|(sequence, _)| *sequence).collect(),
            _ => vec![sequence],
        };
        for sequence in done {
            self.lately.extend(self.pending.remove(&sequence).map(|pending| (sequence, pending)));
        }
        let forgotten = self.lately.len().saturating_sub(LATELY);
        self.lately.drain(..forgotten);
        self.floor = self.floor.max(sequence);
    }

    pub(super) fn forget_acknowledgements(&mut self) {
        for (sequence, pending) in std::mem::take(&mut self.lately) {
            self.floor = self.floor.min(sequence - 1);
            self.pending.insert(sequence, pending);
        }
        self.wake();
    }

    /// What was given out once never comes again.
    pub(super) fn forget_unacknowledged(&mut self) {
        self.pending.clear();
        self.floor = self.next - 1;
    }

    /// Whether somebody ever took something of it, or there is nothing to take.
    pub(super) fn is_read(&self, messages: &BTreeMap<u64, Stored>) -> bool {
        self.counted > 0 || !self.has_fresh(messages)
    }

    fn has_fresh(&self, messages: &BTreeMap<u64, Stored>) -> bool {
        messages.range(self.next..).any(|(_, stored)| self.wants(&stored.subject))
    }

    pub(super) fn is_idle(&self, messages: &BTreeMap<u64, Stored>) -> bool {
        let fresh = self.has_fresh(messages);
        let shared = self.config.ack_policy == AckPolicy::Explicit;
        !fresh && (!shared || self.pending.keys().all(|sequence| !messages.contains_key(sequence)))
    }
}

/// `-NAK {"delay":<nanoseconds>}`
fn delay(word: &[u8]) -> Duration {
    let digits: String = word.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| char::from(*byte)).collect();
    Duration::from_nanos(digits.parse().unwrap_or(0))
}

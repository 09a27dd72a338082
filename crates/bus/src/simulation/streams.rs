//! Streams: what is stored, under which sequence, and what of it is a copy.

use std::collections::{BTreeMap, HashMap};

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull;
use bytes::Bytes;

use super::consumer::Consumer;
use super::{Duty, now_ms};
use crate::server::About;
use crate::topology::StreamSpec;
use crate::{Received, headers};

/// A message as it is stored.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// The subject it is stored under.
    pub subject: String,
    /// Its bytes.
    pub payload: Bytes,
    /// Its headers.
    pub headers: HeaderMap,
    /// When it was stored, in milliseconds since 1970.
    pub at_ms: i64,
}

impl Stored {
    /// The id under which it was published.
    pub fn id(&self) -> &str {
        self.headers.get(headers::ID).map(async_nats::HeaderValue::as_str).unwrap_or_default()
    }

    /// The same as whoever asks for it by itself has it.
    pub(crate) fn looked_at(self) -> Received {
        Received::looked_at(self.subject, self.payload, self.headers, self.sequence, self.at_ms)
    }
}

pub(super) struct Log {
    spec: &'static StreamSpec,
    partitions: u32,
    last: u64,
    messages: BTreeMap<u64, Stored>,
    /// Those that newer ones of their subject replaced.
    replaced: Vec<Stored>,
    newest: HashMap<String, u64>,
    ids: HashMap<String, (u64, i64)>,
    consumers: BTreeMap<String, Consumer>,
    /// Those that have no name of their own, and nothing to acknowledge.
    tails: BTreeMap<String, Consumer>,
    left_out: Option<Duty>,
}

impl Log {
    pub(super) fn new(spec: &'static StreamSpec, partitions: u32) -> Self {
        Self {
            spec,
            partitions,
            last: 0,
            messages: BTreeMap::new(),
            replaced: Vec::new(),
            newest: HashMap::new(),
            ids: HashMap::new(),
            consumers: BTreeMap::new(),
            tails: BTreeMap::new(),
            left_out: None,
        }
    }

    pub(super) fn leave_out(&mut self, duty: Duty) {
        self.left_out = Some(duty);
    }

    pub(super) fn takes(&self, subject: &str) -> bool {
        self.spec.subjects.iter().any(|filter| matches(filter, subject))
    }

    pub(super) fn about(&self) -> About {
        let first = self.messages.values().next();
        About {
            epoch: "1".to_owned(),
            created_ms: 0,
            messages: self.messages.len() as u64,
            first: first.map_or(self.last + 1, |first| first.sequence),
            first_at_ms: first.map_or(0, |first| first.at_ms),
            last: self.last,
        }
    }

    /// The first message on a subject from this sequence on; the subject may have wildcards.
    pub(super) fn next_on(&self, subject: &str, from: u64) -> Option<Stored> {
        self.messages.range(from..).map(|(_, stored)| stored).find(|stored| matches(subject, &stored.subject)).cloned()
    }

    /// The last message on a subject, which may have wildcards.
    pub(super) fn last_on(&self, subject: &str) -> Option<Stored> {
        self.messages.values().rev().find(|stored| matches(subject, &stored.subject)).cloned()
    }

    /// Stores a message, unless it is a copy. Its sequence, or that of the first.
    pub(super) fn append(&mut self, subject: &str, headers: HeaderMap, payload: Bytes) -> u64 {
        let now = now_ms();
        let window = i64::try_from(self.spec.duplicate_window_s).unwrap_or(i64::MAX) * 1_000;
        if let Some(id) = headers.get(headers::ID).map(ToString::to_string) {
            if let Some((first, _)) =
                self.ids.get(&id).filter(|(_, at)| now - at < window && self.left_out != Some(Duty::Copies))
            {
                return *first;
            }
            self.ids.insert(id, (self.last + 1, now));
        }
        let subject = self.placed(subject);
        if self.spec.max_per_subject == 1
            && self.left_out == Some(Duty::NewestCommand)
            && self.newest.contains_key(&subject)
        {
            return self.newest[&subject];
        }
        self.last += 1;
        runtime::simulation::note(|| format!("{} #{} {subject}", self.spec.name, self.last));
        if self.spec.max_per_subject == 1
            && let Some(older) = self.newest.insert(subject.clone(), self.last)
        {
            self.replaced.extend(self.messages.remove(&older));
        }
        self.consumers.values().filter(|consumer| consumer.wants(&subject)).for_each(Consumer::wake);
        self.messages.insert(self.last, Stored { sequence: self.last, subject, payload, headers, at_ms: now });
        self.last
    }

    /// The subject as it is stored: the stream puts an observation's partition into it, and leaves the record's id out.
    fn placed(&self, subject: &str) -> String {
        let tokens: Vec<&str> = subject.split('.').collect();
        let ["lockstep", what @ ("observe" | "delivery"), lane, system, kind, id] = tokens[..] else {
            return subject.to_owned();
        };
        // Any spread will do, as long as it stays the same.
        let sum = [system, kind, id]
            .iter()
            .flat_map(|token| token.bytes())
            .fold(0_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        format!("lockstep.{what}.{}.{lane}.{system}.{kind}", (sum >> 3) % self.partitions)
    }

    /// Makes a consumer, or brings it up to date.
    pub(super) fn make_consumer(&mut self, name: &str, config: pull::Config, strict: bool) -> Result<(), String> {
        match self.consumers.get_mut(name) {
            Some(known) if strict && known.config.description != config.description => {
                return Err(format!("the consumer {name} is there already"));
            }
            Some(known) => known.config = config,
            None => {
                runtime::simulation::note(|| format!("consumer {name} is made"));
                self.consumers.insert(name.to_owned(), Consumer::new(config, self.last));
            }
        }
        Ok(())
    }

    /// Its name.
    pub(super) fn make_tail(&mut self, config: pull::Config) -> String {
        let name = format!("tail {}", self.tails.len());
        self.tails.insert(name.clone(), Consumer::new(config, self.last));
        name
    }

    pub(super) fn delete_consumer(&mut self, name: &str) -> Result<(), String> {
        runtime::simulation::note(|| format!("consumer {name} is deleted"));
        let consumer = self.consumers.remove(name).ok_or_else(|| format!("there is no consumer {name}"))?;
        consumer.wake();
        Ok(())
    }

    pub(super) fn consumer(&mut self, name: &str) -> Option<(&mut Consumer, &BTreeMap<u64, Stored>)> {
        let consumer = self.consumers.get_mut(name).or_else(|| self.tails.get_mut(name))?;
        if self.left_out == Some(Duty::Redelivery) {
            consumer.forget_unacknowledged();
        }
        Some((consumer, &self.messages))
    }

    /// The consumers by name, with their floors.
    pub(super) fn consumers(&self) -> Vec<(String, u64)> {
        self.consumers.iter().map(|(name, consumer)| (name.clone(), consumer.floor())).collect()
    }

    pub(super) fn is_idle(&self) -> bool {
        // Nobody reads an older generation of a reader that has a newer one, nor one whose maker died before it began.
        let mut newest: BTreeMap<&str, ((bool, u64), &Consumer)> = BTreeMap::new();
        for (name, consumer) in &self.consumers {
            let (reader, generation) = crate::feed::generation_of(name);
            let rank = (consumer.is_read(&self.messages), generation);
            if newest.get(reader).is_none_or(|(known, _)| *known < rank) {
                newest.insert(reader, (rank, consumer));
            }
        }
        newest.values().all(|(_, consumer)| consumer.is_idle(&self.messages))
    }

    pub(super) fn stored(&self) -> Vec<Stored> {
        let mut all: Vec<Stored> = self.replaced.iter().chain(self.messages.values()).cloned().collect();
        all.sort_by_key(|stored| stored.sequence);
        all
    }

    pub(super) fn forget_acknowledgements(&mut self) {
        self.consumers.values_mut().for_each(Consumer::forget_acknowledgements);
    }
}

/// Whether a subject matches a filter with wildcards.
pub(super) fn matches(filter: &str, subject: &str) -> bool {
    let (mut filter, mut subject) = (filter.split('.'), subject.split('.'));
    loop {
        match (filter.next(), subject.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some(wanted), Some(token)) if wanted == "*" || wanted == token => {}
            _ => return false,
        }
    }
}

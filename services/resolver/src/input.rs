//! Messages of the bus as the resolver takes them.

use std::collections::BTreeSet;

use bus::Received;
use model::{Intent, ItemId, Key, Lane, Observation, Receipt, RecordRef, Report, Source, Timestamp};
use proto::v1;

/// How far ahead of the clock of NATS somebody may say that something happened: whatever is decided by time would be theirs for as long.
/// Over HTTP it is a day by another clock, and what was taken there is taken here.
const AHEAD_MAX_MS: i64 = 48 * 3_600_000;

/// A message, understood.
#[derive(Debug, Clone)]
pub enum Input {
    /// A record showed something, or an operator said something.
    Observation(Box<Observation>, Receipt),
    /// A connector reports on a command.
    Report(Box<Report>, Receipt),
}

/// A message that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    /// One word.
    pub reason: &'static str,
    /// One sentence.
    pub detail: String,
}

impl Input {
    /// The message's meaning.
    pub(crate) fn of(received: &Received) -> Result<Self, Poison> {
        let lane = received.lane;
        let receipt = Receipt {
            first_sequence: received.first_sequence(),
            ..Receipt::new(lane, received.sequence, Timestamp(received.published_at_ms))
        };
        if received.subject.starts_with("lockstep.delivery.") {
            let message: v1::Delivery = decoded(received)?;
            let report = proto::report_from(&message).map_err(|error| malformed(&error))?;
            return Ok(Self::Report(Box::new(report), Receipt { lane: Lane::High, ..receipt }));
        }
        let message: v1::Observation = decoded(received)?;
        let mut observation = proto::observation_from(message).map_err(|error| malformed(&error))?;
        if !bus::topology::is_kind_of(&received.subject, &observation.record) {
            let detail = format!(
                "the record {} was published among those of another kind ({}): its statuses may overtake each other there; publish it on {}",
                observation.record,
                received.subject,
                bus::topology::observe(lane, &observation.record)
            );
            return Err(Poison { reason: "malformed", detail });
        }
        let came = received.first_at_ms();
        if observation.occurred_at == Timestamp::default() {
            observation.occurred_at = Timestamp(came);
        }
        if observation.source == Source::Api && observation.occurred_at.0 > came.saturating_add(AHEAD_MAX_MS) {
            let detail = "occurred_at: is more than two days ahead of the clock of NATS".to_owned();
            return Err(Poison { reason: "malformed", detail });
        }
        Ok(Self::Observation(Box::new(observation), receipt))
    }

    /// The record it is about.
    pub fn record(&self) -> &RecordRef {
        match self {
            Input::Observation(observation, _) => &observation.record,
            Input::Report(report, _) => &report.record,
        }
    }

    /// Every record whose item it may touch, besides those that identifiers lead to.
    pub(crate) fn records(&self, records: &mut BTreeSet<RecordRef>) {
        records.insert(self.record().clone());
        if let Input::Observation(observation, _) = self
            && let Intent::Link(other) = &observation.intent
        {
            records.insert(other.clone());
        }
    }

    /// The item that an operator spoke of.
    pub(crate) fn item(&self) -> Option<ItemId> {
        match self {
            Input::Observation(observation, _) => observation.item,
            Input::Report(..) => None,
        }
    }

    /// The identifiers it brings: owned and mentioned.
    pub(crate) fn identifiers(&self) -> (&[Key], &[Key]) {
        match self {
            Input::Observation(observation, _) => (&observation.keys, &observation.mentions),
            Input::Report(..) => (&[], &[]),
        }
    }
}

fn decoded<M: prost::Message + Default + serde::de::DeserializeOwned>(received: &Received) -> Result<M, Poison> {
    received.decode().map_err(|error| Poison { reason: "undecodable", detail: error.to_string() })
}

fn malformed(error: &proto::Malformed) -> Poison {
    Poison { reason: "malformed", detail: error.to_string() }
}

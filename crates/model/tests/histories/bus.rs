//! The bus: one queue a record and lane, sequences over all of them, and message ids that it remembers for a while.

use std::collections::{HashMap, VecDeque};

use model::{Lane, Observation, Receipt, Report, Timestamp};

#[expect(clippy::large_enum_variant, reason = "a few hundred of them live at once")]
#[derive(Debug, Clone)]
pub enum Body {
    Seen(Observation),
    Told(Report),
}

#[derive(Debug, Clone)]
pub struct Message {
    pub body: Body,
    pub receipt: Receipt,
    pub remote: usize,
    /// Which revision of the record it tells of; none for an operator's word, and for reports that tell of none.
    pub revision: Option<usize>,
    pub delivered: u32,
}

impl Message {
    pub fn id(&self) -> &str {
        match &self.body {
            Body::Seen(observation) => &observation.id,
            Body::Told(report) => &report.id,
        }
    }
}

#[derive(Debug, Default)]
pub struct Bus {
    pub sequence: u64,
    pub queues: Vec<[VecDeque<Message>; 4]>,
    pub ids: HashMap<String, i64>,
    pub dedup_ms: i64,
    /// Acknowledgements that were lost: these come again.
    pub unacknowledged: Vec<Message>,
}

impl Bus {
    /// Whether this id is new, or forgotten.
    pub fn takes(&mut self, id: &str, now_ms: i64) -> bool {
        let known = self.ids.get(id).is_some_and(|at| now_ms - at <= self.dedup_ms);
        if !known {
            self.ids.insert(id.to_owned(), now_ms);
        }
        !known
    }

    pub fn publish(&mut self, body: Body, remote: usize, revision: Option<usize>, lane: Lane, now_ms: i64) {
        let mut message =
            Message { body, receipt: Receipt::new(lane, 0, Timestamp(now_ms)), remote, revision, delivered: 0 };
        let id = message.id().to_owned();
        if self.takes(&id, now_ms) {
            self.sequence += 1;
            message.receipt.sequence = self.sequence;
            self.queues[remote][lane as usize].push_back(message);
        }
    }

    /// The queues in which something waits.
    pub fn waiting(&self) -> Vec<(usize, usize)> {
        let lanes = |remote: usize| (0..4).map(move |lane| (remote, lane));
        let all = (0..self.queues.len()).flat_map(lanes);
        all.filter(|(remote, lane)| !self.queues[*remote][*lane].is_empty()).collect()
    }
}

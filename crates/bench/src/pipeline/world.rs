//! Items of one record each, and the edits that are made to them.

use bus::{Outgoing, topology};
use model::{Lane, RecordRef};
use proto::v1;

use crate::dice::Dice;

/// The statuses that a record goes through, each an allowed step from the one before.
const CYCLE: [&str; 4] = ["todo", "in_progress", "blocked", "in_review"];

/// Who has been edited how often.
pub struct World {
    edits: Vec<u32>,
    dice: Dice,
}

impl World {
    /// A world of items that nobody has edited since they were seeded.
    pub fn new(items: usize) -> Self {
        Self { edits: vec![0; items], dice: Dice(7) }
    }

    /// Adds items up to this number.
    pub fn grow(&mut self, items: usize) {
        self.edits.resize(items, 0);
    }

    /// How many items there are.
    pub fn items(&self) -> usize {
        self.edits.len()
    }

    /// So many edits, each of an item that is drawn at random.
    pub fn edits(&mut self, count: usize) -> anyhow::Result<Vec<Outgoing>> {
        (0..count).map(|_| self.edit()).collect()
    }

    fn edit(&mut self) -> anyhow::Result<Outgoing> {
        let number = self.dice.below(self.edits.len());
        self.edits[number] += 1;
        let edits = self.edits[number];
        let record: RecordRef = format!("postgres/task/{number}").parse()?;
        let observation = v1::Observation {
            id: format!("o:{record}:{edits}"),
            record: record.to_string(),
            native: CYCLE[edits as usize % CYCLE.len()].into(),
            position: u64::from(edits) + 1,
            occurred_at: 1_750_000_000_000 + i64::from(edits),
            actor: Some(v1::Actor { name: "Ada Lovelace".into(), id: "u-1815".into(), automation: false }),
            origin: "other".into(),
            source: "webhook".into(),
            title: format!("Task number {number}"),
            ..v1::Observation::default()
        };
        let subject = topology::observe(Lane::Normal, &record);
        Ok(Outgoing::new(subject, observation.id.clone(), proto::encode(&observation)))
    }
}

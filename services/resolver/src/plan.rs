//! Says what observations would come to, by the code that resolves them, and changes nothing.
//!
//! It reads in a transaction in which PostgreSQL refuses to write, and it is given no bus.

use std::sync::Arc;

use model::{
    Command, CommandMode, HistoryRow, Lane, Native, Observation, Policy, Receipt, RecordRef, RowKind, Status,
    Timestamp, Verdict,
};
use serde::Serialize;
use store::Store;

use crate::input::Input;
use crate::ledger::{Closed, Ledger};
use crate::ties::Ties;

/// Above every sequence of the stream: nothing planned was taken before.
const SEQUENCES: u64 = 1 << 62;

/// Plans what observations would come to. Each call decides on its own: what it plans is not there for the next.
#[derive(Debug, Clone)]
pub struct Planner {
    store: Store,
    policy: Arc<Policy>,
}

/// What one observation would come to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Planned {
    /// The record.
    pub record: RecordRef,
    /// What it shows.
    pub native: Native,
    /// Which rule would decide; a dead letter's reason where none would.
    pub verdict: &'static str,
    /// Why it would be a dead letter.
    pub refused: Option<String>,
    /// What people call the item.
    pub key: Option<String>,
    /// The item's status before, where it would change.
    pub from: Option<Status>,
    /// The item's status afterwards, where it would change or come to be.
    pub to: Option<Status>,
    /// Why, in one word, where the history would tell of it.
    pub reason: Option<&'static str>,
    /// What would be written.
    pub writes: Vec<Write>,
}

/// A record that would be written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Write {
    /// Which.
    pub record: RecordRef,
    /// What it would be told, or shown beside it.
    pub native: Native,
    /// Shown beside it, because it cannot be told.
    pub beside: bool,
}

impl Planned {
    /// Whether nothing would come of it: everything shows what it should.
    pub fn is_quiet(&self) -> bool {
        let told = self.reason.is_some() && self.verdict != Verdict::Stale.code();
        self.refused.is_none() && self.to.is_none() && self.writes.is_empty() && !told
    }
}

impl Planner {
    /// One that decides by this policy what is in that store.
    pub fn new(store: Store, policy: Arc<Policy>) -> Self {
        Self { store, policy }
    }

    /// What these would come to, if they were resolved now and together.
    pub async fn plan(&self, observations: Vec<Observation>, now: Timestamp) -> sqlx::Result<Vec<Planned>> {
        let receipt = |sequence| Receipt::new(Lane::Low, sequence, now);
        let inputs: Vec<Input> = (SEQUENCES..)
            .zip(observations)
            .map(|(sequence, seen)| Input::Observation(Box::new(seen), receipt(sequence)))
            .collect();
        let mut look = self.store.look().await?;
        let ties = Ties::find(&mut look, inputs.iter()).await?;
        let mut wanted = ties.records();
        for input in &inputs {
            input.records(&mut wanted);
        }
        let groups = look.load(&wanted).await?;
        drop(look);
        let mut ledger = Ledger::new(&self.policy, groups, ties.owners, ties.waiting);
        let verdicts: Vec<_> = inputs.iter().map(|input| ledger.take(input)).collect();
        let closed = ledger.close();
        let observed = inputs.iter().filter_map(|input| match input {
            Input::Observation(seen, receipt) => Some((seen, receipt.sequence)),
            Input::Report(..) => None,
        });
        let planned = observed.zip(verdicts).map(|((seen, sequence), verdict)| {
            let plan = Planned::of(seen, &closed, sequence);
            match verdict {
                Ok(verdict) => Planned { verdict: verdict.code(), ..plan },
                Err(poison) => Planned { verdict: poison.reason, refused: Some(poison.detail), ..plan },
            }
        });
        Ok(planned.collect())
    }
}

impl Planned {
    /// What the observation of this sequence caused.
    fn of(seen: &Observation, closed: &Closed, sequence: u64) -> Self {
        let rows = || closed.save.rows.iter().filter(|row| row.cause.sequence == sequence);
        let changed = rows().find(|row| row.kind == RowKind::Changed);
        let told: Option<&HistoryRow> = changed.or_else(|| rows().next());
        let item = closed.groups.values().find(|group| group.link(&seen.record).is_some());
        let write = |command: &Command| Write {
            record: command.record.clone(),
            native: command.native.clone(),
            beside: command.mode == CommandMode::Show,
        };
        Self {
            record: seen.record.clone(),
            native: seen.native.clone(),
            verdict: Verdict::NoNews.code(),
            refused: None,
            key: item.and_then(|group| group.item.key.as_ref()).map(ToString::to_string),
            from: changed.and_then(|row| row.from.clone()),
            to: changed.map(|row| row.to.clone()),
            reason: told.map(|row| row.reason.code()),
            writes: closed.commands.iter().filter(|command| command.cause == sequence).map(write).collect(),
        }
    }
}

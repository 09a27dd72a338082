//! What the resolver keeps, and what it does with one message: the part of its batch that is logic.

use std::collections::BTreeMap;

use model::{
    Command, Conflict, ConflictId, Group, HistoryRow, Intent, ItemId, Observation, Policy, Receipt, Resolved, RowKind,
    Verdict, adopt, begin, commands_due, part, report, resolve, roll_back,
};

use super::bus::{Body, Message};

#[derive(Debug, Clone, Default)]
pub struct Store {
    pub groups: BTreeMap<ItemId, Group>,
    pub rows: Vec<HistoryRow>,
    pub conflicts: BTreeMap<ConflictId, Conflict>,
}

/// What one message came to.
#[derive(Debug)]
pub struct Outcome {
    pub item: Option<ItemId>,
    pub verdict: Verdict,
    pub rows: Vec<HistoryRow>,
    pub commands: Vec<Command>,
}

impl Store {
    pub fn item_of(&self, record: &model::RecordRef) -> Option<ItemId> {
        self.groups.values().find(|group| group.link(record).is_some()).map(|group| group.item.id)
    }

    pub fn apply(&mut self, message: &Message, policy: &Policy) -> Outcome {
        let record = match &message.body {
            Body::Seen(observation) => &observation.record,
            Body::Told(report) => &report.record,
        };
        let group = self.item_of(record).map(|id| self.groups[&id].clone());
        let receipt = message.receipt;
        match (&message.body, group) {
            (Body::Told(told), Some(group)) => self.commit(report(group, told, receipt, policy)),
            (Body::Told(_), None) => nothing(),
            (Body::Seen(observation), None) => match begin(observation, receipt, policy) {
                Ok(resolved) => self.commit(resolved),
                Err(_) => nothing(),
            },
            (Body::Seen(observation), Some(group)) => match &observation.intent {
                Intent::Status | Intent::Force(_) | Intent::Pick(..) => {
                    self.commit(resolve(group, observation, receipt, policy))
                }
                Intent::Rollback(version) => {
                    let id = group.item.id;
                    let at =
                        |row: &&HistoryRow| row.item == id && row.version == *version && row.kind == RowKind::Changed;
                    let status = self.rows.iter().find(at).map(|row| row.to.clone());
                    self.commit(roll_back(group, status.as_ref(), observation, receipt, policy))
                }
                Intent::Link(_) | Intent::Unlink => self.tie(group, observation, receipt, policy),
            },
        }
    }

    fn tie(&mut self, group: Group, observation: &Observation, receipt: Receipt, policy: &Policy) -> Outcome {
        let taken = group.link(&observation.record).is_some_and(|link| link.has_taken(receipt));
        if taken {
            let commands = commands_due(&group, policy);
            return Outcome { item: Some(group.item.id), verdict: Verdict::Redelivered, rows: vec![], commands };
        }
        if let Intent::Link(other) = &observation.intent
            && let Some(incoming) = self.item_of(other).filter(|id| *id != group.item.id)
        {
            let incoming = self.groups[&incoming].clone();
            let adoption = adopt(group, incoming, other, observation, receipt, policy).expect("the lifecycle is known");
            self.groups.remove(&adoption.ended);
            return self.commit(adoption.resolved);
        }
        if observation.intent == Intent::Unlink
            && let Ok((left, own)) = part(group.clone(), observation, receipt, policy)
        {
            self.groups.insert(own.item.id, own);
            return self.commit(left);
        }
        // It cannot be carried out, and must not be when it comes again either.
        self.commit(resolve(group, observation, receipt, policy))
    }

    fn commit(&mut self, resolved: Resolved) -> Outcome {
        let Resolved { group, verdict, rows, commands, conflicts } = resolved;
        let item = group.item.id;
        self.groups.insert(item, group);
        self.rows.extend(rows.iter().cloned());
        self.conflicts.extend(conflicts.into_iter().map(|conflict| (conflict.id, conflict)));
        Outcome { item: Some(item), verdict, rows, commands }
    }
}

fn nothing() -> Outcome {
    Outcome { item: None, verdict: Verdict::Invalid, rows: vec![], commands: vec![] }
}

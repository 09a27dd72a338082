//! An operator's word: force, rollback, and the choice among a conflict's candidates.

use super::{Resolved, Turn};
use crate::{ConflictId, Group, Observation, Policy, Reason, Receipt, RowKind, Status, Verdict};

/// Takes an item back to the status it had at a version; `status` is what the history says it was, if it has it.
pub fn roll_back(
    group: Group,
    status: Option<&Status>,
    observation: &Observation,
    receipt: Receipt,
    policy: &Policy,
) -> Resolved {
    let mut turn = match Turn::new(group, observation, receipt, policy) {
        Ok(turn) => turn,
        Err(group) => return Resolved::invalid(group),
    };
    let verdict = super::rules::redelivered(&mut turn).unwrap_or_else(|| match status {
        Some(status) => turn.force(status, Reason::RolledBack),
        None => turn.invalid(),
    });
    turn.done(verdict)
}

impl Turn<'_> {
    /// The item takes a status past every rule, and whatever held it no longer does.
    pub(super) fn force(&mut self, word: &Status, reason: Reason) -> Verdict {
        let Some(status) = self.lifecycle.status(word.as_str()).cloned() else { return self.invalid() };
        self.release(None);
        self.carry_out(&status, reason);
        Verdict::Forced
    }

    /// The operator's choice among a conflict's candidates.
    pub(super) fn pick(&mut self, conflict: ConflictId, index: usize) -> Verdict {
        let waiting = self.group.conflict.as_ref().filter(|waiting| waiting.id == conflict);
        let candidate = waiting.and_then(|waiting| waiting.candidates.get(index)).cloned();
        let Some(candidate) = candidate.filter(|candidate| self.lifecycle.statuses().contains(&candidate.status))
        else {
            return self.invalid();
        };
        self.release(Some(index));
        self.carry_out(&candidate.status, Reason::Picked);
        Verdict::Forced
    }

    fn carry_out(&mut self, status: &Status, reason: Reason) {
        // What was said before of any of the item's records is older, whichever lane brings it.
        let receipt = self.receipt;
        self.group.links.iter_mut().for_each(|link| link.hear(receipt));
        if *status == self.group.item.status {
            self.row_of_item(RowKind::Ignored, Reason::AlreadyThere);
            self.settle_all(None);
        } else {
            self.change(status, reason);
        }
    }

    /// Ends a hold.
    fn release(&mut self, winner: Option<usize>) {
        self.group.item.held = None;
        self.group.item.recent_conflicts.clear();
        if let Some(mut conflict) = self.group.conflict.take() {
            conflict.winner = winner;
            conflict.resolved_at = Some(self.receipt.received_at);
            self.conflicts.push(conflict);
        }
    }

    /// What was asked for is not there.
    pub(super) fn invalid(&mut self) -> Verdict {
        self.row_of_item(RowKind::Invalid, Reason::NoSuchThing);
        Verdict::Invalid
    }
}
